"""Fault injection on a running stack, with an audit after each fault. Run it with `make chaos`."""
