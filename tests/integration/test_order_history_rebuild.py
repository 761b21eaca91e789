"""The rebuild of the view from the outboxes: progress, interruption, unreadable items, a view dropped meanwhile."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from mypy_boto3_dynamodb import DynamoDBClient

from customers import service as customers_service
from customers.events import CustomerCreated
from customers.repository import CustomerRepository
from messaging.dynamodb import Database
from messaging.subscriber import Delivery
from order_history import rebuild as rebuild_module
from order_history.projection import Projected
from order_history.queries import OrderHistoryQueries
from order_history.rebuild import Rebuild
from order_history.view import OrderHistoryView
from shared.clock import now
from shared.money import Money
from tests.integration.conftest import LambdaContext, LogLines
from tests.integration.mongodb import documents
from tests.integration.tables import create_tables, published
from tests.integration.test_recorded_events import OUTBOXES, RECORDED, outbox_of
from tests.samples import REQUEST, load

EVENTS = len(RECORDED) + 2
EMPTY: dict[str, list[Any]] = {
    name: [] for name in ("customers", "orders", "names", "erased", "customerTerms")
}


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[DynamoDBClient]:
    """The outboxes of test_recorded_events.py: a customer and four orders; and of an erased customer."""
    with mock_aws():
        client = boto3.client("dynamodb")
        create_tables(client)
        for item in RECORDED:
            client.put_item(TableName=outbox_of(item), Item=item)
        customers = CustomerRepository("Customers", "CustomersOutbox", database=Database())
        erased_id = customers_service.create_customer(customers, "Jim Doe", Money(9), REQUEST).id
        customers_service.erase_customer(customers, erased_id, REQUEST)
        yield client


@pytest.fixture
def expected(dynamodb: DynamoDBClient, view: OrderHistoryView) -> dict[str, list[Any]]:
    """The view after every event was delivered. It is empty again."""
    for outbox in OUTBOXES.values():
        for event in published(dynamodb, outbox):
            list(view.handle([Delivery(event, ("a message",))], lambda: 10))
    expected = documents(view)
    assert len(expected["orders"]) == 4
    view.drop()
    return expected


@pytest.fixture
def rebuild(dynamodb: DynamoDBClient, view: OrderHistoryView) -> Rebuild:
    return Rebuild(view, OUTBOXES)


def run(rebuild: Rebuild, seconds: float) -> int:
    """Read all parts. Return the number of steps."""
    for steps in itertools.count():
        unread = [part for part in rebuild.parts() if part.state == "open"]
        if not unread:
            return steps
        rebuild.advance(unread[0].name, seconds, seconds)
    raise AssertionError


def test_rebuilt_view_has_no_name_of_an_erased_customer(
    rebuild: Rebuild, view: OrderHistoryView, dynamodb: DynamoDBClient
) -> None:
    """Also if a rebuild or a queue had the name from before the erasure."""
    (created,) = (
        envelope
        for envelope in published(dynamodb, "CustomersOutbox")
        if isinstance(envelope.event, CustomerCreated) and envelope.event.name == "erased"
    )
    named = replace(created, event=replace(created.event, name="Jim Doe"))  # type: ignore[call-arg]
    view.project([Projected(named, now())])
    rebuild.begin(1)
    run(rebuild, seconds=60)
    view.project([Projected(named, now())])

    found = documents(view)
    names = [d["name"] for d in (*found["customers"], *found["names"]) if "name" in d]
    assert sorted(names) == ["Jane Doe", "Jane Doe"]
    assert OrderHistoryQueries(view.connection).count_customers() == 1


def test_rebuilt_view_equals_the_projected_one(
    rebuild: Rebuild, view: OrderHistoryView, expected: dict[str, list[Any]]
) -> None:
    for _ in range(2):  # the second one over the documents of the first
        rebuild.begin(4)
        assert {part.read for part in rebuild.parts()} == {0}
        run(rebuild, seconds=60)

        assert documents(view) == expected
        assert sum(part.projected for part in rebuild.parts()) == EVENTS


def test_interrupted_pages_are_continued_where_they_ended(
    rebuild: Rebuild,
    view: OrderHistoryView,
    expected: dict[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rebuild_module, "CHUNK", 1)
    rebuild.begin(1)
    steps = run(rebuild, seconds=-1)  # the time is up after each chunk

    assert steps == sum(part.read for part in rebuild.parts()) == EVENTS
    assert documents(view) == expected


def test_scans_are_consistent(rebuild: Rebuild, monkeypatch: pytest.MonkeyPatch) -> None:
    client = rebuild._dynamodb
    scan, requests = client.scan, []

    def record(**request: Any) -> Any:
        requests.append(request)
        return scan(**request)

    monkeypatch.setattr(client, "scan", record)
    rebuild.begin(2)
    run(rebuild, seconds=60)

    assert len(requests) == 4
    assert all(request["ConsistentRead"] is True for request in requests)


def test_rebuild_ends_with_the_view_that_is_dropped_meanwhile(
    rebuild: Rebuild, view: OrderHistoryView
) -> None:
    rebuild.begin(1)
    (_, orders) = rebuild.parts()

    view.drop()
    rebuild._save(orders)  # a step that was under way
    rebuild.advance(orders.name, 60, 60)

    assert rebuild.parts() == []
    assert documents(view) == EMPTY


def test_unreadable_items_are_counted_and_logged(
    dynamodb: DynamoDBClient,
    rebuild: Rebuild,
    view: OrderHistoryView,
    expected: dict[str, list[Any]],
    log_lines: LogLines,
) -> None:
    keys: list[Any] = []
    for detail in ("no JSON", "{}", '"text"', "[" * 100_000):
        texts = {"aggregateId": f"unreadable {len(keys)}", "eventId": "unreadable"}
        keys.append({name: {"S": text} for name, text in texts.items()})
        texts |= {"source": "customers-and-orders.orders", "eventType": "OrderCreated"}
        item: Any = {name: {"S": text} for name, text in {**texts, "detail": detail}.items()}
        dynamodb.put_item(TableName="OrdersOutbox", Item=item)
    try:
        rebuild.begin(1)
        run(rebuild, seconds=60)
    finally:
        for key in keys:
            dynamodb.delete_item(TableName="OrdersOutbox", Key=key)

    assert documents(view) == expected
    assert sum(part.unreadable for part in rebuild.parts()) == len(keys)
    logged = [line["key"] for line in log_lines() if line["message"] == "outbox item unreadable"]
    assert sorted(logged, key=str) == keys


@pytest.fixture
def handler(view: OrderHistoryView, rebuild: Rebuild, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = importlib.import_module("functions.order_history.rebuild")
    monkeypatch.setattr(module, "view", view)
    monkeypatch.setattr(module, "rebuild", rebuild)
    return module


def test_function_reads_the_part_of_its_sample_and_returns_the_progress(
    handler: Any, view: OrderHistoryView, expected: dict[str, list[Any]]
) -> None:
    context = LambdaContext()
    parts = handler.lambda_handler({"command": "begin", "segments": 4}, context)["parts"]
    sample = load("order_history_rebuild_advance")
    assert sample["part"] in {part["_id"] for part in parts}

    while unread := [part["_id"] for part in parts if part["state"] == "open"]:
        parts = handler.lambda_handler({**sample, "part": unread[0]}, context)["parts"]

    assert documents(view) == expected
    assert handler.lambda_handler({"command": "progress"}, context)["parts"] == parts
    ended = handler.lambda_handler({"command": "end"}, context)
    assert ended == {"parts": [], "retentionDays": 0}


def test_function_drops_the_view_only_on_command(
    handler: Any, rebuild: Rebuild, view: OrderHistoryView, expected: dict[str, list[Any]]
) -> None:
    rebuild.begin(1)
    run(rebuild, seconds=60)

    for event in ({}, {"command": "Drop"}, {"command": "begin"}, {"command": "advance"}):
        with pytest.raises(ValueError, match="unknown command"):
            handler.lambda_handler(event, LambdaContext())
    assert documents(view) == expected

    handler.lambda_handler({"command": "drop"}, LambdaContext())
    assert documents(view) == EMPTY
