"""No content of messages, tables and logs can harm the terminal or stop a command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import logs
from infra.ops.stuck import StuckOrders
from infra.terminal import clean
from tests.unit.infra.conftest import OpsStack

HOSTILE = "\x1b]0;owned\x07\x1b[2J[/b][red]\u202e\u2028\r\n\x9b31m"
"""A title, a cleared screen, markup, reversed text, line breaks, and a control sequence of one byte."""
EVENT: dict[str, Any] = {
    "source": "customers-and-orders.orders",
    "detail-type": HOSTILE,
    "detail": {
        "metadata": {"eventId": "e1", "correlationId": HOSTILE, "aggregateId": "7"},
        "data": {"orderId": 7, "name": HOSTILE},
    },
}
LETTERS: list[object] = [
    EVENT,
    {**EVENT, "detail": [1, 2]},
    {**EVENT, "detail": {"metadata": 5, "data": {"orderId": 10**30}}},
    {"detail-type": "x" * 200_000, "detail": {"metadata": {"eventId": "y" * 200_000}}},
    {"dynamodb": {"Keys": [1], "NewImage": {"detail": {"S": "[" * 10_000}}}},
    '"\\ud800"',
    "[" * 100_000,
    "not JSON \u202e",
]
LINES: list[dict[str, Any]] = [
    {"message": HOSTILE, "exception": HOSTILE, "level": "ERROR", "milliseconds": "12"},
    {"message": ["x"], "events": [1, None, {"event_id": {"a": 1}}, {"event_id": HOSTILE}]},
    {"message": "batch handled", "event_id": "e1", "event_type": HOSTILE, "level": ["INFO"]},
    {"message": "request handled", "route": [HOSTILE], "status": None, "milliseconds": 1e300},
    {"message": "m" * 200_000, "timestamp": {"a": 1}, "function_name": HOSTILE},
]
ITEMS: list[dict[str, Any]] = [
    {
        "eventId": "e1",
        "eventType": "OrderCreated",
        "correlationId": HOSTILE,
        "source": HOSTILE,
        "occurredAt": "2026-01-01T00:00:00.000Z",
        "detail": json.dumps({"data": {"orderId": "7", "customerId": 1}}),
    },
    {"eventId": "e2", "eventType": HOSTILE * 1000, "source": HOSTILE},
    {"eventId": "e3", "detail": 1, "occurredAt": "yesterday"},
    {"eventId": "e4", "detail": "[]", "eventType": {"L": []}},
]


def assert_harmless(output: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in output)


def test_hostile_content_harms_no_command(stack: OpsStack, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [stack.put("OrdersSubscriberDeadLetterQueue", i, reason="x[/b]\u202e") for i in LETTERS]
    stack.put_item("Orders", orderId=7, customerId=1, state="PENDING", createdAt="2026")
    for item in ITEMS:
        stack.put_item("OrdersOutbox", aggregateId="7", **item)
    for line in LINES:
        stack.log("CustomersSubscriberLogGroup", {**line, "correlation_id": HOSTILE})
    why_stopped = {"OrdersOutboxRelayFunction": HOSTILE, "CustomersSubscriberFunction": HOSTILE}
    monkeypatch.setattr(StuckOrders, "_why_stopped", lambda _, name: why_stopped[name])
    queue = ("--queue", "orders-subscriber")
    for arguments, code, text in (
        (("dlq",), 0, "x[/b]"),
        (("dlq", *queue), 0, ids[-1]),
        (("trace", "--order", "7"), 0, "OrderCreated written"),
        (("trace", "--correlation", HOSTILE), 0, "OrderCreated written"),
        (("stuck", "--older-than", "0"), 1, "is a dead letter in orders-subscriber: x[/b]"),
        (("redrive", *queue, "--dry-run"), 0, f"{len(ids)} would be sent back"),
        *((("dlq", "--show", message_id), 0, message_id) for message_id in ids),
        (("redrive", *queue), 0, f"{len(ids)} sent back, 0 stayed, 0 left"),
        (("stuck", "--older-than", "0"), 1, "orders-outbox-relay is stopped: \\x1b"),
    ):
        found, output = stack.run(*arguments)
        assert (found, text in output) == (code, True), (arguments, output[:2000])
        assert_harmless(output)
        assert "--show" in arguments or max(map(len, output.splitlines())) < 2000
    assert len(stack.bodies("OrdersSubscriberQueue")) == len(ids)


def test_printed_log_lines_are_harmless() -> None:
    for message in (HOSTILE, *map(json.dumps, LINES), json.dumps({"message": HOSTILE})):
        printed = logs._line("orders-api", {"message": message, "timestamp": 0})
        assert printed is not None
        assert_harmless(printed)


@given(st.text(), st.integers(0, 50))
def test_cleaned_text_is_printable_and_not_longer_than_asked(text: str, limit: int) -> None:
    cleaned = clean(text, limit)

    assert cleaned.isprintable()
    assert text.isprintable() is (clean(text) == text)
    assert len(text) <= limit or cleaned.endswith(f"... ({len(text):,} characters)")
