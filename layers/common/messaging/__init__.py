"""Transactional messaging: domain events from an aggregate's transaction to its subscribers."""
