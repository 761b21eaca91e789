"""The three subscribers on moto and a MongoDB server, called with the files in events/."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from customers import service as customers_service
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
from order_history.view import OrderHistoryView
from orders import service as orders_service
from orders.events import OrderState, RejectionReason
from orders.order import Order
from orders.repository import OrderRepository
from shared.money import Money
from tests.integration.conftest import DeadLetters, LambdaContext, LogLines
from tests.integration.mongodb import documents, unreachable_view
from tests.integration.tables import TABLES, published, snapshot
from tests.samples import load, messages, to_batch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

JANE = int(load("customers_api_get")["pathParameters"]["customerId"])
REQUEST = Cause("a request")
CUSTOMERS_BATCH = "customers_subscriber_batch"
NO_FAILURES: dict[str, Any] = {"batchItemFailures": []}


def handle(handler: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """What Lambda tells the queue."""
    answer: dict[str, Any] = handler.lambda_handler(batch, LambdaContext())
    return answer


@pytest.fixture
def jane(customers: CustomerRepository) -> Customer:
    """Jane Doe is there, by the id that she has in events/, with a credit limit of 5.00."""
    customer, created = Customer.create(JANE, "Jane Doe", Money(500))
    customers.add(customer, created, REQUEST, None)
    return customer


@pytest.fixture
def three_orders(orders: OrderRepository) -> list[int]:
    """The three orders of events/orders_subscriber_batch.json are there, and pending."""
    ids = [
        message["detail"]["data"]["orderId"]
        for message in messages(load("orders_subscriber_batch"))
    ]
    for order_id in ids:
        order, created = Order.create(order_id, JANE, Money(400))
        orders.add(order, created, REQUEST, None)
    return ids


@pytest.fixture
def history(view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch) -> OrderHistoryView:
    """The projection's view is in the database of this test."""
    monkeypatch.setattr(projection, "view", view)
    return view


def answers(dynamodb: DynamoDBClient, outbox: str) -> dict[str | None, type]:
    """The type of the event published in answer to each event."""
    return {
        envelope.metadata.causation_id: type(envelope.event)
        for envelope in published(dynamodb, outbox)
        if envelope.metadata.causation_id
    }


def event_ids(batch: dict[str, Any]) -> list[str]:
    return [message["detail"]["metadata"]["eventId"] for message in messages(batch)]


# Customers


@pytest.mark.usefixtures("jane")
def test_orders_reserve_credit_or_are_refused_and_a_cancellation_releases_it(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    batch = load(CUSTOMERS_BATCH)
    first, second, third, cancellation = event_ids(batch)

    assert handle(customers_subscriber, batch) == NO_FAILURES

    assert answers(dynamodb, "CustomersOutbox") == {
        first: CustomerCreditReserved,
        second: CustomerCreditReservationFailed,
        third: CustomerValidationFailed,
        cancellation: CustomerCreditReleased,
    }
    assert customers_service.find_customer(customers, JANE).available_credit == Money(500)


class NearlyOutOfTime(LambdaContext):
    """Time for one message, and then for none."""

    def __init__(self) -> None:
        super().__init__()
        self._left = iter([9_000])

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]
        return next(self._left, 100)


@pytest.mark.usefixtures("jane")
def test_messages_for_which_there_is_no_time_come_again_and_those_handled_do_not(
    dynamodb: DynamoDBClient,
) -> None:
    batch = load(CUSTOMERS_BATCH)
    first, *_ = event_ids(batch)
    _, *rest = (record["messageId"] for record in batch["Records"])

    answer = customers_subscriber.lambda_handler(batch, NearlyOutOfTime())

    assert answer == {"batchItemFailures": [{"itemIdentifier": id_} for id_ in rest]}
    assert list(answers(dynamodb, "CustomersOutbox")) == [first]


@pytest.mark.usefixtures("jane")
def test_answers_stay_in_the_correlation_of_the_request(dynamodb: DynamoDBClient) -> None:
    batch = load(CUSTOMERS_BATCH)
    correlations = {
        m["detail"]["metadata"]["eventId"]: m["detail"]["metadata"]["correlationId"]
        for m in messages(batch)
    }

    handle(customers_subscriber, batch)

    for envelope in published(dynamodb, "CustomersOutbox"):
        if envelope.metadata.causation_id:
            expected = correlations[envelope.metadata.causation_id]
            assert envelope.metadata.correlation_id == expected


