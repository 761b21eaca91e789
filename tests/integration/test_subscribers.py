"""The three subscribers' handlers on moto and a MongoDB server, called with the files in events/."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from customers.events import (
    CustomerCreditReleased,
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from customers.repository import CustomerRepository
from functions.customers import subscriber as customers_subscriber
from functions.orders import subscriber as orders_subscriber
from messaging.dead_letters import DeadLetterQueue
from orders.events import OrderEvent, OrderState, RejectionReason
from orders.repository import OrderRepository
from shared.clock import format_instant, now
from shared.money import Money
from tests.integration.conftest import AwsCalls, DeadLetters, LambdaContext, LogLines
from tests.integration.tables import insert_customer, insert_order, published, snapshot
from tests.samples import JANE, load, messages, to_batch
from tests.template import subscribers

CUSTOMERS_BATCH, ORDERS_BATCH = "customers_subscriber_batch", "orders_subscriber_batch"
ANSWERS = (
    *(CustomerCreditReserved, CustomerCreditReservationFailed),
    *(CustomerValidationFailed, CustomerCreditReleased),
)


def handle(handler: Any, batch: dict[str, Any]) -> list[str]:
    """Handle the batch. Return the ids of the failed messages."""
    response = handler.lambda_handler(batch, LambdaContext())
    assert response.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def test_order_holds_its_credit_unless_customers_releases_it() -> None:
    events = {event.__name__: event for event in OrderEvent.__subclasses__()}
    for state in set(OrderState) - {OrderState.PENDING, OrderState.REJECTED}:
        released = events[f"Order{state.title()}"] in customers_subscriber.participant.event_classes
        assert state.holds_credit == (not released), (
            f"layers/common/orders/events.py, holds_credit: Customers handles the event of {state}, or does not"
        )


@pytest.fixture
def jane(customers: CustomerRepository) -> None:
    insert_customer(customers)


@pytest.fixture
def pending_orders(orders: OrderRepository) -> list[int]:
    """The orders of events/orders_subscriber_batch.json exist and are PENDING."""
    ids = [m["detail"]["data"]["orderId"] for m in messages(load(ORDERS_BATCH))]
    for order_id in ids:
        insert_order(orders, order_id)
    return ids


def states(orders: OrderRepository, ids: list[int]) -> list[tuple[Any, Any]]:
    found = [orders.find(order_id) for order_id in ids]
    return [(order.state, order.rejection_reason) for order in found if order is not None]


@pytest.mark.usefixtures("jane")
def test_orders_reserve_credit_or_are_refused_and_a_cancellation_releases_it(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    batch = load(CUSTOMERS_BATCH)
    metadata = [message["detail"]["metadata"] for message in messages(batch)]

    assert handle(customers_subscriber, batch) == []

    answers = {e.metadata.causation_id: e for e in published(dynamodb, "CustomersOutbox")}
    for asked, expected in zip(metadata, ANSWERS, strict=True):
        answer = answers[asked["eventId"]]
        assert type(answer.event) is expected
        assert answer.metadata.correlation_id == asked["correlationId"]
    found = customers.find(JANE)
    assert found is not None
    assert (found.available_credit, found.version) == (Money(500), 3)


def test_reserved_credit_approves_an_order_and_refused_credit_rejects_it(
    orders: OrderRepository,
    pending_orders: list[int],
    dynamodb: DynamoDBClient,
    aws_calls: AwsCalls,
) -> None:
    assert handle(orders_subscriber, load(ORDERS_BATCH)) == []

    assert aws_calls.operations == ["BatchGetItem", "TransactWriteItems"]
    assert aws_calls.requests("BatchGetItem")[0]["RequestItems"]["Orders"]["ConsistentRead"] is True
    assert states(orders, pending_orders) == [
        (OrderState.APPROVED, None),
        (OrderState.REJECTED, RejectionReason.INSUFFICIENT_CREDIT),
        (OrderState.REJECTED, RejectionReason.UNKNOWN_CUSTOMER),
        (OrderState.REJECTED, RejectionReason.CUSTOMER_ERASED),
    ]
    versions = [e.metadata.aggregate_version for e in published(dynamodb, "OrdersOutbox")]
    assert versions == [1, 2] * 4
    before = snapshot(dynamodb)
    assert handle(orders_subscriber, load(ORDERS_BATCH)) == []
    assert snapshot(dynamodb) == before, "redelivered"


def changed(change: Callable[[dict[str, Any]], None]) -> str:
    """Return the first message of the sample, changed."""
    message = next(messages(load(CUSTOMERS_BATCH)))
    change(message)
    return json.dumps(message)


def with_metadata(name: str, value: object) -> str:
    return changed(lambda m: m["detail"]["metadata"].update({name: value}))


# tests/unit/messaging/test_domain_event.py has every wrong value of a field.
UNREADABLE = [
    *("hello", " ", "[]", "{}", "[" * 100_000, '{"detail": ' + "9" * 5000 + "}"),
    *(changed(lambda m, v=v: m.update(source=v)) for v in (["x"], "another", None)),  # type: ignore[misc]
    changed(lambda m: m.update({"detail-type": "OrderApproved"})),
    changed(lambda m: m.pop("detail")),
    changed(lambda m: m["detail"].pop("metadata")),
    changed(lambda m: m["detail"]["data"].update(state="\0\ud800")),
    *(with_metadata("schemaVersion", version) for version in (0, "2", True)),
]


def test_unreadable_messages_are_sent_to_the_dead_letter_queue_at_once(
    dynamodb: DynamoDBClient, jane: None, dead_letters: DeadLetters, log_lines: LogLines
) -> None:
    before = snapshot(dynamodb)

    assert handle(customers_subscriber, to_batch(*UNREADABLE)) == []

    letters = dead_letters()
    assert sorted(letter["Body"] for letter in letters) == sorted(UNREADABLE)
    assert all(letter["MessageAttributes"]["reason"]["StringValue"] for letter in letters)
    assert snapshot(dynamodb) == before
    *errors, summary = log_lines()
    assert {(e["level"], e["message"]) for e in errors} == {
        ("ERROR", "message sent to the dead-letter queue")
    }
    assert summary["dead_letters"] == sum(summary["DeadLetters"]) == len(UNREADABLE)


def test_newer_schema_version_is_retried_and_no_dead_letter(
    jane: None, dead_letters: DeadLetters, log_lines: LogLines
) -> None:
    (good, *_) = messages(load(CUSTOMERS_BATCH))

    assert handle(customers_subscriber, to_batch(with_metadata("schemaVersion", 2), good)) == [
        "message-1"
    ]

    assert dead_letters() == []
    error, summary = log_lines()
    assert (error["message"], error["retry"]) == ("message not decoded", True)
    assert error["message_id"] == "message-1"
    assert len(summary["events"]) == 1


@pytest.mark.usefixtures("jane", "pending_orders")
def test_event_whose_answer_may_have_expired_is_a_dead_letter(
    dynamodb: DynamoDBClient, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOX_RETENTION_DAYS", "30")
    for service, batch in (("customers", CUSTOMERS_BATCH), ("orders", ORDERS_BATCH)):
        handler = SimpleNamespace(**runpy.run_path(f"functions/{service}/subscriber.py"))
        before = snapshot(dynamodb)
        (message, *_) = messages(load(batch))
        for days in (30, 28):
            occurred_at = format_instant(now() - timedelta(days=days))
            message["detail"]["metadata"]["occurredAt"] = occurred_at
            assert handle(handler, to_batch(message)) == []
            letters = [i["MessageAttributes"]["reason"]["StringValue"] for i in dead_letters()]
            expected = "older than the outbox's 30 days: it may have been handled before"
            assert letters == [expected] * (days == 30)
            assert (snapshot(dynamodb) == before) == (days == 30)


@pytest.mark.usefixtures("jane")
def test_neighbours_of_an_unreadable_message_are_handled(
    dynamodb: DynamoDBClient, dead_letters: DeadLetters, log_lines: LogLines
) -> None:
    batch = load("customers_subscriber_partial_failure")
    unreadable = batch["Records"][1]

    assert handle(customers_subscriber, batch) == []

    (letter,) = dead_letters()
    error, _ = log_lines()
    assert (letter["Body"], error["message_id"]) == (unreadable["body"], unreadable["messageId"])
    assert "orderTotalCents" in error["reason"]
    assert letter["MessageAttributes"]["reason"]["StringValue"] == error["reason"]
    assert len(published(dynamodb, "CustomersOutbox")) == 3


def test_every_subscriber_dead_letters_an_unreadable_message(dead_letters: DeadLetters) -> None:
    handlers = subscribers().values()
    for handler in handlers:
        assert handle(handler, to_batch("unreadable")) == []
    assert len(dead_letters()) == len(handlers)


def test_reason_of_a_dead_letter_is_printable_and_has_at_most_1000_characters(
    dead_letters: DeadLetters,
) -> None:
    queue = DeadLetterQueue.from_environment()
    queue.send("a body", "a\0b\x1f" + "x" * 2000)

    (letter,) = dead_letters()
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "a?b?" + "x" * 996


@pytest.mark.usefixtures("dynamodb")
def test_message_that_the_dead_letter_queue_does_not_take_is_redelivered(
    log_lines: LogLines,
) -> None:
    # The dead-letter queue does not exist.
    assert handle(customers_subscriber, to_batch("unreadable")) == ["message-1"]

    error, _ = log_lines()
    assert (error["level"], error["message_id"]) == ("ERROR", "message-1")
    assert "not JSON" in error["reason"]


@pytest.mark.usefixtures("jane")
def test_batch_is_one_log_line_with_the_ids_of_its_events(log_lines: LogLines) -> None:
    batch = load(CUSTOMERS_BATCH)
    details = [message["detail"] for message in messages(batch)]

    handle(customers_subscriber, batch)
    handle(customers_subscriber, batch)

    first, second = log_lines()
    for line, is_changed in ((first, True), (second, False)):
        assert (line["message"], line["level"]) == ("batch handled", "INFO")
        assert [(e["event_id"], e["correlation_id"]) for e in line["events"]] == [
            (d["metadata"]["eventId"], d["metadata"]["correlationId"]) for d in details
        ]
        assert [e["order_id"] for e in line["events"]] == [d["data"]["orderId"] for d in details]
        assert {event.get("changed", True) for event in line["events"]} == {is_changed}
    assert (first.get("duplicates"), second["duplicates"]) == (None, 4)
