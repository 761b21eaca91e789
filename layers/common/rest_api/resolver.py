"""What the three HTTP APIs have in common: parsing and validation, problem documents, paging, money on the wire."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.exceptions import NotFoundError as NoSuchRouteError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Header, Path, Query
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

import telemetry
from messaging.domain_event import Cause
from rest_api.authorization import ANYBODY, verifier_from_environment
from shared.errors import (
    ConflictError,
    DomainError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
)
from shared.idempotency import IdempotentRequest
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse

logger = Logger(child=True)

PROBLEM_JSON = "application/problem+json"
MAX_BODY_BYTES = 64 * 1024
"""Twenty times what the longest valid request has, and little enough to take apart whatever is in it."""

_JSON = "application/json"
_MAX_ERRORS = 20
"""So many fields of a bad request are named: a body may have thousands of wrong ones."""
_MAX_FIELD_NAME = 100
_STATUS_OF_ERROR = {
    InvalidRequestError: HTTPStatus.BAD_REQUEST,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    IdempotencyKeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Source: RFC 9110. Python called them something else before 3.13."""


def refusals(*errors: type[DomainError]) -> dict[int, OpenAPIResponse]:
    """What to give a route as its `responses`: its result, and the problem that each of these errors becomes."""
    responses: dict[int, OpenAPIResponse] = {200: {"description": "OK"}}
    for error in errors:
        responses[_status_of(error).value] = problem_response(
            _status_of(error), _kind_of(error), _kind_of(error).replace("-", " ").capitalize() + "."
        )
    return responses


def problem_response(status: HTTPStatus, kind: str, detail: str) -> OpenAPIResponse:
    """How the API's documentation describes such a problem."""
    return {
        "description": detail,
        "content": {
            PROBLEM_JSON: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind: {"value": _problem_document(status, kind, detail)}},
            }
        },
    }


