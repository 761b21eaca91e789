"""The HTTP API of Orders on moto, called with the files in events/."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from functions.orders import api as handler
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from orders import service
from orders.events import OrderCancelled, OrderCreated, OrderState, RejectionReason
from orders.order import Order
from orders.repository import OrderRepository
from shared.identifiers import MAX_ID
from shared.money import Money
from tests.integration.api import Answer, send
from tests.integration.tables import items, published, snapshot
from tests.samples import load

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.usefixtures("dynamodb")

CREATE, LIST, GET = "orders_api_create", "orders_api_list", "orders_api_get"
CANCEL = "orders_api_cancel"
ORDER = int(load(GET)["pathParameters"]["orderId"])
JANE = int(load("customers_api_get")["pathParameters"]["customerId"])
REQUEST = Cause("a request")


def insert(
    orders: OrderRepository, state: OrderState, reason: RejectionReason | None = None
) -> None:
    """Insert the order, with its id in events/."""
    order, created = Order.create(ORDER, JANE, Money(410))
    envelope = DomainEventEnvelope.wrap(created, order.version, REQUEST)
    orders.insert(replace(order, state=state, rejection_reason=reason), envelope)


def create(customer_id: int, amount: str, key: str | None = None) -> Answer:
    body = f'{{"customerId": {customer_id}, "orderTotal": {{"amount": {amount}}}}}'
    return send(handler, CREATE, body=body, headers={"Idempotency-Key": key})


# POST /orders


def test_sample_creates_a_pending_order(orders: OrderRepository, dynamodb: DynamoDBClient) -> None:
    created = send(handler, CREATE)

    assert created.status == 200
    (envelope,) = published(dynamodb, "OrdersOutbox")
    event = envelope.event
    assert isinstance(event, OrderCreated)
    assert created.json == {"orderId": event.order_id}
    assert (event.customer_id, event.order_total) == (JANE, Money(400))
    assert envelope.metadata.correlation_id == created.headers["X-Correlation-Id"]
    assert service.find_order(orders, event.order_id).state is OrderState.PENDING


def test_repeated_request_creates_one_order(dynamodb: DynamoDBClient) -> None:
    first = send(handler, CREATE)
    before = snapshot(dynamodb)

    second = send(handler, CREATE)

    assert (second.status, second.json) == (200, first.json)
    assert snapshot(dynamodb) == before


def test_order_of_any_customer_is_created_with_the_exact_total() -> None:
    for customer_id in (1, 2**53 + 1, MAX_ID):
        for amount in ("0.01", "4.1", "5", "99999999999.99", "1e11"):
            order_id = create(customer_id, amount).json["orderId"]
            found = send(handler, GET, path_parameters={"orderId": order_id}).json
            assert (found["customerId"], found["orderState"]) == (customer_id, "PENDING")
            assert found["orderTotal"] == {"amount": Decimal(amount)}


def test_integer_is_accepted_in_any_json_spelling() -> None:
    for spelling in ("7", "7.0", "0.7e1", "70e-1"):
        body = f'{{"customerId": {spelling}, "orderTotal": {{"amount": 5}}}}'
        order_id = send(handler, CREATE, body=body, headers={"Idempotency-Key": None}).json
        found = send(handler, GET, path_parameters=order_id)
        assert found.json["customerId"] == 7


# GET /orders and GET /orders/{orderId}


def test_samples_list_and_find_the_order(orders: OrderRepository) -> None:
    insert(orders, OrderState.REJECTED, RejectionReason.INSUFFICIENT_CREDIT)
    order = {
        "orderId": ORDER,
        "customerId": JANE,
        "orderTotal": {"amount": Decimal("4.1")},
        "orderState": "REJECTED",
        "rejectionReason": "INSUFFICIENT_CREDIT",
    }

    listed, found = send(handler, LIST), send(handler, GET)

    assert (listed.status, listed.json) == (200, {"orders": [order], "nextToken": None})
    assert (found.status, found.json) == (200, order)
    assert '"amount":4.1}' in found.text


def test_pages_have_every_order_once() -> None:
    created = [create(1, "1", f"key-{n}").json["orderId"] for n in range(5)]

    listed: list[int] = []
    query: dict[str, object] = {"limit": 2}
    while True:
        page = send(handler, LIST, query=query).json
        listed += [order["orderId"] for order in page["orders"]]
        if page["nextToken"] is None:
            break
        query["nextToken"] = page["nextToken"]

    assert sorted(listed) == sorted(created)


def test_unknown_order_returns_404(dynamodb: DynamoDBClient) -> None:
    for sample in (GET, CANCEL):
        send(handler, sample).problem(404, "order-not-found")
    assert items(dynamodb, "Orders") == []


# POST /orders/{orderId}/cancel


def test_sample_cancels_an_approved_order_once(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    insert(orders, OrderState.APPROVED)

    cancelled = send(handler, CANCEL)

    assert cancelled.status == 200
    assert cancelled.json == {"orderId": ORDER, "orderState": "CANCELLED"}
    assert service.find_order(orders, ORDER).state is OrderState.CANCELLED
    (envelope,) = [
        e for e in published(dynamodb, "OrdersOutbox") if isinstance(e.event, OrderCancelled)
    ]
    assert envelope.metadata.correlation_id == cancelled.headers["X-Correlation-Id"]
    before = snapshot(dynamodb)
    repeated = send(handler, CANCEL)
    assert (repeated.status, repeated.json) == (200, cancelled.json)
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.REJECTED])
def test_order_that_is_not_approved_cannot_be_cancelled(
    orders: OrderRepository, dynamodb: DynamoDBClient, state: OrderState
) -> None:
    insert(orders, state)
    before = snapshot(dynamodb)

    problem = send(handler, CANCEL).problem(409, "order-not-cancellable")

    assert state.value in problem["detail"]
    assert snapshot(dynamodb) == before
