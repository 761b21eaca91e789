"""The Orders service: orders and what became of them."""
