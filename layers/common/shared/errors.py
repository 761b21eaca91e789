"""What can be wrong with a request, in the domain's terms. `rest_api` gives each its HTTP status."""

from __future__ import annotations


class DomainError(Exception):
    """A request that the domain refuses. The message is meant for the client."""


class InvalidRequestError(DomainError):
    """The request makes no sense, whatever the state of things."""


class NotFoundError(DomainError):
    """What the request is about does not exist."""


class ConflictError(DomainError):
    """The state of what the request is about does not allow it."""


class UnauthenticatedError(DomainError):
    """Whoever makes the request has not shown who they are."""


class ForbiddenError(DomainError):
    """Whoever makes the request may not."""


class IdempotencyKeyReusedError(DomainError):
    """The Idempotency-Key was used before, with another request."""
