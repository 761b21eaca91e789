"""Errors of the domain. `rest_api.problems` maps each class to an HTTP status."""

from __future__ import annotations


class DomainError(Exception):
    """A request that the domain refuses. The client sees the message."""


class InvalidRequestError(DomainError):
    """The request is invalid in any state of the system."""


class NotFoundError(DomainError):
    """The requested resource does not exist."""


class ConflictError(DomainError):
    """The state of the resource does not allow the request."""


class NotYetError(DomainError):
    """The requested version does not exist yet. The same request succeeds later."""


class UnauthenticatedError(DomainError):
    """The request carries no valid credentials."""


class ForbiddenError(DomainError):
    """The caller lacks permission."""


class IdempotencyKeyReusedError(DomainError):
    """The Idempotency-Key was used before with a different request."""