class RestApi(APIGatewayRestResolver):
    """Powertools' resolver, with exact numbers and with RFC 9457 problem documents for all errors.

    Where a token issuer is configured, every request needs a token with the scope `<scope>:read` or, unless it
    is a GET, `<scope>:write`: no route can forget to ask. An API without a scope is open to everybody.
    """

    def __init__(self, scope: str | None) -> None:
        super().__init__(
            enable_validation=True,
            json_body_deserializer=_parse_json,
            # Else an answer that is not as declared would be called the client's fault. This one
            # is an exception like any other, so its status is that of `_unexpected_error`.
            response_validation_error_http_code=HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        self.exception_handler(RequestValidationError)(self._bad_request)
        self.exception_handler(NoSuchRouteError)(self._no_such_route)
        self.exception_handler(DomainError)(self._domain_error)
        self.exception_handler(Exception)(self._unexpected_error)
        self.scope = scope
        self._verifier = verifier_from_environment() if scope is not None else None
        self._correlation_id = ""
        self.caller = ANYBODY
        """Whoever makes the current request."""
        self.log_keys: dict[str, Any] = {}
        """What the log line of the current request is found by, besides its correlation id."""

    @property
    def routes(self) -> list[Route]:
        """All routes there are, for whoever documents them."""
        return [*self._static_routes, *self._dynamic_routes]

    @property
    def cause(self) -> Cause:
        """The current request, as the cause of the events it makes. Its id is the correlation id of them all."""
        return Cause(correlation_id=self._correlation_id)

    def answer(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """API Gateway's proxy response to its proxy event. Never raises; logs one line per request."""
        started = time.perf_counter()
        self._correlation_id = event["requestContext"]["requestId"]
        self.log_keys = {"correlation_id": self._correlation_id, **_ids_in_path(event)}
        refusal = self._refuse(event)
        response: dict[str, Any]
        if refusal is not None:
            response = _to_proxy_response(refusal)
        else:
            response = self.resolve(_with_json_body(event), context)
        response.setdefault("multiValueHeaders", {})["X-Correlation-Id"] = [self._correlation_id]
        telemetry.log_invocation(
            logger,
            "request handled",
            context,
            method=event["httpMethod"],
            route=event.get("resource"),
            status=response["statusCode"],
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
            **self.log_keys,
        )
        return response

    def _refuse(self, event: dict[str, Any]) -> Response[str] | None:
        """The answer to a request that may not be made, or not like this; None to all others."""
        try:
            if self._verifier is not None:
                authorization = APIGatewayProxyEvent(event).headers.get("authorization")
                self.caller = self._verifier.verify(authorization)
            action = "read" if event["httpMethod"] == "GET" else "write"
            self.caller.check_scope(f"{self.scope}:{action}")
        except DomainError as error:
            return self._domain_error(error)
        except Exception as error:  # noqa: BLE001, the issuer's keys cannot be had, for whatever reason
            return self._unexpected_error(error)
        if event["path"].endswith("\n"):  # the `$` in Powertools' patterns would let it pass
            return self._no_such_route()
        if event["httpMethod"] == "GET":
            return None  # whatever its body is, it means nothing (RFC 9110, section 9.3.1)
        if _body_size(event) > MAX_BODY_BYTES:
            return _content_too_large()
        return _unsupported_media_type() if _has_body_of_another_type(event) else None

    def _bad_request(self, error: RequestValidationError) -> Response[str]:
        errors = [
            {
                "field": _field_name(problem["loc"]),
                "message": _message(problem),
            }
            for problem in error.errors()[:_MAX_ERRORS]
        ]
        return _problem(
            HTTPStatus.BAD_REQUEST, "invalid-request", "The request is not valid.", errors
        )

    def _no_such_route(self, _: NoSuchRouteError | None = None) -> Response[str]:
        return _problem(HTTPStatus.NOT_FOUND, "no-such-route", "There is nothing at this path.")

    def _domain_error(self, error: DomainError) -> Response[str]:
        status = _status_of(type(error))
        response = _problem(status, _kind_of(type(error)), str(error))
        if status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"  # RFC 6750, section 3
        return response

    def _unexpected_error(self, _: Exception) -> Response[str]:
        logger.exception("unexpected error", extra=self.log_keys)
        return _problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "unexpected-error",
            "Something went wrong here. It may work if you try again.",
            correlationId=self._correlation_id,
        )


def _status_of(error: type[DomainError]) -> HTTPStatus:
    return next(status for kind, status in _STATUS_OF_ERROR.items() if issubclass(error, kind))


def _kind_of(error: type[DomainError]) -> str:
    """`order-not-found` for an OrderNotFoundError."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", error.__name__.removesuffix("Error")).lower()


def _problem(
    status: HTTPStatus,
    kind: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    **extensions: str,
) -> Response[str]:
    document = {**_problem_document(status, kind, detail), **extensions}
    if errors is not None:
        document["errors"] = errors
    return Response(status, PROBLEM_JSON, json.dumps(document))


def _problem_document(status: HTTPStatus, kind: str, detail: str) -> dict[str, Any]:
    """Source: RFC 9457, Problem Details for HTTP APIs."""
    return {
        "type": f"urn:customers-and-orders:problem:{kind}",
        "title": _TITLES.get(status, status.phrase),
        "status": status.value,
        "detail": detail,
    }


def _content_too_large() -> Response[str]:
    detail = f"Send no more than {MAX_BODY_BYTES} bytes."
    return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content-too-large", detail)


def _unsupported_media_type() -> Response[str]:
    detail = "Send the body as application/json."
    return _problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)


def _to_proxy_response(response: Response[str]) -> dict[str, Any]:
    return {
        "statusCode": response.status_code,
        "multiValueHeaders": {
            "Content-Type": [response.content_type],
            **{name: [str(value)] for name, value in response.headers.items()},
        },
        "body": response.body,
        "isBase64Encoded": False,
    }


def _ids_in_path(event: dict[str, Any]) -> dict[str, int]:
    """`customer_id` and `order_id`, if the path has them. Anybody can write anything there: nothing but numbers counts."""
    names = {"customerId": "customer_id", "orderId": "order_id"}
    given = event.get("pathParameters") or {}
    return {
        key: int(given[name])
        for name, key in names.items()
        if re.fullmatch(r"[0-9]{1,19}", given.get(name, ""), re.ASCII)
    }


def _field_name(location: tuple[str | int, ...]) -> str:
    """`creditLimit.amount` for a location like `("body", "creditLimit", "amount")`; "body" for the whole of it."""
    parts = [str(part) for part in location if isinstance(part, str)]
    return (".".join(parts[1:]) or parts[0])[:_MAX_FIELD_NAME]


def _message(problem: dict[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return f"This is not JSON: {problem['ctx']['error']}."
    return str(problem["msg"]).removeprefix("Value error, ")


def _body_size(event: dict[str, Any]) -> int:
    """Of the body as text or, if it is no text, as base64: bytes at least."""
    body = event.get("body") or ""
    return len(body) if len(body) > MAX_BODY_BYTES else len(body.encode(errors="replace"))


def _has_body_of_another_type(event: dict[str, Any]) -> bool:
    """Whether there is a body that is said to be something else than JSON."""
    content_type = APIGatewayProxyEvent(event).headers.get("content-type", _JSON)
    return bool(event.get("body")) and content_type.split(";")[0].strip().lower() != _JSON


def _with_json_body(event: dict[str, Any]) -> dict[str, Any]:
    """The event with its body as text, and as JSON whatever the header's spelling of that.

    What is no UTF-8 becomes text that is no JSON, and so a 400.
    """
    headers = event.get("headers") or {}
    event = {**event, "headers": {k: v for k, v in headers.items() if k.lower() != "content-type"}}
    if not event.get("body") or not event.get("isBase64Encoded"):
        return event
    try:
        text = base64.b64decode(event["body"]).decode()
    except ValueError:
        text = "not UTF-8"
    return {**event, "body": text, "isBase64Encoded": False}


def _parse_json(text: str) -> Any:
    """JSON with its decimal numbers as Decimal, exactly; NaN and Infinity are none, and no name comes twice.

    Raises: json.JSONDecodeError, which Powertools answers with a validation error.
    """
    try:
        return json.loads(
            text,
            parse_float=Decimal,
            parse_constant=_reject_constant,
            object_pairs_hook=_to_object,
        )
    except json.JSONDecodeError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        # An integer of 5,000 digits; 1e9999999999999999999; 100,000 brackets.
        raise json.JSONDecodeError("A number too large, or nesting too deep", "", 0) from error


def _reject_constant(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Whoever looked at the request before us may have seen the first of two equal names, and not the last.
    if len(found := dict(pairs)) < len(pairs):
        raise json.JSONDecodeError("A name comes twice in one object", "", 0)
    return found


class WireModel(BaseModel):
    """A response, or a part of one: snake_case in Python, camelCase in JSON."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class RequestModel(WireModel):
    """A request, or a part of one. It has the fields that are declared, by their names in JSON, and no others.

    A field that we do not know would be a wish not granted: a currency, a delivery date.
    """

    model_config = ConfigDict(validate_by_name=False, extra="forbid")


_MAX_AMOUNT = Decimal(MAX_CENTS) / 100


def _amount_schema(minimum: Decimal, maximum: Decimal) -> dict[str, Any]:
    return {
        "type": "number",
        "minimum": float(minimum),
        "maximum": float(maximum),
        "multipleOf": 0.01,
    }


def _amount(minimum_cents: int) -> Any:
    minimum, maximum = Decimal(minimum_cents) / 100, _MAX_AMOUNT

    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValueError("must be a number")  # noqa: TRY004, only a ValueError is a validation error
        if not minimum <= value <= maximum:
            raise ValueError(f"must be from {minimum} to {maximum}")
        # Pydantic's own check of decimal places rounds to 28 digits first.
        Money.from_amount(Decimal(value))
        return value

    return Annotated[
        Decimal,
        BeforeValidator(check),
        WithJsonSchema(_amount_schema(minimum, maximum)),
    ]


class CreditLimitRequest(RequestModel):
    amount: _amount(0)  # type: ignore[valid-type]

    def to_money(self) -> Money:
        return Money.from_amount(self.amount)


class OrderTotalRequest(RequestModel):
    amount: _amount(1)  # type: ignore[valid-type]

    def to_money(self) -> Money:
        return Money.from_amount(self.amount)


class MoneyResponse(WireModel):
    amount: Annotated[int | float, WithJsonSchema(_amount_schema(Decimal(0), _MAX_AMOUNT))]

    @classmethod
    def of(cls, money: Money) -> MoneyResponse:
        return cls(amount=money.to_json_number())


def _in_digits(text: object) -> object:
    # Pydantic would also read "1_000", "+1", " 1" and "1.0".
    if isinstance(text, str) and re.fullmatch(r"-?(0|[1-9][0-9]*)", text, re.ASCII) is None:
        raise ValueError("must be an integer, in digits and nothing else")
    return text


def _whole(value: object) -> object:
    # To JSON Schema, and to JavaScript, 1.0 is the integer 1.
    if isinstance(value, Decimal) and 0 <= value <= MAX_ID and value == int(value):
        return int(value)
    return value


IdInBody = Annotated[int, Field(strict=True, ge=1, le=MAX_ID), BeforeValidator(_whole)]
IdInPath = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_in_digits), Path()]
IdInResponse = Annotated[int, Field(ge=1, le=MAX_ID)]
PageLimit = Annotated[
    int,
    Field(ge=1, le=100),
    BeforeValidator(_in_digits),
    Query(description="How many at the most."),
]
NextToken = Annotated[
    str | None,
    Query(alias="nextToken", max_length=64, description="From the page before, to get the next."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="The same key and body within 24 hours create nothing twice.",
    ),
]


