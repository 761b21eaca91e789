"""What the functions count and measure, as they print it for CloudWatch to read (EMF)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from customers.customer import Customer
from customers.repository import CustomerRepository
from functions.customers import subscriber as customers_subscriber
from functions.order_history import projection
from functions.orders import api as orders_api
from functions.orders import subscriber as orders_subscriber
from functions.outbox_relay import handler as relay
from messaging.domain_event import Cause
from messaging.relay import EventsNotPublishedError, Relay
from messaging.retry import WriteConflictError, retry_on_conflict
from order_history.view import OrderHistoryView
from orders.order import Order
from orders.repository import OrderRepository
from shared.clock import parse_instant
from shared.money import Money
from telemetry import metrics
from telemetry.metrics import NAMESPACE, Metric
from tests.integration.api import send
from tests.integration.conftest import DeadLetters, LambdaContext
from tests.samples import load, messages
from tests.template import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

JANE = int(load("customers_api_get")["pathParameters"]["customerId"])
REQUEST = Cause("a request")
Printed = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """The EMF lines printed since the last look."""
    metrics.emit()
    capsys.readouterr()

    def read() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line for line in lines if "_aws" in line]

    return read


def values(lines: list[dict[str, Any]]) -> dict[str, list[float]]:
    """All values of each metric, from the places where the lines say that CloudWatch finds them."""
    found: dict[str, list[float]] = {}
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        for metric in directive["Metrics"]:
            name = metric["Name"]
            assert metric["Unit"] == ("Milliseconds" if "Lag" in name or "Dur" in name else "Count")
            told = line[name]
            found.setdefault(name, []).extend(told if isinstance(told, list) else [told])
    return found


def handle(handler: Any, event: dict[str, Any]) -> None:
    handler.lambda_handler(event, LambdaContext())


@pytest.fixture
def three_orders(orders: OrderRepository) -> list[int]:
    """The three orders of events/orders_subscriber_batch.json are there, and pending."""
    batch = messages(load("orders_subscriber_batch"))
    ids = [message["detail"]["data"]["orderId"] for message in batch]
    for order_id in ids:
        order, created = Order.create(order_id, JANE, Money(400))
        orders.add(order, created, REQUEST, None)
    return ids


# Orders


def test_an_order_is_counted_once_however_often_its_request_comes(
    dynamodb: DynamoDBClient, printed: Printed
) -> None:
    send(orders_api, "orders_api_create")
    first = values(printed())
    send(orders_api, "orders_api_create")  # with the same Idempotency-Key

    assert first == {Metric.ORDERS_CREATED: [1]}
    assert printed() == []


@pytest.mark.usefixtures("three_orders")
def test_decided_orders_are_counted_with_how_long_their_sagas_took(printed: Printed) -> None:
    printed()
    handle(orders_subscriber, load("orders_subscriber_batch"))

    lines = printed()
    counted = values(lines)
    durations = counted.pop(Metric.SAGA_DURATION)
    assert counted == {Metric.ORDERS_APPROVED: [1], Metric.ORDERS_REJECTED: [1, 1]}
    assert len(durations) == 3
    assert all(0 <= milliseconds < 60_000 for milliseconds in durations)
    rejected = [line["reason"] for line in lines if Metric.ORDERS_REJECTED in line]
    assert rejected == ["INSUFFICIENT_CREDIT", "UNKNOWN_CUSTOMER"]


@pytest.mark.usefixtures("three_orders")
def test_messages_that_come_again_count_as_duplicates_and_as_nothing_else(printed: Printed) -> None:
    handle(orders_subscriber, load("orders_subscriber_batch"))
    printed()

    handle(orders_subscriber, load("orders_subscriber_batch"))

    assert values(printed()) == {Metric.DUPLICATES_DROPPED: [1, 1, 1]}


def test_a_cancellation_is_counted_once_however_often_it_is_asked_for(
    orders: OrderRepository, printed: Printed
) -> None:
    order_id = int(load("orders_api_cancel")["pathParameters"]["orderId"])
    order, created = Order.create(order_id, JANE, Money(400))
    orders.add(order, created, REQUEST, None)
    orders.save(order, order.note_credit_reserved(), REQUEST)
    metrics.emit()
    printed()

    send(orders_api, "orders_api_cancel")
    send(orders_api, "orders_api_cancel")

    assert values(printed()) == {Metric.ORDERS_CANCELLED: [1]}


def test_duplicates_are_counted_whatever_was_decided_the_first_time(
    customers: CustomerRepository, printed: Printed
) -> None:
    customer, created = Customer.create(JANE, "Jane Doe", Money(500))
    customers.add(customer, created, REQUEST, None)
    batch = load("customers_subscriber_batch")
    handle(customers_subscriber, batch)
    printed()

    handle(customers_subscriber, batch)

    dropped = values(printed())[Metric.DUPLICATES_DROPPED]
    assert len(dropped) == len(batch["Records"])


# Lags


def accept(relay: Relay, chunk: object) -> None:
    """The bus takes the chunk."""


def refuse(relay: Relay, chunk: object) -> None:
    """The bus does not."""
    raise EventsNotPublishedError


def test_the_relay_tells_of_each_event_how_long_it_waited(
    monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    monkeypatch.setattr(Relay, "_put", accept)
    batch = load("outbox_relay_batch")
    instants = [
        parse_instant(record["dynamodb"]["NewImage"]["occurredAt"]["S"])
        for record in batch["Records"]
    ]

    handle(relay, batch)

    lags = values(printed())[Metric.RELAY_LAG]
    assert len(lags) == len(instants)
    # The differences are those of the events, whatever the time is now.
    expected = [(instants[0] - instant).total_seconds() * 1000 for instant in instants]
    assert [lag - lags[0] for lag in lags] == pytest.approx(expected, abs=1000)


def test_a_batch_that_the_bus_refused_is_told_of_when_it_has_been_published(
    monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Relay, "_put", refuse)
        with pytest.raises(EventsNotPublishedError):
            handle(relay, load("outbox_relay_batch"))
    refused = printed()
    monkeypatch.setattr(Relay, "_put", accept)
    handle(relay, load("outbox_relay_batch"))

    assert refused == []
    assert len(values(printed())[Metric.RELAY_LAG]) == 4


def test_the_view_tells_how_far_it_lags_behind_and_nothing_of_what_it_knew(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    monkeypatch.setattr(projection, "view", view)
    batch = load("order_history_projection_batch")

    handle(projection, batch)
    first = values(printed())
    handle(projection, batch)

    assert set(first) == {Metric.VIEW_LAG}
    assert 0 < len(first[Metric.VIEW_LAG]) <= len(batch["Records"])
    assert printed() == []


# Trouble


def test_a_command_that_is_tried_anew_is_counted_each_time(printed: Printed) -> None:
    outcomes = iter([WriteConflictError(), WriteConflictError(), None])

    def command() -> None:
        if (error := next(outcomes)) is not None:
            raise error

    retry_on_conflict(command)
    metrics.emit()

    assert values(printed()) == {Metric.CONFLICTS_RETRIED: [1, 1]}


def test_a_parked_message_is_counted(
    dynamodb: DynamoDBClient, dead_letters: DeadLetters, printed: Printed
) -> None:
    handle(customers_subscriber, load("customers_subscriber_partial_failure"))

    assert values(printed())[Metric.POISON_MESSAGES] == [1]
    assert len(dead_letters()) == 1


def test_what_was_counted_is_printed_also_when_the_handler_fails(printed: Printed) -> None:
    @metrics.emitted
    def failing_handler() -> None:
        metrics.count(Metric.POISON_MESSAGES)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        failing_handler()

    assert values(printed()) == {Metric.POISON_MESSAGES: [1]}


# How it is told


@pytest.mark.usefixtures("three_orders")
def test_a_metric_has_no_dimension_but_the_function_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "one-stacks-orders-subscriber")
    metrics._metrics.cache_clear()
    try:
        handle(orders_subscriber, load("orders_subscriber_batch"))
        lines = printed()
    finally:
        metrics._metrics.cache_clear()

    sets = [line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for line in lines]
    assert {tuple(sorted(names)) for (names,) in sets} == {("service",), ("reason", "service")}
    assert {line["service"] for line in lines} == {"one-stacks-orders-subscriber"}


@pytest.mark.parametrize("folder", ["order_history_api", "health"])
def test_a_function_that_counts_nothing_imports_nothing_for_it(folder: str) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers/common")])
    code = f"import functions.{folder}.handler, sys; print('metrics' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "False"
