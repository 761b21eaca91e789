"""GET /health on moto and a MongoDB server: what is up, what is down, and that it tells nobody why."""

from __future__ import annotations

import json
import threading
import time
import tomllib
from typing import TYPE_CHECKING

import boto3
import pytest

from functions.health import handler
from functions.health.handler import Health
from order_history.view import InvalidMongoDbUriError, OrderHistoryView, connect
from rest_api.resolver import RestApi
from tests.integration.api import Answer, send
from tests.integration.conftest import LambdaContext, LogLines
from tests.samples import load
from tests.template import ROOT, load_template

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SAMPLE = "health_get"
ALL_UP = {"customers": "up", "orders": "up", "orderHistory": "up"}


@pytest.fixture(autouse=True)
def fresh(
    dynamodb: DynamoDBClient, view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution environment that has not been asked yet; tables and database are there."""
    monkeypatch.setattr(handler, "dynamodb", boto3.client("dynamodb"))
    monkeypatch.setattr(handler, "view", lambda: view)
    monkeypatch.setattr(handler, "health", Health())


def assert_down(answer: Answer, *parts: str) -> None:
    assert answer.status == 503
    assert answer.json["status"] == "down"
    assert answer.json["parts"] == ALL_UP | dict.fromkeys(parts, "down")


def test_all_is_well() -> None:
    answer = send(handler, SAMPLE)

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == {"status": "up", "version": "tests", "parts": ALL_UP}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ("Customers", "customers"),
        ("CustomersOutbox", "customers"),
        ("Orders", "orders"),
        ("OrdersOutbox", "orders"),
    ],
)
def test_a_missing_table_is_its_services_trouble_only(
    dynamodb: DynamoDBClient, table: str, part: str
) -> None:
    dynamodb.delete_table(TableName=table)

    assert_down(send(handler, SAMPLE), part)


def test_a_database_that_does_not_answer_is_told_of_in_time_and_without_its_address(
    monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    nowhere = connect("mongodb://somebody:hunter2@127.0.0.1:1/nowhere")
    monkeypatch.setattr(handler, "view", lambda: nowhere)
    started = time.monotonic()

    answer = send(handler, SAMPLE)

    assert time.monotonic() - started < handler.TIME_LIMIT_SECONDS + 2
    assert_down(answer, "orderHistory")
    assert "127.0.0.1" not in answer.text
    line, summary = log_lines()
    assert (line["level"], line["part"]) == ("ERROR", "order_history")
    assert summary["status"] == 503
    assert "hunter2" not in json.dumps([line, summary])


def test_a_uri_that_is_none_is_a_part_that_is_down(
    monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    def misconfigured() -> OrderHistoryView:
        return connect("mongodb://somebody:hun/ter2@host/order_history")

    monkeypatch.setattr(handler, "view", misconfigured)

    assert_down(send(handler, SAMPLE), "orderHistory")
    assert InvalidMongoDbUriError.__name__ in json.dumps(log_lines())
    assert "ter2" not in json.dumps(log_lines())


def test_a_part_that_hangs_holds_up_the_answer_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()
    monkeypatch.setitem(handler.CHECKS, "orders", [lambda: answered.wait(60) and None])
    monkeypatch.setattr(handler, "TIME_LIMIT_SECONDS", 0.5)
    started = time.monotonic()

    try:
        answer = send(handler, SAMPLE)
    finally:
        answered.set()

    assert time.monotonic() - started < 10
    assert_down(answer, "orders")


def test_an_answer_is_given_again_for_a_while_and_no_longer(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(handler, SAMPLE).status == 200
    dynamodb.delete_table(TableName="Orders")

    assert send(handler, SAMPLE).status == 200
    monkeypatch.setattr(handler.health, "_expires_at", 0.0)
    assert_down(send(handler, SAMPLE), "orders")


def test_no_token_is_needed_where_all_other_requests_need_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.example")
    monkeypatch.setenv("JWT_AUDIENCE", "customers-and-orders")
    open_to_all, others = RestApi(scope=None), RestApi("health")
    statuses = []
    for api in (open_to_all, others):
        api.get("/health")(handler.get_health)
        monkeypatch.setattr(handler, "api", api)
        # Not `send`: no such API is documented.
        statuses.append(handler.lambda_handler(load(SAMPLE), LambdaContext())["statusCode"])

    assert statuses == [200, 401]


def test_the_templates_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert load_template()["Parameters"]["Version"]["Default"] == project["version"]