def idempotent(request: RequestModel, key: str | None) -> IdempotentRequest | None:
    return IdempotentRequest.of(key, "", request.model_dump(mode="json")) if key else None


_AFTER = "after:"
_NOT_OURS = "nextToken is not one that this API has given."


def encode_next_token(last_id: int | str | None) -> str | None:
    """An opaque token for the page after `last_id`; None for None, which is the end."""
    if last_id is None:
        return None
    return base64.urlsafe_b64encode(f"{_AFTER}{last_id}".encode()).decode().rstrip("=")


def decode_next_token(token: str | None) -> int | None:
    """The id that the page starts after; None for None.

    A token holds a number and nothing else, so a forged one leads to another page at worst.
    Raises: InvalidRequestError if it is no such token.
    """
    last_id = _last_id(token, "[1-9][0-9]{0,18}")
    if last_id is None:
        return None
    if int(last_id) > MAX_ID:
        raise InvalidRequestError(_NOT_OURS)
    return int(last_id)


def decode_next_event_token(token: str | None) -> str | None:
    """The id of the event that the page starts after; None for None.

    Raises: InvalidRequestError if it is no such token.
    """
    return _last_id(token, "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _last_id(token: str | None, pattern: str) -> str | None:
    if token is None:
        return None
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    match = re.fullmatch(f"{_AFTER}({pattern})", text, re.ASCII)
    if match is None or encode_next_token(match[1]) != token:
        raise InvalidRequestError(_NOT_OURS)
    return match[1]
