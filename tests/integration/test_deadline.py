"""The deadline of PENDING orders on moto: which sagas are resumed, how often, and with which event."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from mypy_boto3_dynamodb import DynamoDBClient

from customers.events import CustomerCreditReserved
from functions.orders import deadline as handler
from messaging.envelope import DomainEventEnvelope
from messaging.outbox import Outbox
from messaging.relay import ATTEMPTS as RELAY_ATTEMPTS
from messaging.relay import EventsNotPublishedError
from orders.order import Order
from orders.repository import OrderRepository
from orders.saga import ATTEMPTS, MAX_ORDERS
from shared.clock import now
from shared.money import Money
from tests.integration.conftest import AwsCalls, DeadLetters, LambdaContext, LogLines
from tests.integration.tables import items, snapshot
from tests.samples import JANE, load, wrap

SAMPLE = load("orders_deadline_scheduled")
OVERDUE, FRESH = timedelta(minutes=6), timedelta(minutes=4)


@pytest.fixture(autouse=True)
def bus(dynamodb: DynamoDBClient, dead_letters: DeadLetters) -> None:
    boto3.client("events").create_event_bus(Name="customers-and-orders")


def insert(orders: OrderRepository, order_id: int, age: timedelta) -> DomainEventEnvelope:
    """Insert a PENDING order of that age. Return its OrderCreated."""
    order, created = Order.create(order_id, JANE, Money(410))
    orders.insert(replace(order, created_at=now() - age), envelope := wrap(created))
    return envelope


def run(stuck: int = 0) -> int:
    """Invoke the function, and return how many sagas it has resumed."""
    outcome = handler.lambda_handler(SAMPLE, LambdaContext())
    assert outcome["stuck"] == stuck
    return int(outcome["resumed"])


def published(aws_calls: AwsCalls) -> list[str]:
    """Return the ids of the published events."""
    entries = [e for request in aws_calls.requests("PutEvents") for e in request["Entries"]]
    return [json.loads(entry["Detail"])["metadata"]["eventId"] for entry in entries]


def make_overdue(dynamodb: DynamoDBClient) -> None:
    """Let the deadline of all waiting orders pass."""
    for item in items(dynamodb, "Orders"):
        if "waitingSince" in item:
            dynamodb.put_item(TableName="Orders", Item=item | {"waitingSince": {"S": "2026"}})


def test_only_overdue_orders_are_resumed_once_per_deadline_and_stay_as_they_are(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls, log_lines: LogLines
) -> None:
    overdue, _ = insert(orders, 7, OVERDUE), insert(orders, 8, FRESH)
    before = orders.find(7)

    assert (run(), run()) == (1, 0)

    assert published(aws_calls) == [overdue.metadata.event_id]
    assert orders.find(7) == before
    first, second = log_lines()
    assert first["OrdersResumed"] == [1]
    assert first["events"][0]["order_id"] == 7
    assert "OrdersResumed" not in second
    make_overdue(dynamodb)
    assert run() == 2


def test_answer_of_customers_is_published_instead_of_the_question(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    created = insert(orders, 7, OVERDUE)
    reserved = CustomerCreditReserved(customer_id=JANE, order_id=7, available_credit=Money(90))
    answer = wrap(reserved, 2, created.cause_of_effects)
    Outbox(orders._database, "CustomersOutbox").write([answer])

    assert run() == 1

    assert published(aws_calls) == [answer.metadata.event_id]


def test_decided_order_leaves_the_index_and_a_decision_meanwhile_wins(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    def approve(order_id: int) -> None:
        before = orders.find(order_id)
        assert before is not None
        approved = replace(before)
        event = wrap(approved.approve(), 2)
        orders.outbox.write([event], orders.update(before, approved))

    for order_id in (7, 8):
        insert(orders, order_id, OVERDUE)
    approve(7)
    assert orders.waiting(now(), 9) == [8]

    def decide_first(write: Any, _request: Any) -> Any:
        approve(8)
        return write()

    aws_calls.answer("PutItem", decide_first)
    assert run() == 0

    assert published(aws_calls) == []
    assert orders.waiting(now(), 9) == []
    assert all("waitingSince" not in item for item in items(dynamodb, "Orders"))


def test_attempt_does_not_hinder_a_decision_on_the_version_before_it(
    orders: OrderRepository,
) -> None:
    insert(orders, 7, OVERDUE)
    before = orders.find(7)
    assert before is not None
    assert orders.start_attempt(7, now()) == 1

    after = replace(before)
    orders.outbox.write([wrap(after.approve(), 2)], orders.update(before, after))

    assert orders.find(7) == after
    assert orders.start_attempt(7, now() + OVERDUE) is None
    assert orders.start_attempt(9, now()) is None


def test_order_is_stuck_after_three_attempts_and_the_metric_stays(
    orders: OrderRepository, dynamodb: DynamoDBClient, log_lines: LogLines
) -> None:
    insert(orders, 7, OVERDUE)
    for attempt in range(1, ATTEMPTS + 3):
        assert run(stuck=attempt > ATTEMPTS) == 1
        make_overdue(dynamodb)

    assert [line.get("OrdersStuck") for line in log_lines()] == [None] * ATTEMPTS + [[1], [1]]
    assert log_lines()[-1]["stuck_orders"] == [7]


@pytest.mark.usefixtures("short_pages")
def test_a_run_is_bounded_and_takes_the_orders_that_wait_the_longest(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    ages = {order_id: OVERDUE + timedelta(seconds=order_id) for order_id in range(1, 6)}
    created = {order_id: insert(orders, order_id, age) for order_id, age in ages.items()}

    assert orders.waiting(now(), 2) == [5, 4]
    assert orders.waiting(now(), MAX_ORDERS) == [5, 4, 3, 2, 1]
    assert "Scan" in aws_calls.operations
    assert {r.get("IndexName") for r in aws_calls.requests("Scan")} == {"Waiting"}
    dynamodb.delete_item(
        TableName="OrdersOutbox",
        Key={"aggregateId": {"S": "5"}, "eventId": {"S": created[5].metadata.event_id}},
    )
    assert run() == 4, "an order without an event cannot be resumed"


def test_refused_event_fails_the_run_and_the_next_run_tries_the_order_again(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls, pauses: list[float]
) -> None:
    insert(orders, 7, OVERDUE)
    aws_calls.answer("PutEvents", *[ReadTimeoutError(endpoint_url="bus")] * RELAY_ATTEMPTS)
    with pytest.raises(EventsNotPublishedError):
        run()
    before = snapshot(dynamodb)

    assert run() == 0, "the attempt counts"
    assert snapshot(dynamodb) == before
    make_overdue(dynamodb)
    assert run() == 1
