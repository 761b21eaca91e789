"""The view from the outboxes: part by part, in any number of steps, with whatever is in the tables."""

from __future__ import annotations

import importlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from customers import service as customer_service
from customers.repository import CustomerRepository
from messaging.domain_event import Cause
from order_history.projection import EVENTS, project
from order_history.rebuild import Rebuild
from order_history.view import OrderHistoryView
from orders import service as order_service
from orders.repository import OrderRepository
from shared.money import Money
from tests.integration.conftest import LambdaContext, LogLines
from tests.integration.mongodb import documents
from tests.integration.tables import published
from tests.samples import an_event_id, load

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OUTBOXES = {"Customers": "CustomersOutbox", "Orders": "OrdersOutbox"}


@pytest.fixture
def history(
    dynamodb: DynamoDBClient, customers: CustomerRepository, orders: OrderRepository
) -> int:
    """Two customers with three orders each, decided in every way; returns how many events tell of it."""
    for name in ("Jane Doe", "John Doe"):
        cause = Cause("a request")
        customer = customer_service.create_customer(customers, name, Money(500), cause)
        for total in (200, 300, 1):
            order = order_service.create_order(orders, customer, Money(total), cause)
            created = next(
                event
                for event in published(dynamodb, "OrdersOutbox")
                if event.metadata.aggregate_id == str(order)
            )
            because = created.cause_of_effects
            customer_service.reserve_credit(customers, customer, order, Money(total), because)
            if total == 1:
                continue
            order_service.note_credit_reserved(
                orders, order, Cause("a request", an_event_id(f"reserved {order}"))
            )
            if total == 300:
                order_service.cancel_order(orders, order, cause)
    return sum(len(published(dynamodb, outbox)) for outbox in OUTBOXES.values())


def projected(dynamodb: DynamoDBClient, view: OrderHistoryView) -> dict[str, list[Any]]:
    """What the view has after all events have come to it as they do, one by one; it is empty again."""
    for outbox in OUTBOXES.values():
        for envelope in published(dynamodb, outbox):
            if isinstance(envelope.event, EVENTS):
                project(envelope, view)
    expected = documents(view)
    view.drop()
    return expected


def run(rebuild: Rebuild, seconds: float) -> int:
    """Reads everything; returns in how many steps."""
    for steps in itertools.count():
        unread = [part for part in rebuild.parts() if part.state == "open"]
        if not unread:
            return steps
        rebuild.advance(unread[0].name, seconds, seconds)
    raise AssertionError


@pytest.mark.parametrize("segments", [1, 4])
def test_the_rebuilt_view_equals_the_one_that_was_projected_event_by_event(
    dynamodb: DynamoDBClient, history: int, view: OrderHistoryView, segments: int
) -> None:
    expected = projected(dynamodb, view)
    rebuild = Rebuild(view, OUTBOXES)

    rebuild.begin(segments)
    run(rebuild, seconds=60)

    assert documents(view) == expected
    assert sum(part.read for part in rebuild.parts()) == history


def test_a_rebuild_whose_time_is_up_at_once_reads_every_event_once_all_the_same(
    dynamodb: DynamoDBClient, history: int, view: OrderHistoryView
) -> None:
    expected = projected(dynamodb, view)
    rebuild = Rebuild(view, OUTBOXES)

    rebuild.begin(2)
    steps = run(rebuild, seconds=0)

    assert steps >= 8, "one for each customer and each order"
    assert sum(part.read for part in rebuild.parts()) == history
    assert documents(view) == expected


def test_newer_news_than_the_outbox_had_when_it_was_read_stands(
    dynamodb: DynamoDBClient, history: int, view: OrderHistoryView, orders: OrderRepository
) -> None:
    rebuild = Rebuild(view, OUTBOXES)
    rebuild.begin(1)
    run(rebuild, seconds=60)
    before = documents(view)

    rebuild.begin(3)  # over what is there
    run(rebuild, seconds=60)

    assert documents(view) == before


def test_a_view_that_is_lost_meanwhile_has_lost_the_rebuild_as_well(
    history: int, view: OrderHistoryView
) -> None:
    rebuild = Rebuild(view, OUTBOXES)
    rebuild.begin(1)
    rebuild.advance("Orders 1/1", 0, 0)

    view.drop()
    rebuild.advance("Orders 1/1", 0, 0)

    assert rebuild.parts() == []
    assert documents(view) == {"customers": [], "orders": [], "events": []}


def test_an_item_that_holds_no_event_is_passed_over_and_counted(
    dynamodb: DynamoDBClient, history: int, view: OrderHistoryView, log_lines: LogLines
) -> None:
    expected = projected(dynamodb, view)
    for number, detail in enumerate(("no JSON", "{}", '"text"')):
        item = {
            "aggregateId": f"poison-{number}",
            "eventId": "poison",
            "source": "customers-and-orders.orders",
            "eventType": "OrderCreated",
            "detail": detail,
        }
        dynamodb.put_item(
            TableName="OrdersOutbox", Item={name: {"S": text} for name, text in item.items()}
        )
    rebuild = Rebuild(view, OUTBOXES)

    rebuild.begin(1)
    run(rebuild, seconds=60)

    assert documents(view) == expected
    assert sum(part.unreadable for part in rebuild.parts()) == 3
    warnings = [line for line in log_lines() if line["message"] == "unreadable item passed over"]
    assert len(warnings) == 3
    assert all(line["reason"] and line["key"] for line in warnings)


@pytest.fixture
def handler(view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = importlib.import_module("functions.order_history.rebuild")
    monkeypatch.setattr(module, "view", view)
    monkeypatch.setattr(module, "rebuild", Rebuild(view, OUTBOXES))
    return module


def test_the_function_reads_the_part_of_its_sample_and_tells_how_far_it_came(
    handler: Any,
    dynamodb: DynamoDBClient,
    history: int,
    view: OrderHistoryView,
    log_lines: LogLines,
) -> None:
    context = LambdaContext()
    parts = handler.lambda_handler({"command": "begin", "segments": 4}, context)["parts"]
    sample = load("order_history_rebuild_advance")
    assert sample["part"] in {part["_id"] for part in parts}

    while unread := [part["_id"] for part in parts if part["state"] == "open"]:
        parts = handler.lambda_handler({**sample, "part": unread[0]}, context)["parts"]

    assert sum(part["read"] for part in parts) == history
    assert len(documents(view)["orders"]) == 6
    assert handler.lambda_handler({"command": "end"}, context) == {"parts": []}
    lines = [line for line in log_lines() if line["message"] == "rebuild"]
    assert lines[-1]["command"] == "end"


def test_the_function_empties_the_view_only_when_told_to(
    handler: Any, history: int, view: OrderHistoryView, orders: OrderRepository
) -> None:
    rebuild = Rebuild(view, OUTBOXES)
    rebuild.begin(1)
    run(rebuild, seconds=60)
    before = documents(view)

    for nonsense in ({}, {"command": "Drop"}, {"command": "begin"}, {"command": "advance"}):
        with pytest.raises(ValueError, match="no command"):
            handler.lambda_handler(nonsense, LambdaContext())
    assert documents(view) == before

    handler.lambda_handler({"command": "drop"}, LambdaContext())
    assert documents(view) == {"customers": [], "orders": [], "events": []}
