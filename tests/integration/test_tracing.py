"""The trace header of X-Ray goes through the outbox to the bus."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from functions.outbox_relay import handler as relay
from messaging.domain_event import Cause
from orders import service
from orders.repository import OrderRepository
from shared.money import Money
from telemetry import tracing
from tests.integration.conftest import LambdaContext
from tests.integration.tables import items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def test_trace_header_goes_from_the_outbox_to_the_bus(
    orders: OrderRepository, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def put_events(Entries: list[Any]) -> dict[str, Any]:  # noqa: N803, as boto3 has it
        sent.extend(Entries)
        return {"Entries": [{"EventId": "id"} for _ in Entries]}

    monkeypatch.setitem(relay.relay.__dict__, "_events", SimpleNamespace(put_events=put_events))
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER)
    service.create_order(orders, 1, Money(400), Cause("a request"))
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    service.create_order(orders, 1, Money(400), Cause("a request"))

    for item in items(dynamodb, "OrdersOutbox"):
        record = {"eventName": "INSERT", "dynamodb": {"NewImage": item}}
        relay.lambda_handler({"Records": [record]}, LambdaContext())

    headers = [entry.get("TraceHeader") for entry in sent]
    assert sorted(headers, key=str) == [None, HEADER]


def test_invocation_that_is_not_sampled_has_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing.header() is None
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER.replace("Sampled=1", "Sampled=0"))
    assert tracing.header() is None
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER)
    assert tracing.header() == HEADER
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
    assert tracing.header() is None
