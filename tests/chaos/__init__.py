"""Faults, injected from outside while orders are made, and after each the same audit. `make chaos` runs them all."""
