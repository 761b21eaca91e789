"""The causes of stuck orders, and the sagas that trace and resume refuse."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from unittest.mock import MagicMock

import boto3
import pytest

from infra.ops.logs import FunctionLogs, LogLine
from infra.ops.stuck import StuckOrders
from infra.ops.target import Target
from infra.ops.untrusted import EPOCH
from tests.unit.infra.conftest import OpsStack

RELAY, CONSUMER = "OrdersOutboxRelayFunction", "CustomersSubscriberFunction"
OBSTACLE = "customers-subscriber is stopped: off"
CAUSES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"letters": {"e": "orders-subscriber: broken"}, "waiting": 3},
        "is a dead letter in orders-subscriber: broken",
        "",
    ),
    ({}, "not published: the log of orders-outbox-relay does not name it", ""),
    ({"refused": True}, "not published: orders-outbox-relay fails: AccessDenied", ""),
    (
        {"stopped": {RELAY: "off"}, "refused": True},
        "not published: orders-outbox-relay is stopped: off",
        "orders-outbox-relay is stopped: off",
    ),
    (
        {"published": True, "stopped": {CONSUMER: "off"}, "failed": True, "waiting": 3},
        f"is published; {OBSTACLE}; messages in its queue: 3",
        OBSTACLE,
    ),
    ({"published": True, "failed": True, "waiting": 1}, "customers-subscriber fails: denied", ""),
    ({"published": True, "failed": True, "handled": True}, "handled OrderCreated and publ", ""),
    (
        {"handled": True, "stopped": {RELAY: "off"}},
        "handled OrderCreated and published no answer",
        "",
    ),
    ({"published": True, "waiting": 2}, "did not handle it yet; messages in its queue: 2", ""),
    ({"published": True, "stopped": {RELAY: "off"}}, "its queue is empty: the message is lost", ""),
]


@pytest.fixture
def orders(stack: OpsStack) -> StuckOrders:
    """Order 7 is PENDING, and its OrderCreated is in the outbox."""
    put_order(stack, 7)
    stack.put_item(
        "OrdersOutbox",
        aggregateId="7",
        eventId="e",
        eventType="OrderCreated",
        source="customers-and-orders.orders",
        correlationId="c",
    )
    return StuckOrders(stack.target)


def put_order(stack: OpsStack, order_id: int) -> None:
    stack.put_item("Orders", orderId=order_id, customerId=1, state="PENDING", createdAt="2025")


def test_the_first_cause_that_applies_is_the_reason(
    orders: StuckOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"event_id": "e", "correlation_id": "c"}
    logged: dict[str, tuple[str, Any]] = {
        "refused": ("orders-outbox-relay", {"level": "WARNING", "reason": "AccessDenied"}),
        "published": ("orders-outbox-relay", {"events": [event]}),
        "failed": ("customers-subscriber", {"level": "ERROR", "exception": "...\ndenied", **event}),
        "handled": ("customers-subscriber", {"events": [event]}),
    }
    (order,) = orders.older_than(timedelta())
    for case, expected, obstacle in CAUSES:
        lines = [LogLine(line[0], EPOCH, line[1]) for name, line in logged.items() if name in case]
        stopped: dict[str, str] = case.get("stopped", {})

        def read(_: object, text: str, *rest: Any, found: Any = lines) -> list[LogLine]:
            return [i for i in found if i.function in rest[1] and text in str(i.entry)]

        monkeypatch.setattr(FunctionLogs, "lines", read)
        monkeypatch.setattr(StuckOrders, "_why_stopped", lambda *_, why=stopped: why.get(_[1], ""))
        monkeypatch.setattr(StuckOrders, "_depth", MagicMock(return_value=case.get("waiting", 0)))
        monkeypatch.setattr(StuckOrders, "_letters", case.get("letters", {}))

        diagnosis = orders.diagnose(order)

        assert expected in diagnosis.reason, case
        assert "OrderCreated" in diagnosis.reason
        assert diagnosis.blocked == obstacle, case


def test_orders_over_the_limit_are_counted_and_not_resumed_silently(
    stack: OpsStack, orders: StuckOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (8, 9):
        put_order(stack, number)
    monkeypatch.setattr(StuckOrders, "_why_stopped", lambda *_: "")
    monkeypatch.setattr(StuckOrders, "resume", lambda *_: (True, "resumed"))

    code, output = stack.run("resume", "--older-than", "0", "--limit", "2")

    assert "3 orders are PENDING for too long. These are the 2 oldest." in output
    assert output.count("resumed") == 2
    assert code == 1


def test_a_decided_order_is_not_resumed(stack: OpsStack) -> None:
    for state in ("APPROVED", "REJECTED", "CANCELLED"):
        stack.put_item("Orders", orderId=8, customerId=1, state=state, createdAt="2025")

        code, output = stack.run("resume", "--order", "8")

        assert (code, f"is {state}: nothing to do" in output) == (0, True)


def test_an_unknown_saga_or_stack_is_an_error(stack: OpsStack, orders: StuckOrders) -> None:
    missing = OpsStack(Target("embedded", boto3.Session(), stack_name="nothing"))
    for on, arguments, text in (
        (stack, ("trace", "--order", "8"), "There is no order 8"),
        (stack, ("resume", "--order", "8"), "There is no order 8"),
        (stack, ("trace", "--correlation", 'unknown"s'), "No log line and no event"),
        (stack, ("trace",), "Name one thing to trace"),
        (stack, ("trace", "--order", "7", "--correlation", "x"), "Name one thing to trace"),
        (missing, ("dlq",), "There is no stack nothing"),
    ):
        code, output = on.run(*arguments)
        assert (code, text in output) == (1, True), output
        assert len(output.splitlines()) == 1


def test_a_trace_has_the_steps_in_the_order_of_time_with_failures_and_redeliveries(
    stack: OpsStack, orders: StuckOrders
) -> None:
    written = r"Orders +OrderCreated written, version"
    assert re.search(written, stack.run("trace", "--correlation", "c")[1]), "found by the tables"
    event = {"event_id": "e", "event_type": "OrderCreated", "order_id": 7, "correlation_id": "c"}
    other = {"event_id": "of another saga", "event_type": "OrderApproved", "correlation_id": "x"}
    handled = {"message": "batch handled", "events": [event]}
    failed = {"message": "event handler failed", "level": "ERROR", **event}
    failed["exception"] = "Traceback\n  ...\nPutError: not authorized"
    for second, group, line in (
        (4, "CustomersSubscriberLogGroup", handled),
        (3, "CustomersSubscriberLogGroup", handled),
        (2, "CustomersSubscriberLogGroup", failed),
        (1, "OrdersOutboxRelayLogGroup", {"message": "events published", "events": [event, other]}),
    ):
        stack.log(group, {"timestamp": f"2026-11-24T13:00:0{second}.000Z", **line})

    _, traced = stack.run("trace", "--correlation", "c")

    steps = (
        written,
        r"orders-outbox-relay +OrderCreated: events published",
        r"customers-subscriber +OrderCreated: event handler failed \(PutError: not authorized\)",
        r"customers-subscriber +OrderCreated: batch handled",
        r"\+1000 +customers-subscriber +OrderCreated: batch handled, again",
        "in 5 steps; not in the view yet",
    )
    assert re.search(".*".join(steps), traced, re.DOTALL), traced