# Orders


def test_credit_approves_an_order_and_its_lack_rejects_it(
    orders: OrderRepository, three_orders: list[int]
) -> None:
    assert handle(orders_subscriber, load("orders_subscriber_batch")) == NO_FAILURES

    decided = [orders_service.find_order(orders, order_id) for order_id in three_orders]
    assert [(order.state, order.rejection_reason) for order in decided] == [
        (OrderState.APPROVED, None),
        (OrderState.REJECTED, RejectionReason.INSUFFICIENT_CREDIT),
        (OrderState.REJECTED, RejectionReason.UNKNOWN_CUSTOMER),
    ]


# Order history


def test_events_out_of_order_make_the_view_all_the_same(history: OrderHistoryView) -> None:
    assert handle(projection, load("order_history_projection_batch")) == NO_FAILURES

    customer = history.find_customer(JANE)
    assert customer is not None
    assert (customer["name"], customer["availableCreditCents"]) == ("Jane Doe", 500)
    assert sorted(order["state"] for order in customer["orders"].values()) == [
        "CANCELLED",
        "REJECTED",
    ]


# Every subscriber


@pytest.mark.usefixtures("jane", "three_orders")
@pytest.mark.parametrize(
    ("handler", "sample"),
    [(customers_subscriber, CUSTOMERS_BATCH), (orders_subscriber, "orders_subscriber_batch")],
    ids=["customers", "orders"],
)
def test_a_batch_that_comes_again_changes_nothing(
    dynamodb: DynamoDBClient, handler: Any, sample: str
) -> None:
    handle(handler, load(sample))
    before = snapshot(dynamodb)

    assert handle(handler, load(sample)) == NO_FAILURES

    assert snapshot(dynamodb) == before


def test_a_batch_that_comes_again_changes_nothing_in_the_view(history: OrderHistoryView) -> None:
    batch = load("order_history_projection_batch")
    handle(projection, batch)
    before = documents(history)

    handle(projection, batch)

    assert documents(history) == before


@pytest.mark.usefixtures("jane")
def test_each_message_is_one_line_in_the_log_with_its_correlation(log_lines: LogLines) -> None:
    batch = load(CUSTOMERS_BATCH)
    metadata = [message["detail"]["metadata"] for message in messages(batch)]

    handle(customers_subscriber, batch)
    handle(customers_subscriber, batch)

    lines = log_lines()
    data = [message["detail"]["data"] for message in messages(batch)]
    assert [line["order_id"] for line in lines] == [facts["orderId"] for facts in data * 2]
    assert [line["customer_id"] for line in lines] == [facts["customerId"] for facts in data * 2]
    assert [line["message"] for line in lines[4:]] == ["duplicate dropped"] * 4
    assert [line["event_id"] for line in lines] == [m["eventId"] for m in metadata * 2]
    assert [line["correlation_id"] for line in lines] == [m["correlationId"] for m in metadata * 2]
    assert [line["message"] for line in lines[:4]] == ["event handled"] * 4
    assert {line["level"] for line in lines} == {"INFO"}


def test_a_failing_message_is_logged_with_its_reason(
    dynamodb: DynamoDBClient, log_lines: LogLines
) -> None:
    dynamodb.delete_table(TableName="Customers")

    handle(customers_subscriber, to_batch(*list(messages(load(CUSTOMERS_BATCH)))[:1]))

    (line,) = log_lines()
    assert line["level"] == "ERROR"
    assert line["correlation_id"]
    assert "ResourceNotFoundException" in line["exception"]


# Messages that fail


@pytest.mark.usefixtures("jane")
def test_the_sample_of_a_partial_failure_parks_the_poison_message_and_handles_its_neighbours(
    dynamodb: DynamoDBClient, dead_letters: DeadLetters, log_lines: LogLines
) -> None:
    batch = load("customers_subscriber_partial_failure")
    good, _, also_good = event_ids(batch)

    assert handle(customers_subscriber, batch) == NO_FAILURES

    assert answers(dynamodb, "CustomersOutbox") == {
        good: CustomerCreditReserved,
        also_good: CustomerCreditReservationFailed,
    }
    (parked,) = dead_letters()
    assert parked["Body"] == batch["Records"][1]["body"]
    assert "orderTotalCents" in parked["MessageAttributes"]["reason"]["StringValue"]
    _, line, _ = log_lines()
    assert line["level"] == "ERROR"
    assert "orderTotalCents" in line["reason"]
    assert line["message_id"] == batch["Records"][1]["messageId"]


