"""Requests that nobody thought of, made from our own OpenAPI document, against a running API."""
