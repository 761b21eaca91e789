"""The resolver of the HTTP APIs: Powertools' routing and validation behind one chain of middlewares."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, CORSConfig, Response
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.middlewares.openapi_validation import (
    OpenAPIRequestValidationMiddleware,
)
from pydantic import BaseModel

import telemetry
from messaging.domain_event import Cause
from rest_api import waiting
from rest_api.authorization import Caller, trusted_caller, verifier_from_environment
from rest_api.fields import RequestModel
from rest_api.json_body import check_body, is_json, parse_object
from rest_api.problems import NoSuchRouteError, to_problem
from rest_api.waiting import V, ViewBehindError
from shared.errors import InvalidRequestError
from shared.idempotency import IdempotentRequest

T = TypeVar("T")

_HEADERS_READ = frozenset({"authorization", "content-type", "idempotency-key", "origin", "prefer"})
_PREFLIGHT_LIFETIME_SECONDS = 600
_LOG_KEYS = {"customerId": "customer_id", "orderId": "order_id"}


class RestApi(APIGatewayRestResolver):
    """Answer every request with the declared model or a problem document, and log one line for it.

    Where a token issuer is configured, a GET needs a token with the scope `<scope>:read`, any other request one with
    `<scope>:write`. An API without a scope is open to everyone.
    """

    def __init__(self, scope: str | None) -> None:
        cors = _cors_from_environment()
        super().__init__(cors=cors, json_body_deserializer=parse_object)
        # Not `enable_validation`: it validates requests before the middlewares, and every response a second time.
        self.use(
            middlewares=[
                _answer_errors,
                _authorize,
                check_body,
                OpenAPIRequestValidationMiddleware(),  # type: ignore[no-untyped-call]
                _serialize,
            ]
        )
        self.not_found(_refuse_route)
        self.scope = scope
        self.has_cors = cors is not None
        self.verifier = verifier_from_environment() if scope is not None else None
        self._correlation_id = ""
        self.caller = Caller()
        """The sender of the current request. Without permissions until the request is authorized."""
        self.headers: dict[str, str] = {}
        """Headers of the current request's answer if it is a result, not a problem."""
        self.log_keys: dict[str, Any] = {}
        """Keys of the current request's log line: its correlation id and the ids of what it is about."""

    @property
    def routes(self) -> list[Route]:
        """All routes, for the documentation."""
        return [*self._static_routes, *self._dynamic_routes]

    @property
    def cause(self) -> Cause:
        """The current request as the cause of events. Its id is their correlation id."""
        return Cause(correlation_id=self._correlation_id)

    def idempotent(self, key: str | None, request: RequestModel) -> IdempotentRequest | None:
        """Return the request with its Idempotency-Key, scoped by the caller; None without a key."""
        if key is None:
            return None
        return IdempotentRequest.of(key, self.caller.identity, request.model_dump(mode="json"))

    def wait(
        self,
        prefer: str | None,
        look: Callable[[], T],
        is_done: Callable[[T], bool],
        default_seconds: int = 0,
    ) -> T:
        """Call `look` until `is_done` accepts its result or the time is over. Return the last result.

        The time is the preference `wait` in the header Prefer, else `default_seconds`. A result that is not accepted is
        sent with the header Retry-After.
        """
        seconds = waiting.preferred_seconds(prefer)
        if seconds is not None:
            self.headers["Preference-Applied"] = f"wait={seconds}"
        seen = waiting.wait_for(look, is_done, default_seconds if seconds is None else seconds)
        if not is_done(seen):
            self.headers["Retry-After"] = str(waiting.RETRY_AFTER_SECONDS)
        return seen

    def find_version(
        self,
        find: Callable[[], V | None],
        min_version: int | None,
        prefer: str | None,
        unknown: Exception,
    ) -> V:
        """Return what `find` finds in the view, after a wait for `min_version` if there is one.

        Raises: `unknown` if it finds None; ViewBehindError.
        """

        def has_version(found: V | None) -> bool:
            return min_version is None or (found is not None and found.version >= min_version)

        # Without a version, there is nothing to wait for.
        found = self.wait(prefer if min_version else None, find, has_version, waiting.VIEW_SECONDS)
        if found is None:
            raise unknown
        if not has_version(found):
            raise ViewBehindError(f"The view has version {found.version}. Try again later.")
        return found

    def tell_version(self, version: int) -> None:
        """Send the version of the aggregate that the request wrote or read, as an entity tag."""
        self.headers["ETag"] = f'"{version}"'

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Return API Gateway's proxy response to its proxy event. Log one line."""
        started = time.perf_counter()
        self._correlation_id = event["requestContext"]["requestId"]
        self.caller, self.headers = Caller(), {}
        self.log_keys = {"correlation_id": self._correlation_id, **_ids_in_path(event)}
        response = self.resolve(to_request(event), context)
        headers = response["multiValueHeaders"]
        headers["X-Correlation-Id"] = [self._correlation_id]
        headers["Cache-Control"] = ["no-store"]
        telemetry.log_invocation(
            "request handled",
            method=event["httpMethod"],
            route=event["resource"],
            status=response["statusCode"],
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
            **self.log_keys,
        )
        return response


