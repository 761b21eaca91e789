"""GET /health: whether the parts that the API needs are there, and which version is deployed.

Anybody may ask, so the answer has no names, no addresses and no errors: those are in the log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from enum import StrEnum
from functools import cache, partial
from http import HTTPStatus
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from botocore.config import Config

from order_history.connection import connect_from_environment
from order_history.view import OrderHistoryView
from rest_api.resolver import RestApi, WireModel

TIME_LIMIT_SECONDS = 2
"""All parts are asked at the same time. One that has not answered by then counts as down."""
_LIFETIME_SECONDS = 5
"""So long an answer is given again, so that nobody can make this ask DynamoDB more often."""

logger = Logger()
api = RestApi(scope=None)
dynamodb = boto3.client(
    "dynamodb",
    config=Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1}),
)


class PartState(StrEnum):
    UP = "up"
    DOWN = "down"


class PartsResponse(WireModel):
    customers: PartState
    orders: PartState
    order_history: PartState


class HealthResponse(WireModel):
    status: PartState
    """Up if all parts are."""
    version: str
    parts: PartsResponse


class TableNotActiveError(Exception):
    """The table is being created or deleted, or cannot be used for another reason."""


@cache
def view() -> OrderHistoryView:
    return OrderHistoryView(connect_from_environment())


def check_table(name: str) -> None:
    """Raises: TableNotActiveError; botocore's errors."""
    status = dynamodb.describe_table(TableName=name)["Table"]["TableStatus"]
    if status not in {"ACTIVE", "UPDATING"}:
        raise TableNotActiveError(status)


def check_order_history() -> None:
    """Raises: pymongo's errors."""
    view().ping(TIME_LIMIT_SECONDS - 0.5)  # early enough for its own reason to be logged


CHECKS: dict[str, list[Callable[[], None]]] = {
    "customers": [
        partial(check_table, os.environ["CUSTOMERS_TABLE"]),
        partial(check_table, os.environ["CUSTOMERS_OUTBOX_TABLE"]),
    ],
    "orders": [
        partial(check_table, os.environ["ORDERS_TABLE"]),
        partial(check_table, os.environ["ORDERS_OUTBOX_TABLE"]),
    ],
    "order_history": [check_order_history],
}
_threads = ThreadPoolExecutor(max_workers=sum(map(len, CHECKS.values())))


class Health:
    """The state of the parts, as of at most _LIFETIME_SECONDS ago."""

    def __init__(self) -> None:
        self._states: dict[str, PartState] = {}
        self._expires_at = 0.0

    def states(self) -> dict[str, PartState]:
        """Of each part in CHECKS. Takes TIME_LIMIT_SECONDS at most."""
        if time.monotonic() >= self._expires_at:
            self._states = _ask_all()
            self._expires_at = time.monotonic() + _LIFETIME_SECONDS
        return self._states


health = Health()
with suppress(Exception):  # tried again by the check, which says what is wrong
    view()  # the secret is fetched and the connection made before the clock runs


def _ask_all() -> dict[str, PartState]:
    asked = {part: [_threads.submit(check) for check in checks] for part, checks in CHECKS.items()}
    wait([one for several in asked.values() for one in several], timeout=TIME_LIMIT_SECONDS)
    states = {}
    for part, answers in asked.items():
        reasons = [reason for answer in answers if (reason := _reason(answer))]
        states[part] = PartState.DOWN if reasons else PartState.UP
        if reasons:
            logger.error("part is down", extra={"part": part, "reasons": reasons})
    return states


def _reason(answer: Future[None]) -> str | None:
    if not answer.done():
        return f"no answer within {TIME_LIMIT_SECONDS} seconds"
    error = answer.exception()
    return None if error is None else f"{type(error).__name__}: {error}"[:300]


@api.get(
    "/health",
    responses={
        status: {
            "description": description,
            "content": {"application/json": {"model": HealthResponse}},
        }
        for status, description in {200: "All parts are up.", 503: "A part is down."}.items()
    },
)
def get_health() -> Response[HealthResponse]:
    """200 if all parts are up, 503 if one is down."""
    states = health.states()
    is_up = all(state is PartState.UP for state in states.values())
    return Response(
        HTTPStatus.OK if is_up else HTTPStatus.SERVICE_UNAVAILABLE,
        "application/json",
        HealthResponse(
            status=PartState.UP if is_up else PartState.DOWN,
            version=os.environ["VERSION"],
            parts=PartsResponse(**states),
        ),
        {"Cache-Control": "no-store"},
    )


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.answer(event, context)
