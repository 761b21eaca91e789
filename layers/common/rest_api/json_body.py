"""Bodies of requests: a JSON object of limited size, with exact numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError

from rest_api.problems import ContentTooLargeError, UnsupportedMediaTypeError

MAX_BODY_BYTES = 64 * 1024
"""Twenty times the longest valid request, which bounds the work of parsing an invalid one."""
_JSON = "application/json"


def is_json(content_type: str) -> bool:
    """Return whether a Content-Type names JSON, in any case and with any parameters."""
    return content_type.partition(";")[0].strip().lower() == _JSON


def check_body(app: APIGatewayRestResolver, next_middleware: NextMiddleware) -> Response[Any]:
    """Middleware: refuse a body that is too large, of another media type, or not UTF-8, before parsing it."""
    event = app.current_event
    if event.http_method != "GET":  # a body of a GET is ignored (RFC 9110, section 9.3.1)
        if _size(event.body or "") > MAX_BODY_BYTES:
            raise ContentTooLargeError(f"Send at most {MAX_BODY_BYTES} bytes.")
        if "content-type" in event.headers:  # `to_request` removes it where it says JSON
            raise UnsupportedMediaTypeError("Send the body as application/json.")
        try:
            event.decoded_body  # noqa: B018, cached, and decoded from base64 where need be
        except ValueError as error:
            raise RequestValidationError([_invalid("not UTF-8")]) from error
    return next_middleware(app)


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object, its decimal numbers as Decimal.

    Raises: json.JSONDecodeError, which Powertools turns into a RequestValidationError.
    """
    try:
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_constant=_reject_constant,
            object_pairs_hook=_to_object,
        )
    except json.JSONDecodeError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        # An integer of 5,000 digits, 1e9999999999999999999, or 100,000 brackets.
        raise json.JSONDecodeError("number too large or nesting too deep", "", 0) from error
    if not isinstance(value, dict):  # Powertools would take the first element of an array
        raise json.JSONDecodeError("not an object", "", 0)
    return value


def _size(body: str) -> int:
    """Return the body's length in bytes, or of its base64 if it is sent as such: an upper bound."""
    return len(body) if len(body) > MAX_BODY_BYTES else len(body.encode(errors="replace"))


def _invalid(reason: str) -> dict[str, Any]:
    return {"type": "json_invalid", "loc": ("body",), "msg": reason, "ctx": {"error": reason}}


def _reject_constant(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A proxy in front of the function may have read the first of two equal names, not the last.
    if len(found := dict(pairs)) < len(pairs):
        raise json.JSONDecodeError("a name occurs twice in one object", "", 0)
    return found
