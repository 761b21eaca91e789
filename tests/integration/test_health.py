"""GET /health on moto and a MongoDB server."""

from __future__ import annotations

import json
import threading
import time
import tomllib

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from functions.health import handler
from order_history.connection import ViewConnection
from order_history.view import OrderHistoryView
from rest_api import health
from rest_api.health import Health
from tests.integration.api import Answer, send
from tests.integration.conftest import LogLines
from tests.template import ROOT, load_template

SAMPLE = "health_get"
ALL_UP = {"customers": "up", "orders": "up", "orderHistory": "up"}


@pytest.fixture(autouse=True)
def fresh(
    dynamodb: DynamoDBClient, view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new execution environment, with tables and database."""
    monkeypatch.setattr(handler, "dynamodb", boto3.client("dynamodb"))
    monkeypatch.setattr(handler, "view", lambda: view)
    monkeypatch.setattr(handler, "health", Health(handler.CHECKS))


def assert_down(answer: Answer, *parts: str) -> None:
    assert answer.status == 503
    assert answer.json["status"] == "down"
    assert answer.json["parts"] == ALL_UP | dict.fromkeys(parts, "down")


def test_all_parts_up_returns_200() -> None:
    answer = send(handler, SAMPLE)

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == {"status": "up", "version": "tests", "parts": ALL_UP}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("table", ["Customers", "CustomersOutbox", "Orders", "OrdersOutbox"])
def test_missing_table_is_reported_for_its_service_only(
    dynamodb: DynamoDBClient, table: str
) -> None:
    dynamodb.delete_table(TableName=table)

    assert_down(send(handler, SAMPLE), table.removesuffix("Outbox").lower())


def test_unreachable_database_is_reported_in_time_and_without_its_address(
    monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    nowhere = OrderHistoryView(ViewConnection("mongodb://somebody:hunter2@127.0.0.1:1/nowhere"))
    monkeypatch.setattr(handler, "view", lambda: nowhere)
    started = time.monotonic()

    answer = send(handler, SAMPLE)

    assert time.monotonic() - started < health.TIME_LIMIT_SECONDS + 2
    assert_down(answer, "orderHistory")
    assert "127.0.0.1" not in answer.text
    line, summary = log_lines()
    assert (line["level"], line["part"]) == ("ERROR", "order_history")
    assert summary["status"] == 503
    assert "hunter2" not in json.dumps([line, summary])


def test_hanging_check_holds_few_requests_and_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released, calls = threading.Event(), []

    def hang() -> None:
        calls.append(1)
        released.wait(60)

    monkeypatch.setattr(handler, "health", Health({**handler.CHECKS, "orders": [hang]}))
    monkeypatch.setattr(health, "TIME_LIMIT_SECONDS", 0.5)
    durations = []
    try:
        for expired in (False, False, True, False):
            if expired:
                monkeypatch.setattr(handler.health, "_expires_at", 0.0)
            started = time.monotonic()
            assert_down(send(handler, SAMPLE), "orders")
            durations.append(time.monotonic() - started)
    finally:
        released.set()

    assert [duration >= 0.5 for duration in durations] == [True, False, True, False]
    assert max(durations) < 10
    assert len(calls) == 1


def test_result_is_reused_until_it_expires(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(handler, SAMPLE).status == 200
    dynamodb.delete_table(TableName="Orders")

    assert send(handler, SAMPLE).status == 200
    monkeypatch.setattr(handler.health, "_expires_at", 0.0)
    assert_down(send(handler, SAMPLE), "orders")


def test_version_of_the_template_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert load_template()["Parameters"]["Version"]["Default"] == project["version"]
