"""The three subscribers' handlers on moto and a MongoDB server, called with the files in events/."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from customers.customer import Customer
from customers.events import (
    CustomerCreditReleased,
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from customers.repository import CustomerRepository
from functions.customers import subscriber as customers_subscriber
from functions.order_history import projection
from functions.orders import subscriber as orders_subscriber
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from order_history.connection import ViewConnection
from order_history.view import OrderHistoryView
from orders import service as orders_service
from orders.events import OrderState, RejectionReason
from orders.order import Order
from orders.repository import OrderRepository
from shared.money import Money
from tests.integration.conftest import AwsCalls, DeadLetters, LambdaContext, LogLines
from tests.integration.tables import TABLES, published, snapshot
from tests.samples import load, messages, to_batch
from tests.template import resources, target

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

JANE = int(load("customers_api_get")["pathParameters"]["customerId"])
REQUEST = Cause("a request")
CUSTOMERS_BATCH, ORDERS_BATCH = "customers_subscriber_batch", "orders_subscriber_batch"
SUBSCRIBERS = {
    "CustomersSubscriber": customers_subscriber,
    "OrdersSubscriber": orders_subscriber,
    "OrderHistoryProjection": projection,
}


def handle(handler: Any, batch: dict[str, Any]) -> list[str]:
    """Handle the batch. Return the ids of the failed messages."""
    response = handler.lambda_handler(batch, LambdaContext())
    assert response.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


@pytest.fixture
def jane(customers: CustomerRepository) -> None:
    """Jane Doe exists, by the id that she has in events/, with a credit limit of 5.00."""
    customer, created = Customer.create(JANE, "Jane Doe", Money(500))
    customers.insert(customer, DomainEventEnvelope.wrap(created, 1, REQUEST))


@pytest.fixture
def three_orders(orders: OrderRepository) -> list[int]:
    """The three orders of events/orders_subscriber_batch.json exist and are PENDING."""
    ids = [m["detail"]["data"]["orderId"] for m in messages(load(ORDERS_BATCH))]
    for order_id in ids:
        insert_order(orders, order_id)
    return ids


def insert_order(orders: OrderRepository, order_id: int) -> None:
    order, created = Order.create(order_id, JANE, Money(400))
    orders.insert(order, DomainEventEnvelope.wrap(created, 1, REQUEST))


def states(orders: OrderRepository, ids: list[int]) -> list[tuple[Any, Any]]:
    found = [orders_service.find_order(orders, order_id) for order_id in ids]
    return [(order.state, order.rejection_reason) for order in found]


# Saga steps


@pytest.mark.usefixtures("jane")
def test_orders_reserve_credit_or_are_refused_and_a_cancellation_releases_it(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    batch = load(CUSTOMERS_BATCH)
    metadata = [message["detail"]["metadata"] for message in messages(batch)]

    assert handle(customers_subscriber, batch) == []

    answers = {
        e.metadata.causation_id: (type(e.event), e.metadata.correlation_id)
        for e in published(dynamodb, "CustomersOutbox")
        if e.metadata.causation_id
    }
    classes = [
        CustomerCreditReserved,
        CustomerCreditReservationFailed,
        CustomerValidationFailed,
        CustomerCreditReleased,
    ]
    assert answers == {
        m["eventId"]: (cls, m["correlationId"]) for m, cls in zip(metadata, classes, strict=True)
    }
    found = customers.find(JANE)
    assert found is not None
    assert (found.available_credit, found.version) == (Money(500), 3)


def test_reserved_credit_approves_an_order_and_refused_credit_rejects_it(
    orders: OrderRepository, three_orders: list[int], dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    assert handle(orders_subscriber, load(ORDERS_BATCH)) == []

    assert aws_calls.operations == ["BatchGetItem", "TransactWriteItems"]
    assert aws_calls.requests("BatchGetItem")[0]["RequestItems"]["Orders"]["ConsistentRead"] is True
    assert states(orders, three_orders) == [
        (OrderState.APPROVED, None),
        (OrderState.REJECTED, RejectionReason.INSUFFICIENT_CREDIT),
        (OrderState.REJECTED, RejectionReason.UNKNOWN_CUSTOMER),
    ]
    versions = [e.metadata.aggregate_version for e in published(dynamodb, "OrdersOutbox")]
    assert versions == [1, 2] * 3
    before = snapshot(dynamodb)
    assert handle(orders_subscriber, load(ORDERS_BATCH)) == []
    assert snapshot(dynamodb) == before, "redelivered"


def test_decided_order_ignores_a_second_decision(
    orders: OrderRepository, three_orders: list[int], dynamodb: DynamoDBClient
) -> None:
    approval, refusal, _ = messages(load(ORDERS_BATCH))
    handle(orders_subscriber, to_batch(approval))
    before = snapshot(dynamodb)
    refusal["detail"]["data"]["orderId"] = approval["detail"]["data"]["orderId"]

    assert handle(orders_subscriber, to_batch(refusal)) == []

    assert snapshot(dynamodb) == before


def test_events_in_any_order_make_the_same_view(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection.subscriber, "_handler", view)
    batch = load("order_history_projection_batch")

    def documents() -> list[Any]:
        found = (view._database[n].find({}, {"events": 0}) for n in ("customers", "orders"))
        return [sorted(cursor, key=lambda d: str(d["_id"])) for cursor in found]

    assert handle(projection, batch) == []
    before = documents()
    assert handle(projection, {"Records": batch["Records"][::-1]}) == []

    assert documents() == before
    customers, orders = before
    assert (customers[-1]["name"], customers[-1]["availableCreditCents"]) == ("Jane Doe", 500)
    assert {order["state"] for order in orders} == {"CANCELLED", "REJECTED"}


# Rules and registries


def test_each_rule_lets_exactly_the_events_pass_that_its_subscriber_handles() -> None:
    rules = {
        target(rule["Targets"][0]["Arn"]).removesuffix("Queue"): rule["EventPattern"]
        for rule in resources("AWS::Events::Rule").values()
    }
    assert rules.keys() == SUBSCRIBERS.keys(), "add a new subscriber to SUBSCRIBERS"
    for name, handler in SUBSCRIBERS.items():
        handled = handler.subscriber._handler.event_classes
        assert sorted(rules[name]["detail-type"]) == sorted(c.__name__ for c in handled), name
        assert set(rules[name]["source"]) == {c.source for c in handled}, name


# Unreadable messages


def changed(change: Callable[[dict[str, Any]], None]) -> str:
    """Return the first message of the sample, changed."""
    message = next(messages(load(CUSTOMERS_BATCH)))
    change(message)
    return json.dumps(message)


def with_key(name: str, value: object) -> str:
    return changed(lambda m: m.update({name: value}))


def with_data(name: str, value: object) -> str:
    return changed(lambda m: m["detail"]["data"].update({name: value}))


def with_metadata(name: str, value: object) -> str:
    return changed(lambda m: m["detail"]["metadata"].update({name: value}))


UNREADABLE = [
    *("hello", " ", "[]", "{}", "[" * 100_000, '{"detail": ' + "9" * 5000 + "}"),
    *(with_key("source", value) for value in (["x"], "another", None)),
    *(with_key("detail-type", value) for value in (["x"], "OrderApproved")),
    changed(lambda m: m.pop("detail")),
    with_key("detail", "text"),
    changed(lambda m: m["detail"].pop("metadata")),
    *(with_metadata("schemaVersion", version) for version in (0, -1, "2", 2.0, True, None)),
    *(with_data("orderTotalCents", total) for total in (-1_000_000, 0, 10**13 + 1, True, 1.5)),
    *(with_data("orderId", order_id) for order_id in (0, -7, 2**63, 10**30, True, "7")),
    with_data("createdAt", "0001-01-01T00:00:00.000+23:59"),
    with_data("createdAt", "9999-12-31T23:59:59.999-23:59"),
    with_data("state", "\0\ud800"),
    with_metadata("correlationId", "\ud800"),
    with_metadata("correlationId", ""),
    with_metadata("correlationId", "x" * 1001),
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
    assert summary["dead_letters"] == sum(summary["PoisonMessages"]) == len(UNREADABLE)


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
    assert len(summary["events"]) == 1


@pytest.mark.usefixtures("jane")
def test_neighbours_of_an_unreadable_message_are_handled(
    dynamodb: DynamoDBClient, dead_letters: DeadLetters, log_lines: LogLines
) -> None:
    batch = load("customers_subscriber_partial_failure")

    assert handle(customers_subscriber, batch) == []

    (letter,) = dead_letters()
    assert letter["Body"] == batch["Records"][1]["body"]
    assert "orderTotalCents" in letter["MessageAttributes"]["reason"]["StringValue"]
    assert len(published(dynamodb, "CustomersOutbox")) == 3
    error, _ = log_lines()
    assert error["message_id"] == batch["Records"][1]["messageId"]
    assert "orderTotalCents" in error["reason"]


def test_every_subscriber_dead_letters_an_unreadable_message(dead_letters: DeadLetters) -> None:
    for handler in SUBSCRIBERS.values():
        assert handle(handler, to_batch("unreadable")) == []
    assert len(dead_letters()) == len(SUBSCRIBERS)


@pytest.mark.usefixtures("dynamodb")
def test_message_that_the_dead_letter_queue_does_not_take_is_redelivered() -> None:
    # The dead-letter queue does not exist.
    assert handle(customers_subscriber, to_batch("unreadable")) == ["message-1"]


# Failures


@pytest.mark.usefixtures("jane")
def test_every_message_is_redelivered_while_a_database_is_missing(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    nowhere = ViewConnection("mongodb://127.0.0.1:1/nowhere")
    nowhere.database.client.close()
    monkeypatch.setattr(projection.subscriber, "_handler", OrderHistoryView(nowhere))
    for table in TABLES:
        dynamodb.delete_table(TableName=table)

    samples = (CUSTOMERS_BATCH, ORDERS_BATCH, "order_history_projection_batch")
    for handler, sample in zip(SUBSCRIBERS.values(), samples, strict=True):
        batch = load(sample)
        assert sorted(handle(handler, batch)) == sorted(r["messageId"] for r in batch["Records"])
    errors = [line for line in log_lines() if line["level"] == "ERROR"]
    assert {e["message"] for e in errors} == {"event handler failed"}
    assert "ResourceNotFoundException" in errors[0]["exception"]


def test_only_the_failing_message_is_redelivered_and_then_handled(
    orders: OrderRepository, three_orders: list[int], dynamodb: DynamoDBClient
) -> None:
    missing = three_orders[1]
    dynamodb.delete_item(TableName="Orders", Key={"orderId": {"N": str(missing)}})
    batch = load(ORDERS_BATCH)

    assert handle(orders_subscriber, batch) == [batch["Records"][1]["messageId"]]

    others = [state for state, _ in states(orders, [three_orders[0], three_orders[2]])]
    assert others == [OrderState.APPROVED, OrderState.REJECTED]
    insert_order(orders, missing)
    assert handle(orders_subscriber, {"Records": batch["Records"][1:2]}) == []
    assert states(orders, [missing])[0][0] is OrderState.REJECTED


# Logs


@pytest.mark.usefixtures("jane")
def test_batch_is_one_log_line_with_the_ids_of_its_events(log_lines: LogLines) -> None:
    batch = load(CUSTOMERS_BATCH)
    details = [message["detail"] for message in messages(batch)]

    handle(customers_subscriber, batch)
    handle(customers_subscriber, batch)

    first, second = log_lines()
    for line, is_changed in ((first, True), (second, False)):
        assert (line["message"], line["level"]) == ("batch handled", "INFO")
        assert line["function_request_id"] == "invocation"
        assert [
            {k: event[k] for k in ("event_id", "correlation_id", "order_id", "customer_id")}
            for event in line["events"]
        ] == [
            {
                "event_id": d["metadata"]["eventId"],
                "correlation_id": d["metadata"]["correlationId"],
                "order_id": d["data"]["orderId"],
                "customer_id": d["data"]["customerId"],
            }
            for d in details
        ]
        assert {event["changed"] for event in line["events"]} == {is_changed}
    assert first["events"][0]["published"] == "CustomerCreditReserved"
    assert (first["duplicates"], second["duplicates"]) == (0, 4)