def spoiled(change: Callable[[dict[str, Any]], None]) -> str:
    """The first message of the sample, changed."""
    message = next(messages(load(CUSTOMERS_BATCH)))
    change(message)
    return json.dumps(message)


POISON = {
    "no JSON": "hello",
    "nothing": "",
    "no object": "[]",
    "100,000 brackets": "[" * 100_000,
    "an empty object": "{}",
    "a source that is no text": spoiled(lambda m: m.update({"source": ["x"]})),
    "a type that is no text": spoiled(lambda m: m.update({"detail-type": {}})),
    "an event for somebody else": spoiled(lambda m: m.update({"detail-type": "OrderApproved"})),
    "no detail": spoiled(lambda m: m.pop("detail")),
    "detail as text": spoiled(lambda m: m.update({"detail": "text"})),
    "no metadata": spoiled(lambda m: m["detail"].pop("metadata")),
    "a later schema version": spoiled(lambda m: m["detail"]["metadata"].update(schemaVersion=2)),
    "a total of true": spoiled(lambda m: m["detail"]["data"].update(orderTotalCents=True)),
    "control characters": spoiled(lambda m: m["detail"]["data"].update(state="\0\ud800")),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_a_message_that_is_no_event_is_parked_at_once(
    dynamodb: DynamoDBClient, dead_letters: DeadLetters, poison: str
) -> None:
    before = snapshot(dynamodb)
    body = poison or " "  # a queue takes no empty message

    assert handle(customers_subscriber, to_batch(body)) == NO_FAILURES

    (parked,) = dead_letters()
    assert parked["Body"] == body
    assert parked["MessageAttributes"]["reason"]["StringValue"]
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize("handler", [orders_subscriber, projection], ids=["orders", "projection"])
def test_no_subscriber_is_held_up_by_a_poison_message(
    dead_letters: DeadLetters, handler: Any
) -> None:
    assert handle(handler, to_batch("poison", "poison")) == NO_FAILURES

    assert len(dead_letters()) == 2


@pytest.mark.usefixtures("dynamodb")
def test_a_poison_message_that_cannot_be_parked_comes_again() -> None:
    # There is no dead-letter queue.
    answer = handle(customers_subscriber, to_batch("poison"))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}


@pytest.mark.usefixtures("jane")
def test_when_the_tables_are_missing_every_message_comes_again(dynamodb: DynamoDBClient) -> None:
    for table in TABLES:
        dynamodb.delete_table(TableName=table)
    batch = load(CUSTOMERS_BATCH)

    answer = handle(customers_subscriber, batch)

    identifiers = [record["messageId"] for record in batch["Records"]]
    assert answer == {"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]}


def test_only_the_message_that_fails_comes_again(
    orders: OrderRepository, three_orders: list[int], dynamodb: DynamoDBClient
) -> None:
    key = {"orderId": {"N": str(three_orders[1])}}
    dynamodb.delete_item(TableName="Orders", Key=key)
    batch = load("orders_subscriber_batch")

    answer = handle(orders_subscriber, batch)

    failed = batch["Records"][1]["messageId"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": failed}]}
    states = [orders_service.find_order(orders, three_orders[n]).state for n in (0, 2)]
    assert states == [OrderState.APPROVED, OrderState.REJECTED]


def test_a_failed_message_is_handled_when_it_comes_again(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    first = next(messages(load("orders_subscriber_batch")))
    failed = handle(orders_subscriber, to_batch(first))
    order, created = Order.create(first["detail"]["data"]["orderId"], JANE, Money(400))
    orders.add(order, created, REQUEST, None)

    again = handle(orders_subscriber, to_batch(first))

    assert failed == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert again == NO_FAILURES
    assert orders_service.find_order(orders, order.id).state is OrderState.APPROVED


def test_when_the_database_does_not_answer_every_event_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projection, "view", unreachable_view())
    batch = load("order_history_projection_batch")

    answer = handle(projection, batch)

    assert len(answer["batchItemFailures"]) == len(batch["Records"])
