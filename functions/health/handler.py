"""GET /health: whether the parts that the API needs answer, and the deployed version.

The endpoint is open to everyone, so the response has no names, addresses or errors. They are in the log.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache, partial
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import Response
from botocore.config import Config

from order_history.connection import connect_from_environment
from order_history.view import OrderHistoryView
from rest_api.health import TIME_LIMIT_SECONDS, Checks, Health, HealthResponse, documented
from rest_api.resolver import RestApi

api = RestApi(scope=None)
dynamodb = boto3.client(
    "dynamodb",
    config=Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1}),
)


class TableNotActiveError(Exception):
    """The table is being created or deleted, or is not accessible."""


@cache
def view() -> OrderHistoryView:
    return OrderHistoryView(connect_from_environment())


def check_table(variable: str) -> None:
    """Raises: TableNotActiveError; botocore's errors."""
    status = dynamodb.describe_table(TableName=os.environ[variable])["Table"]["TableStatus"]
    if status not in {"ACTIVE", "UPDATING"}:
        raise TableNotActiveError(status)


def check_order_history() -> None:
    """Raises: pymongo's errors."""
    view().ping(TIME_LIMIT_SECONDS - 0.5)  # before the time limit, so that its own reason is logged


CHECKS: Checks = {
    "customers": [partial(check_table, f"CUSTOMERS{kind}_TABLE") for kind in ("", "_OUTBOX")],
    "orders": [partial(check_table, f"ORDERS{kind}_TABLE") for kind in ("", "_OUTBOX")],
    "order_history": [check_order_history],
}
health = Health(CHECKS)
with suppress(Exception):  # repeated by the check, which logs the reason
    view()  # fetches the secret during the cold start, outside the time limit


@api.get(
    "/health", responses={200: documented("All parts are up."), 503: documented("A part is down.")}
)
def get_health() -> Response[HealthResponse]:
    """Check the parts that the API needs: 200 if all are up, 503 if one is down."""
    report = HealthResponse.of(health.states(), os.environ["VERSION"])
    return Response(200 if report.is_up else 503, "application/json", report)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.handle(event, context)
