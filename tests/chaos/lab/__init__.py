"""A console with buttons that inject faults into a running stack. Run it with `make lab`."""
