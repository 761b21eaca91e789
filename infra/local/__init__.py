"""The whole system on this machine: emulators as child processes, and the stack deployed to them."""