def _answer_errors(app: RestApi, next_middleware: NextMiddleware) -> Response[Any]:
    """Middleware: turn every error into a problem document."""
    try:
        return next_middleware(app)
    except Exception as error:  # noqa: BLE001, logged by `to_problem`
        return to_problem(error, app.log_keys)


def _authorize(app: RestApi, next_middleware: NextMiddleware) -> Response[Any]:
    """Middleware: identify the caller. Refuse a request without its scope, or with an ambiguous header."""
    event = app.current_event
    for name, values in event["multiValueHeaders"].items():
        if len(values) > 1:
            raise InvalidRequestError(f"Send the header {name} only once.")
    if event.http_method != "OPTIONS" or not app.has_cors:  # a preflight carries no token
        if app.verifier is None:
            app.caller = trusted_caller(event)
        else:
            app.caller = app.verifier.verify(event["headers"].get("authorization"))
        action = "read" if event.http_method == "GET" else "write"
        app.caller.check_scope(f"{app.scope}:{action}")
    return next_middleware(app)


def to_request(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of API Gateway's proxy event that the APIs read, in the form that Powertools expects.

    The path is the route's, without a custom domain's base path. Headers have lower-case names; Content-Type is left
    out where it says JSON, because Powertools knows one spelling only, and where it describes no body.
    """
    given = event.get("multiValueHeaders") or {
        name: [value] for name, value in (event.get("headers") or {}).items()
    }
    headers: dict[str, list[str]] = {}
    for name, values in given.items():
        if (lower := name.lower()) in _HEADERS_READ:
            headers.setdefault(lower, []).extend(values)
    if "prefer" in headers:  # its values are one list (RFC 7240, section 2)
        headers["prefer"] = [",".join(headers["prefer"])]
    content_types = headers.get("content-type", [])
    if not event.get("body") or all(map(is_json, content_types)):
        headers.pop("content-type", None)
    parameters = event.get("pathParameters") or {}
    return {
        "httpMethod": event["httpMethod"],
        "path": re.sub(
            r"\{(\w+)}", lambda name: quote(parameters.get(name[1], ""), safe=""), event["resource"]
        ),
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": event.get("queryStringParameters"),
        "multiValueQueryStringParameters": event.get("multiValueQueryStringParameters"),
        "body": event.get("body"),
        "isBase64Encoded": event.get("isBase64Encoded"),
        "requestContext": event["requestContext"],
    }


def _serialize(app: RestApi, next_middleware: NextMiddleware) -> Response[Any]:
    """Middleware: write a response model as JSON, which was validated when it was made, and add the result's headers."""
    response = next_middleware(app)
    response.headers.update(app.headers)
    if isinstance(response.body, BaseModel):
        response.body = response.body.model_dump_json(by_alias=True)
    return response


def _refuse_route(_: Exception) -> Response[Any]:
    raise NoSuchRouteError("The API has no such path, or not with this method.")


def _cors_from_environment() -> CORSConfig | None:
    """Return the CORS rules for ALLOWED_ORIGINS, separated by commas; None if it is empty. No credentials."""
    origins = os.environ.get("ALLOWED_ORIGINS", "").replace(",", " ").split()
    if not origins:
        return None
    return CORSConfig(
        allow_origin=origins[0],
        extra_origins=origins[1:],
        allow_headers=["Idempotency-Key", "Prefer"],
        expose_headers=["X-Correlation-Id", "ETag", "Preference-Applied", "Retry-After"],
        max_age=_PREFLIGHT_LIFETIME_SECONDS,
    )


def _ids_in_path(event: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids in the path by their log keys. Anything else in their place is not logged."""
    given = event.get("pathParameters") or {}
    return {
        key: int(given[name])
        for name, key in _LOG_KEYS.items()
        if re.fullmatch(r"[0-9]{1,19}", given.get(name, ""), re.ASCII)
    }
