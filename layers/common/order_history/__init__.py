"""The Order history service: a CQRS view of customers and their orders."""
