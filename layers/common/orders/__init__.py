"""The Orders service: orders and the outcome of their saga."""
