"""Metrics of the functions: part of the invocation's log line, in CloudWatch's embedded metric format (EMF)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import telemetry
from customers.customer import Customer
from functions.order_history import projection
from functions.orders import subscriber as orders_subscriber
from order_history.view import OrderHistoryView
from orders.events import RejectionReason
from orders.order import Order
from orders.repository import OrderRepository
from shared.clock import now
from shared.money import Money
from telemetry import metrics
from telemetry.metrics import NAMESPACE, Metric
from tests.integration.conftest import LambdaContext, LogLines
from tests.integration.tables import insert_order
from tests.samples import load, messages, to_batch, wrap

Counted = dict[str, list[float]]


@pytest.fixture(autouse=True)
def no_metrics_of_other_tests() -> None:
    metrics.take()


def values(line: dict[str, Any]) -> Counted:
    """Return the values of each metric, at the places where the line says that CloudWatch finds them."""
    found: Counted = {}
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    for metric in directive["Metrics"]:
        name = metric["Name"]
        assert metric["Unit"] == ("Milliseconds" if "Lag" in name or "Dur" in name else "Count")
        found[name] = line[name] if isinstance(line[name], list) else [line[name]]
    return found


Invoke = Callable[[Any, dict[str, Any]], Counted]


@pytest.fixture
def counted(log_lines: LogLines) -> Invoke:
    """Return a function that invokes a handler and returns the metrics in its only line at level INFO."""

    def invoke(handler: Any, event: dict[str, Any]) -> Counted:
        before = len(log_lines())
        handler.lambda_handler(event, LambdaContext())
        (line,) = [line for line in log_lines()[before:] if line["level"] == "INFO"]
        assert line["message"] in {"batch handled", "events published"}
        return values(line) if "_aws" in line else {}

    return invoke


@pytest.fixture
def pending_orders(orders: OrderRepository) -> None:
    """The orders of events/orders_subscriber_batch.json exist and are PENDING."""
    for message in messages(load("orders_subscriber_batch")):
        insert_order(orders, message["detail"]["data"]["orderId"])


# Counters and durations


def test_record_counts_each_event_type_of_orders_and_no_other() -> None:
    order, created = Order.create(7, 1, Money(400))
    _, customer_created = Customer.create(1, "A name", Money(500))
    events = [created, order.approve(), order.cancel(), customer_created]
    names = []
    for event in events:
        telemetry.record(wrap(event))
        taken = metrics.take()
        names.append(sorted(values(taken)) if taken else [])
    telemetry.record(None)

    assert names == [
        [Metric.ORDERS_CREATED],
        [Metric.ORDERS_APPROVED, Metric.SAGA_DURATION],
        [Metric.ORDERS_CANCELLED],
        [],
    ]
    assert metrics.take() == {}


def test_saga_duration_is_from_the_creation_of_the_order_to_its_decision() -> None:
    order, created = Order.create(7, 1, Money(400))
    envelope = wrap(order.approve(), 2)
    decided = replace(envelope.metadata, occurred_at=order.created_at + timedelta(seconds=7))
    telemetry.record(replace(envelope, metadata=decided))
    telemetry.record(wrap(created))

    assert values(metrics.take())[Metric.SAGA_DURATION] == [7000]


def test_measured_duration_is_never_negative() -> None:
    instant = now()
    metrics.measure(Metric.VIEW_LAG, instant, instant + timedelta(milliseconds=250))
    metrics.measure(Metric.VIEW_LAG, instant, instant - timedelta(seconds=5))
    metrics.measure(Metric.VIEW_LAG, now() + timedelta(hours=1))

    assert values(metrics.take()) == {Metric.VIEW_LAG: [250, 0, 0]}


@pytest.mark.usefixtures("pending_orders")
def test_decided_orders_are_counted_and_redelivered_ones_are_duplicates(
    counted: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = load("orders_subscriber_batch")

    first = counted(orders_subscriber, batch)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    second = counted(orders_subscriber, batch)
    first_message = next(messages(batch))
    third = counted(orders_subscriber, to_batch(first_message, first_message))

    durations = first.pop(Metric.SAGA_DURATION)
    assert first == {Metric.ORDERS_APPROVED: [1]}
    assert len(durations) == 4
    assert all(0 <= milliseconds < 60_000 for milliseconds in durations)
    assert [(line["reason"], values(line)) for line in lines] == [
        (reason, {Metric.ORDERS_REJECTED: [1]}) for reason in RejectionReason
    ]
    assert second == {Metric.DUPLICATES_DROPPED: [4]}
    assert third == {Metric.DUPLICATES_DROPPED: [2]}


# Lag


def test_view_lag_is_measured_for_changes_and_not_for_stale_events(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch, counted: Invoke
) -> None:
    monkeypatch.setattr(projection.subscriber, "_handler", view)
    batch = load("order_history_projection_batch")

    first = counted(projection, batch)
    second = counted(projection, batch)

    assert first.keys() == {Metric.VIEW_LAG}
    assert len(first[Metric.VIEW_LAG]) == len(batch["Records"])
    stale = len(batch["Records"]) - len(second.get(Metric.VIEW_LAG, []))
    assert second[Metric.DUPLICATES_DROPPED] == [stale]


# Format


def test_metrics_are_root_keys_of_the_invocations_line_and_taken_once(log_lines: LogLines) -> None:
    metrics.count(Metric.DEAD_LETTERS)
    metrics.count(Metric.DEAD_LETTERS, 0)
    metrics.count(Metric.ORDERS_CREATED, 3)

    telemetry.log_invocation("done", order_id=7)
    telemetry.log_invocation("done")

    first, second = log_lines()
    assert values(first) == {Metric.DEAD_LETTERS: [1], Metric.ORDERS_CREATED: [3]}
    assert (first["message"], first["order_id"]) == ("done", 7)
    assert "_aws" not in second


def test_metrics_are_printed_at_every_log_level(
    capsys: pytest.CaptureFixture[str], log_lines: LogLines
) -> None:
    previous = telemetry.logger.log_level
    metrics.count(Metric.DEAD_LETTERS)
    telemetry.logger.setLevel("ERROR")
    try:
        telemetry.log_invocation("done")
        telemetry.log_invocation("done")
    finally:
        telemetry.logger.setLevel(previous)

    (line,) = capsys.readouterr().out.splitlines()
    assert values(json.loads(line)) == {Metric.DEAD_LETTERS: [1]}
    assert log_lines() == []


@pytest.mark.usefixtures("pending_orders")
def test_dimensions_are_the_function_and_the_reason_only(
    monkeypatch: pytest.MonkeyPatch, log_lines: LogLines, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "one-stacks-orders-subscriber")
    metrics._metrics.cache_clear()
    try:
        orders_subscriber.lambda_handler(load("orders_subscriber_batch"), LambdaContext())
    finally:
        metrics._metrics.cache_clear()

    lines = [*map(json.loads, capsys.readouterr().out.splitlines()), *log_lines()]
    sets = [line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for line in lines]
    assert [sorted(names) for (names,) in sets] == [["reason", "service"]] * 3 + [["service"]]
    assert {line["service"] for line in lines} == {"one-stacks-orders-subscriber"}
