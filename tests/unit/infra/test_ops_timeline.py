"""Timelines from events and log lines, in the form of both the relay's and the subscribers' batches."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.ops.domain import CUSTOMERS, ORDERS
from infra.ops.events import StoredEvent
from infra.ops.logs import LogLine
from infra.ops.timeline import Timeline, timeline

STARTED = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
VIEW, SUBSCRIBER = "order-history-projection", "customers-subscriber"
KINDS = [("OrderCreated", ORDERS), ("CustomerCreditReserved", CUSTOMERS), ("OrderApproved", ORDERS)]


def at(milliseconds: float) -> datetime:
    return STARTED + timedelta(milliseconds=milliseconds)


def saga(*milliseconds: float, name: str = "event") -> list[StoredEvent]:
    """Return the events of an order that is created, reserved and approved at these times, or the first of them."""
    events = []
    for number, ((kind, source), instant) in enumerate(zip(KINDS, milliseconds, strict=False)):
        texts = {
            "eventId": f"{name}-{number}",
            "eventType": kind,
            "source": source,
            "occurredAt": at(instant).isoformat(),
            "detail": json.dumps({"data": {"orderId": 7, "customerId": 1}}),
        }
        item: dict[str, Any] = {name: {"S": text} for name, text in texts.items()}
        events.append(StoredEvent.of(item | {"aggregateVersion": {"N": "1"}}))
    return events


def line(function: str, instant: float, *events: StoredEvent, **keys: Any) -> LogLine:
    named = [{"event_type": e.type, "event_id": e.id} for e in events]
    entry = {"level": "INFO", "message": "batch handled", "events": named, **keys}
    return LogLine(function, at(instant), entry)


def failure(function: str, milliseconds: float, failed: StoredEvent) -> LogLine:
    named = {"event_type": failed.type, "event_id": failed.id}
    error = {"level": "ERROR", "exception": "Traceback\n  ...\nPutError: not authorized"}
    return line(function, milliseconds, **named, **error, message="event handler failed")


def steps(found: Timeline) -> list[tuple[str, str]]:
    return [(moment.where, moment.what) for moment in found.moments]


def test_the_steps_of_a_saga_are_in_the_order_of_time() -> None:
    created, reserved, approved = saga(10, 30, 50)
    (other,) = saga(11, name="of another saga in the same batch")
    request = {"method": "POST", "route": "/orders", "status": 200, "milliseconds": 12}
    lines = [
        line("orders-api", 12, message="request handled", **request),
        line("orders-outbox-relay", 20, created, other, message="events published"),
        line(SUBSCRIBER, 34, created),
        line(VIEW, 70, created, reserved, approved),
    ]

    found = timeline("c", [created, reserved, approved], lines)

    assert steps(found) == [
        ("orders-api", "POST /orders received"),
        ("Orders", "OrderCreated written, version 1"),
        ("orders-api", "request handled: 200"),
        ("orders-outbox-relay", "OrderCreated: events published"),
        ("Customers", "CustomerCreditReserved written, version 1"),
        (SUBSCRIBER, "OrderCreated: batch handled"),
        ("Orders", "OrderApproved written, version 1"),
        (VIEW, "CustomerCreditReserved: batch handled"),
        (VIEW, "OrderApproved: batch handled"),
        (VIEW, "OrderCreated: batch handled"),
    ]
    assert sum(found.hops, timedelta()) == timedelta(milliseconds=70)
    assert found.is_complete


def test_a_saga_is_complete_when_its_last_event_is_in_the_view() -> None:
    events = saga(10, 30, 50)

    assert not timeline("c", events, [line(VIEW, 60, *events[:2])]).is_complete
    assert not timeline("c", events, [failure(VIEW, 60, events[2])]).is_complete
    assert not timeline("c", events, [line("orders-subscriber", 60, *events)]).is_complete
    assert not timeline("c", [], [line(VIEW, 60, *events)]).is_complete
    assert timeline("c", events, [line(VIEW, 60, events[2])]).is_complete


def test_repeated_deliveries_are_marked_and_failures_are_not_counted() -> None:
    (created,) = saga(10)
    lines = [failure(SUBSCRIBER, 20, created), *(line(SUBSCRIBER, n, created) for n in (30, 40))]

    found = timeline("c", [created], lines)

    assert steps(found)[1:] == [
        (SUBSCRIBER, "OrderCreated: event handler failed (PutError: not authorized)"),
        (SUBSCRIBER, "OrderCreated: batch handled"),
        (SUBSCRIBER, "OrderCreated: batch handled, again"),
    ]
