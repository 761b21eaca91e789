"""Transactional messaging: from an aggregate's transaction to the subscribers of its events."""
