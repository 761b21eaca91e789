"""Timelines from events and log lines, however those lie in time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from customers.events import CustomerCreditReserved
from infra.ops.logs import LogLine
from infra.ops.outboxes import StoredEvent
from infra.ops.timeline import Timeline, timeline
from messaging.domain_event import Cause, DomainEvent
from messaging.envelope import DomainEventEnvelope
from orders.events import OrderApproved, OrderCreated, OrderEvent, OrderState
from shared.money import Money

CORRELATION = "a-request"
STARTED = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)


def at(milliseconds: float) -> datetime:
    return STARTED + timedelta(milliseconds=milliseconds)


def stored(event: DomainEvent, version: int, milliseconds: float, cause: Cause) -> StoredEvent:
    envelope = DomainEventEnvelope.wrap(event, version, cause)
    metadata = replace(envelope.metadata, occurred_at=at(milliseconds))
    data = json.loads(envelope.to_detail())["data"]
    return StoredEvent(envelope.event_type, event.source, metadata, data, {})


def order(event: type[OrderEvent], state: OrderState) -> OrderEvent:
    return event(
        order_id=7,
        customer_id=1,
        order_total=Money(400),
        state=state,
        rejection_reason=None,
        created_at=STARTED,
    )


def saga(*milliseconds: float) -> list[StoredEvent]:
    """An order that is created, has its credit reserved, and is approved at these times; or a part of that."""
    facts: list[DomainEvent] = [
        order(OrderCreated, OrderState.PENDING),
        CustomerCreditReserved(customer_id=1, order_id=7, available_credit=Money(100)),
        order(OrderApproved, OrderState.APPROVED),
    ]
    events: list[StoredEvent] = []
    for fact, version, instant in zip(facts, (1, 2, 2), milliseconds, strict=False):
        cause = Cause(CORRELATION, events[-1].id if events else None)
        events.append(stored(fact, version, instant, cause))
    return events


def request_line(milliseconds: float, duration: float) -> LogLine:
    entry = {
        "message": "request answered",
        "method": "POST",
        "route": "/orders",
        "status": 200,
        "milliseconds": duration,
    }
    return LogLine("orders-api", at(milliseconds), entry)


def relay_line(function: str, milliseconds: float, *events: StoredEvent) -> LogLine:
    told = [{"event_type": event.event_type, "event_id": event.id} for event in events]
    return LogLine(function, at(milliseconds), {"message": "events published", "events": told})


def handled_line(
    function: str,
    event: StoredEvent,
    milliseconds: float,
    duration: float = 5,
    message: str = "event handled",
) -> LogLine:
    entry = {
        "message": message,
        "event_type": event.event_type,
        "event_id": event.id,
        "milliseconds": duration,
    }
    return LogLine(function, at(milliseconds), entry)


def lines_of(created: StoredEvent, reserved: StoredEvent, approved: StoredEvent) -> list[LogLine]:
    return [
        request_line(12, duration=12),
        relay_line("orders-outbox-relay", 20, created),
        handled_line("order-history-projection", created, 26),
        handled_line("customers-subscriber", created, 34, duration=10),
        relay_line("customers-outbox-relay", 40, reserved),
        handled_line("orders-subscriber", reserved, 54, duration=10),
        relay_line("orders-outbox-relay", 60, approved),
        handled_line("order-history-projection", approved, 70),
    ]


def path(found: Timeline) -> list[tuple[str, float]]:
    return [
        (moment.what.split(",")[0], moment.hop / timedelta(milliseconds=1))
        for moment in found.moments
        if moment.hop is not None
    ]


def test_the_path_leads_from_the_request_through_every_hop_to_the_view() -> None:
    events = saga(10, 30, 50)

    found = timeline(CORRELATION, events, lines_of(*events))

    assert path(found) == [
        ("POST /orders came in", 0),
        ("OrderCreated written", 10),
        ("OrderCreated published", 10),
        ("OrderCreated taken up", 4),
        ("CustomerCreditReserved written", 6),
        ("CustomerCreditReserved published", 10),
        ("CustomerCreditReserved taken up", 4),
        ("OrderApproved written", 6),
        ("OrderApproved published", 10),
        ("OrderApproved is in the view", 10),
    ]
    assert found.total == timedelta(milliseconds=70)
    assert found.is_complete
    assert [moment.what for moment in found.moments if moment.hop is None] == [
        "request answered: 200 after 12 ms",
        "OrderCreated: event handled",
        "OrderCreated: event handled",
        "CustomerCreditReserved: event handled",
    ]


def test_a_saga_that_goes_no_further_ends_where_it_is() -> None:
    (created,) = saga(10)

    written = timeline(CORRELATION, [created], [request_line(12, duration=12)])
    published = timeline(CORRELATION, [created], [relay_line("orders-outbox-relay", 20, created)])

    assert path(written) == [("POST /orders came in", 0), ("OrderCreated written", 10)]
    assert path(published) == [("OrderCreated written", 0), ("OrderCreated published", 10)]
    assert not written.is_complete
    assert not published.is_complete


def test_a_relay_that_logs_after_the_subscriber_was_done_does_not_turn_time_back() -> None:
    events = saga(10, 30, 50)
    lines = lines_of(*events)
    lines[1] = relay_line("orders-outbox-relay", 45, events[0])

    found = timeline(CORRELATION, events, lines)

    assert dict(path(found))["OrderCreated published"] == 14
    assert dict(path(found))["OrderCreated taken up"] == 0
    assert sum(found.hops, timedelta()) == found.total == timedelta(milliseconds=70)


def test_what_is_delivered_twice_is_said_to_be() -> None:
    events = saga(10, 30, 50)
    again = [
        relay_line("orders-outbox-relay", 80, events[0]),
        handled_line("customers-subscriber", events[0], 90, message="duplicate dropped"),
        handled_line("order-history-projection", events[0], 95),
    ]

    found = timeline(CORRELATION, events, lines_of(*events) + again)

    assert [moment.what for moment in found.moments][-3:] == [
        "OrderCreated published again",
        "OrderCreated: duplicate dropped, delivered again",
        "OrderCreated: event handled, delivered again",
    ]
    assert found.deliveries == {
        ("customers-subscriber", "OrderCreated"): 2,
        ("order-history-projection", "OrderCreated"): 2,
    }
    assert found.total == timedelta(milliseconds=70)


def test_a_failure_is_shown_with_its_cause_once() -> None:
    events = saga(10, 30, 50)
    failed = handled_line(
        "customers-subscriber", events[0], 25, message="event not handled, will come again"
    )
    failed.entry["exception_name"] = "PutError"
    failed.entry["exception"] = "Traceback\n  ...\nPutError: not authorized"

    found = timeline(CORRELATION, events, [failed, *lines_of(*events)])

    what = [moment.what for moment in found.moments]
    assert (
        what.count("OrderCreated: event not handled, will come again (PutError: not authorized)")
        == 1
    )


def test_events_of_other_sagas_in_the_same_batch_of_a_relay_are_not_shown() -> None:
    events, (other,) = saga(10, 30, 50), saga(11)
    lines = lines_of(*events)
    lines[1] = relay_line("orders-outbox-relay", 20, events[0], other)
    late = relay_line("orders-outbox-relay", 80, other)

    found = timeline(CORRELATION, events, [*lines, late])

    assert [moment.what for moment in found.moments].count("OrderCreated published") == 1


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 500)), min_size=8, max_size=8),
)
def test_the_hops_add_up_and_none_is_negative_whatever_the_clocks_say(
    written: Sequence[int], logged: Sequence[tuple[int, int]]
) -> None:
    events = saga(*written)
    made = [*events, *saga(0, 0, 0)][:3]
    lines = [
        replace(line, at=at(instant), entry={**line.entry, "milliseconds": duration})
        for line, (instant, duration) in zip(lines_of(*made), logged, strict=True)
    ]

    found = timeline(CORRELATION, events, sorted(lines, key=lambda line: line.at))

    assert sum(found.hops, timedelta()) == found.total
    assert all(hop >= timedelta() for hop in found.hops)
    assert list(found.moments) == sorted(found.moments, key=lambda moment: moment.at)
