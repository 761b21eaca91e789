"""trace, stuck and logs with hostile and malformed content in tables and log groups."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from infra.local import logs
from infra.ops.events import StoredEvent
from infra.ops.stuck import StuckOrders
from tests.unit.infra.ops_stack import HOSTILE, OpsStack

LINES: list[object] = [
    {"message": HOSTILE, "exception": HOSTILE, "level": "ERROR", "milliseconds": "12"},
    {"message": ["x"], "events": [1, None, {"event_id": {"a": 1}}, {"event_id": HOSTILE}]},
    {"message": "batch handled", "event_id": "e1", "event_type": HOSTILE, "level": ["INFO"]},
    {"message": "request handled", "route": [HOSTILE], "status": None, "milliseconds": 1e300},
    {"message": "m" * 200_000, "timestamp": {"a": 1}, "function_name": HOSTILE},
]


@pytest.fixture
def stack(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpsStack]:
    monkeypatch.setattr("infra.ops.dead_letters.LONG_POLL_SECONDS", 0)
    with mock_aws():
        stack = OpsStack.deploy("shop", capsys)
        put_order(stack)
        group = stack.target.resource("OrdersSubscriberLogGroup")
        client = stack.target.client("logs")
        client.create_log_stream(logGroupName=group, logStreamName="s")
        lines = [{**line, "correlation_id": HOSTILE} for line in LINES if isinstance(line, dict)]
        now = int(time.time() * 1000)
        client.put_log_events(
            logGroupName=group,
            logStreamName="s",
            logEvents=[{"timestamp": now, "message": json.dumps(line)} for line in lines],
        )
        yield stack


def put_order(stack: OpsStack) -> None:
    """Order 7 is PENDING. Its outbox has hostile and malformed events."""
    client = stack.target.client("dynamodb")
    order = {"orderId": {"N": "7"}, "customerId": {"N": "1"}, "state": {"S": "PENDING"}}
    created = {"createdAt": {"S": "2026-01-01T00:00:00.000Z"}}
    client.put_item(TableName=stack.target.resource("Orders"), Item=order | created)
    detail = {"metadata": {"causationId": [1]}, "data": {"orderId": "7", "customerId": 1}}
    hostile: list[dict[str, Any]] = [
        {
            "eventId": {"S": "e1"},
            "eventType": {"S": "OrderCreated"},
            "correlationId": {"S": HOSTILE},
            "source": {"S": "customers-and-orders.orders"},
            "occurredAt": {"S": "2026-01-01T00:00:00.000Z"},
            "detail": {"S": json.dumps(detail)},
        },
        {"eventId": {"S": "e2"}, "eventType": {"S": HOSTILE * 1000}, "source": {"S": HOSTILE}},
        {"eventId": {"S": "e3"}, "detail": {"N": "1"}, "occurredAt": {"S": "yesterday"}},
        {"eventId": {"S": "e4"}, "detail": {"S": "[]"}, "eventType": {"L": []}},
    ]
    for item in hostile:
        outbox = stack.target.resource("OrdersOutbox")
        client.put_item(TableName=outbox, Item={"aggregateId": {"S": "7"}, **item})


def assert_harmless(output: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in output)


def test_traces_of_hostile_events_and_lines_are_harmless(stack: OpsStack) -> None:
    for arguments in (("--order", "7"), ("--correlation", HOSTILE)):
        code, output = stack.run("trace", *arguments)
        assert code == 0, output
        assert "OrderCreated written" in output
        assert max(map(len, output.splitlines())) < 2000
        assert_harmless(output)


def test_an_unknown_saga_is_an_error(stack: OpsStack) -> None:
    for arguments, text in (
        (("--order", "8"), "There is no order 8"),
        (("--correlation", 'nobody"s'), "No log line and no event"),
        ((), "Name one thing to trace"),
        (("--order", "7", "--correlation", "x"), "Name one thing to trace"),
    ):
        code, output = stack.run("trace", *arguments)
        assert (code, text in output) == (1, True), output


def test_reasons_with_hostile_content_are_harmless(
    stack: OpsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"detail": {"metadata": {"eventId": "e1"}}, "detail-type": "OrderCreated"}
    stack.put("OrdersSubscriberDeadLetterQueue", body, reason="[/b]\u202e")
    monkeypatch.setattr(StuckOrders, "_why_stopped", lambda *_: HOSTILE)
    monkeypatch.setattr("infra.ops.stuck.queue_depth", lambda *_: 0)
    monkeypatch.setattr(type(stack.target), "queue_url", _any_queue(type(stack.target).queue_url))

    code, output = stack.run("stuck", "--older-than", "0")

    assert (code, "is a dead letter in orders-subscriber: [/b]" in output) == (1, True), output
    assert_harmless(output)


def _any_queue(real: Any) -> Any:
    return lambda target, name: real(target, name) if name in target.resources else ""


def test_orders_over_the_limit_are_counted_and_not_resumed_silently(
    stack: OpsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stack.target.client("dynamodb")
    for number in (8, 9):
        item = {
            "orderId": {"N": str(number)},
            "state": {"S": "PENDING"},
            "createdAt": {"S": "2025"},
        }
        client.put_item(TableName=stack.target.resource("Orders"), Item=item)
    monkeypatch.setattr(StuckOrders, "resume", lambda *_: (True, "resumed"))

    code, output = stack.run("resume", "--older-than", "0", "--limit", "2")

    assert "3 orders are PENDING for too long. These are the 2 oldest." in output
    assert output.count("resumed") == 2
    assert code == 1


def test_printed_log_lines_are_harmless() -> None:
    messages = [HOSTILE, *(json.dumps(line) for line in LINES), json.dumps({"message": HOSTILE})]

    for message in messages:
        printed = logs._line("orders-api", {"message": message, "timestamp": 0})
        assert printed is not None
        assert_harmless(printed)


attribute_values = st.recursive(
    st.none() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["S", "N", "M"]), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["eventId", "eventType", "source", "occurredAt", "detail", "aggregateVersion"]
        ),
        attribute_values,
    )
)
def test_an_outbox_item_of_any_shape_can_be_read(item: dict[str, Any]) -> None:
    event = StoredEvent.of(item)

    assert isinstance(event.id + event.type + event.service + event.version, str)
