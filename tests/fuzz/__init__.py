"""Random requests, generated from the OpenAPI document, against a running API."""
