"""What the three HTTP APIs have in common: parsing and validation, problem documents, paging, money on the wire."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError as NoSuchRouteError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Header, Path, Query
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

import tracing
from authorization import ANYBODY, verifier_from_environment
from messaging.domain_event import Cause
from shared.errors import (
    ConflictError,
    DomainError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
)
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money

logger = Logger(child=True)

_JSON = "application/json"
_STATUS_OF_ERROR = {
    InvalidRequestError: HTTPStatus.BAD_REQUEST,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    IdempotencyKeyReusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
}


class RestApi(APIGatewayRestResolver):
    """Powertools' resolver, with exact numbers and with RFC 9457 problem documents for all errors.

    Where a token issuer is configured, every request needs a token with the scope `<scope>:read` or, unless it
    is a GET, `<scope>:write`: no route can forget to ask. An API without a scope is open to everybody.
    """

    def __init__(self, scope: str | None) -> None:
        super().__init__(enable_validation=True, json_body_deserializer=_parse_json)
        self.exception_handler(RequestValidationError)(self._bad_request)
        self.exception_handler(NoSuchRouteError)(self._no_such_route)
        self.exception_handler(DomainError)(self._domain_error)
        self.exception_handler(Exception)(self._unexpected_error)
        self._scope = scope
        self._verifier = verifier_from_environment() if scope is not None else None
        self._correlation_id = ""
        self.caller = ANYBODY
        """Whoever makes the current request."""
        self.log_keys: dict[str, Any] = {}
        """What the log line of the current request is found by, besides its correlation id."""

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
            route = f"{event['httpMethod']} {event.get('resource')}"
            with tracing.subsegment(route, self.log_keys):
                response = self.resolve(_with_json_body(event), context)
        response.setdefault("multiValueHeaders", {})["X-Correlation-Id"] = [self._correlation_id]
        logger.info(
            "request answered",
            extra={
                "method": event["httpMethod"],
                "route": event.get("resource"),
                "status": response["statusCode"],
                "milliseconds": round((time.perf_counter() - started) * 1000, 1),
                **self.log_keys,
            },
        )
        return response

    def _refuse(self, event: dict[str, Any]) -> Response[str] | None:
        """The answer to a request that may not be made, or not like this; None to all others."""
        try:
            if self._verifier is not None:
                authorization = APIGatewayProxyEvent(event).headers.get("authorization")
                self.caller = self._verifier.verify(authorization)
            action = "read" if event["httpMethod"] == "GET" else "write"
            self.caller.check_scope(f"{self._scope}:{action}")
        except DomainError as error:
            return self._domain_error(error)
        except Exception as error:  # noqa: BLE001, the issuer's keys cannot be had, for whatever reason
            return self._unexpected_error(error)
        return _unsupported_media_type() if _has_body_of_another_type(event) else None

    def _bad_request(self, error: RequestValidationError) -> Response[str]:
        errors = [
            {
                "field": _field_name(problem["loc"]),
                "message": problem["msg"].removeprefix("Value error, "),
            }
            for problem in error.errors()
        ]
        return _problem(
            HTTPStatus.BAD_REQUEST, "invalid-request", "The request is not valid.", errors
        )

    def _no_such_route(self, _: NoSuchRouteError) -> Response[str]:
        return _problem(HTTPStatus.NOT_FOUND, "no-such-route", "There is nothing at this path.")

    def _domain_error(self, error: DomainError) -> Response[str]:
        status = next(
            status for kind, status in _STATUS_OF_ERROR.items() if isinstance(error, kind)
        )
        kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__.removesuffix("Error")).lower()
        response = _problem(status, kind, str(error))
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


def _problem(
    status: HTTPStatus,
    kind: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    **extensions: str,
) -> Response[str]:
    """Source: RFC 9457, Problem Details for HTTP APIs."""
    problem: dict[str, Any] = {
        "type": f"urn:customers-and-orders:problem:{kind}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        **extensions,
    }
    if errors is not None:
        problem["errors"] = errors
    return Response(status, "application/problem+json", json.dumps(problem))


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
    return ".".join(parts[1:]) or parts[0]


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
    """JSON with its decimal numbers as Decimal, exactly; NaN and Infinity are none.

    Raises: json.JSONDecodeError, which Powertools answers with a validation error.
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_reject_constant)
    except json.JSONDecodeError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        # An integer of 5,000 digits; 1e9999999999999999999; 100,000 brackets.
        raise json.JSONDecodeError(str(error), "", 0) from error


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class WireModel(BaseModel):
    """A request or a response: snake_case in Python, camelCase in JSON."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


def _amount(minimum_cents: int) -> Any:
    minimum, maximum = Decimal(minimum_cents) / 100, Decimal(MAX_CENTS) / 100

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
        WithJsonSchema(
            {
                "type": "number",
                "minimum": float(minimum),
                "maximum": float(maximum),
                "multipleOf": 0.01,
            }
        ),
    ]


class CreditLimitRequest(WireModel):
    amount: _amount(0)  # type: ignore[valid-type]

    def to_money(self) -> Money:
        return Money.from_amount(self.amount)


class OrderTotalRequest(WireModel):
    amount: _amount(1)  # type: ignore[valid-type]

    def to_money(self) -> Money:
        return Money.from_amount(self.amount)


class MoneyResponse(WireModel):
    amount: int | float

    @classmethod
    def of(cls, money: Money) -> MoneyResponse:
        return cls(amount=money.to_json_number())


IdInBody = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
IdInPath = Annotated[int, Path(ge=1, le=MAX_ID)]
PageLimit = Annotated[int, Query(ge=1, le=100, description="How many at the most.")]
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

_AFTER = "after:"


def encode_next_token(last_id: int | None) -> str | None:
    """An opaque token for the page after `last_id`; None for None, which is the end."""
    if last_id is None:
        return None
    return base64.urlsafe_b64encode(f"{_AFTER}{last_id}".encode()).decode().rstrip("=")


def decode_next_token(token: str | None) -> int | None:
    """The id that the page starts after; None for None.

    A token holds a number and nothing else, so a forged one leads to another page at worst.
    Raises: InvalidRequestError if it is no such token.
    """
    if token is None:
        return None
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    match = re.fullmatch(rf"{_AFTER}([1-9][0-9]{{0,18}})", text, re.ASCII)
    if match is None or int(match[1]) > MAX_ID:
        raise InvalidRequestError("nextToken is not one that this API has given.")
    return int(match[1])
