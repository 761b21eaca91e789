"""Problem documents (RFC 9457): the one place where errors become responses."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from rest_api.waiting import RETRY_AFTER_SECONDS
from shared.errors import (
    ConflictError,
    DomainError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    NotYetError,
    UnauthenticatedError,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse

logger = Logger(child=True)

PROBLEM_JSON = "application/problem+json"
UNEXPECTED = "The request failed unexpectedly. Try again later."
_MAX_ERRORS = 20
"""Maximum number of errors in a 400 response. A body may have thousands of wrong fields."""
_MAX_FIELD_NAME = 100
"""Maximum number of characters of a field's name in a 400 response."""


class NoSuchRouteError(NotFoundError):
    """The API has no such path, or not with this method."""


class ContentTooLargeError(DomainError):
    """The body is larger than any valid request."""


class UnsupportedMediaTypeError(DomainError):
    """The body is not JSON according to its Content-Type."""


_STATUS = {
    InvalidRequestError: HTTPStatus.BAD_REQUEST,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    ContentTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    IdempotencyKeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotYetError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Names of RFC 9110 that Python has only from 3.13 on."""


def to_problem(error: Exception, log_keys: dict[str, Any]) -> Response[str]:
    """Return the response to a request that failed with the error. Log the error if it is unexpected."""
    if isinstance(error, RequestValidationError):
        errors = [
            {"field": _field(problem["loc"]), "message": _message(problem)}
            for problem in error.errors()[:_MAX_ERRORS]
        ]
        detail = "The request is not valid."
        return _respond(HTTPStatus.BAD_REQUEST, "invalid-request", detail, errors=errors)
    if isinstance(error, DomainError):
        response = _respond(_status(type(error)), kind(type(error)), str(error))
        if isinstance(error, UnauthenticatedError):
            response.headers["WWW-Authenticate"] = "Bearer"  # RFC 6750, section 3
        if isinstance(error, NotYetError):
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response
    logger.error("unexpected error", exc_info=error, extra=log_keys)
    return _respond(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "unexpected-error",
        UNEXPECTED,
        correlationId=log_keys["correlation_id"],
    )


def refusals(
    *errors: type[DomainError],
    headers: Collection[str] = (),
    success: HTTPStatus = HTTPStatus.OK,
) -> dict[int, OpenAPIResponse]:
    """Return the documented `responses` of a route: its success with headers, and the problem document of each error."""
    responses: dict[int, OpenAPIResponse] = {
        success.value: {"description": success.phrase, "headers": {name: {} for name in headers}}
    }
    for error in errors:
        responses[_status(error).value] = documented(
            _status(error), kind(error), kind(error).replace("-", " ").capitalize() + "."
        )
    return responses


def documented(status: HTTPStatus, kind: str, detail: str) -> OpenAPIResponse:
    """Return the OpenAPI response of such a problem."""
    return {
        "description": detail,
        "content": {
            PROBLEM_JSON: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind: {"value": _document(status, kind, detail)}},
            }
        },
    }


def kind(error: type[DomainError]) -> str:
    """Return the last part of the problem's type: `order-not-found` for OrderNotFoundError."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", error.__name__.removesuffix("Error")).lower()


def _status(error: type[DomainError]) -> HTTPStatus:
    return next(status for base, status in _STATUS.items() if issubclass(error, base))


def _respond(status: HTTPStatus, kind: str, detail: str, **extensions: Any) -> Response[str]:
    document = {**_document(status, kind, detail), **extensions}
    return Response(status, PROBLEM_JSON, json.dumps(document))


def _document(status: HTTPStatus, kind: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:customers-and-orders:problem:{kind}",
        "title": _TITLES.get(status, status.phrase),
        "status": status.value,
        "detail": detail,
    }


def _field(location: tuple[str | int, ...]) -> str:
    """Return `creditLimit.amount` for `("body", "creditLimit", "amount")`, and `body` for `("body",)`."""
    parts = [part for part in location if isinstance(part, str)]
    return (".".join(parts[1:]) or parts[0])[:_MAX_FIELD_NAME]


def _message(problem: dict[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return f"must be a JSON object in UTF-8: {problem['ctx']['error']}"
    return str(problem["msg"]).removeprefix("Value error, ")
