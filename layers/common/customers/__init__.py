"""The Customers service: customers and their credit."""
