"""HTTP: routing, validation, problem documents, pagination and authorization."""
