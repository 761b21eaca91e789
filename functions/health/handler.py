"""GET /health: whether the parts that the API needs answer, and the deployed version.

The endpoint is open to everyone, so the response has no names, addresses or errors. They are in the log.
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
from itertools import chain
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from botocore.config import Config

from order_history.connection import connect_from_environment
from order_history.view import OrderHistoryView
from rest_api.fields import WireModel
from rest_api.resolver import RestApi

TIME_LIMIT_SECONDS = 2
"""Time limit of all checks together. A part that has not answered by then is down."""
_LIFETIME_SECONDS = 10
"""How long a result is reused. With the time limit, it bounds the time that requests can hold this function."""

logger = Logger(location=None)
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
    version: str
    parts: PartsResponse


class TableNotActiveError(Exception):
    """The table is being created or deleted, or is not accessible."""


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
    view().ping(TIME_LIMIT_SECONDS - 0.5)  # before the time limit, so that its own reason is logged


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


class Health:
    """The states of the parts, at most _LIFETIME_SECONDS old."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=sum(map(len, CHECKS.values())))
        self._running: dict[str, list[Future[None]]] = {}
        self._states: dict[str, PartState] = {}
        self._expires_at = 0.0

    def states(self) -> dict[str, PartState]:
        """Return the state of each part in CHECKS, within TIME_LIMIT_SECONDS."""
        if time.monotonic() >= self._expires_at:
            self._states = self._check_all()
            self._expires_at = time.monotonic() + _LIFETIME_SECONDS
        return self._states

    def _check_all(self) -> dict[str, PartState]:
        for part, checks in CHECKS.items():
            # A check that still hangs is not started a second time.
            if all(check.done() for check in self._running.get(part, [])):
                self._running[part] = [self._threads.submit(check) for check in checks]
        wait(chain.from_iterable(self._running.values()), timeout=TIME_LIMIT_SECONDS)
        states = {}
        for part, running in self._running.items():
            reasons = [reason for check in running if (reason := _reason(check))]
            states[part] = PartState.DOWN if reasons else PartState.UP
            if reasons:
                logger.error("part is down", extra={"part": part, "reasons": reasons})
        return states


health = Health()
with suppress(Exception):  # repeated by the check, which logs the reason
    view()  # fetches the secret during the cold start, outside the time limit


def _reason(check: Future[None]) -> str | None:
    if not check.done():
        return f"no answer within {TIME_LIMIT_SECONDS} seconds"
    error = check.exception()
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
    """Check the parts that the API needs: 200 if all are up, 503 if one is down."""
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
    )


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.handle(event, context)
