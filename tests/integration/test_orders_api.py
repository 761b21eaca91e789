"""The HTTP API of Orders on moto, called with the files in events/."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from functions.orders import api as handler
from messaging.domain_event import Cause
from orders import service
from orders.events import OrderCancelled, OrderCreated, OrderState, RejectionReason
from orders.order import Order
from orders.repository import OrderRepository
from shared.identifiers import MAX_ID
from shared.money import Money
from tests.integration.api import send
from tests.integration.tables import items, published, snapshot
from tests.samples import an_event_id, load

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.usefixtures("dynamodb")

CREATE, LIST, GET = "orders_api_create", "orders_api_list", "orders_api_get"
CANCEL = "orders_api_cancel"
ORDER = int(load(GET)["pathParameters"]["orderId"])
JANE = int(load("customers_api_get")["pathParameters"]["customerId"])
REQUEST = Cause("a request")
ANSWER = Cause("a request", an_event_id("an answer of Customers"))


def pending(orders: OrderRepository) -> None:
    """The order is there, by the id that it has in events/."""
    order, created = Order.create(ORDER, JANE, Money(410))
    orders.add(order, created, REQUEST, None)


def approved(orders: OrderRepository) -> None:
    pending(orders)
    service.note_credit_reserved(orders, ORDER, ANSWER)


def rejected(orders: OrderRepository) -> None:
    pending(orders)
    service.note_credit_not_reserved(orders, ORDER, RejectionReason.INSUFFICIENT_CREDIT, ANSWER)


# POST /orders


def test_the_sample_creates_a_pending_order(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    created = send(handler, CREATE)

    assert created.status == 200
    (envelope,) = published(dynamodb, "OrdersOutbox")
    event = envelope.event
    assert isinstance(event, OrderCreated)
    assert created.json == {"orderId": event.order_id}
    assert (event.customer_id, event.order_total) == (JANE, Money(400))
    assert envelope.metadata.correlation_id == created.headers["X-Correlation-Id"]
    assert service.find_order(orders, event.order_id).state is OrderState.PENDING


def test_the_sample_sent_twice_creates_one_order(dynamodb: DynamoDBClient) -> None:
    first = send(handler, CREATE)
    before = snapshot(dynamodb)

    second = send(handler, CREATE)

    assert (second.status, second.json) == (200, first.json)
    assert snapshot(dynamodb) == before


def test_an_idempotency_key_is_not_good_for_another_order(dynamodb: DynamoDBClient) -> None:
    send(handler, CREATE)
    before = snapshot(dynamodb)

    refused = send(handler, CREATE, body={"customerId": JANE, "orderTotal": {"amount": 4.01}})

    refused.problem(422, "idempotency-key-reused")
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize("customer_id", [1, 2**53 + 1, MAX_ID])
def test_whether_there_is_such_a_customer_is_not_for_the_api_to_say(customer_id: int) -> None:
    created = send(handler, CREATE, body={"customerId": customer_id, "orderTotal": {"amount": 1}})

    found = send(handler, GET, path_parameters={"orderId": created.json["orderId"]})
    assert found.json["customerId"] == customer_id
    assert found.json["orderState"] == "PENDING"


@pytest.mark.parametrize("amount", ["0.01", "4.1", "5", "99999999999.99", "1e11"])
def test_amounts_come_back_exactly_as_the_number_that_was_sent(amount: str) -> None:
    body = f'{{"customerId": 1, "orderTotal": {{"amount": {amount}}}}}'

    created = send(handler, CREATE, body=body)

    found = send(handler, GET, path_parameters={"orderId": created.json["orderId"]})
    assert found.json["orderTotal"] == {"amount": Decimal(amount)}


# GET /orders and GET /orders/{orderId}


def test_the_sample_lists_orders(orders: OrderRepository) -> None:
    rejected(orders)

    listed = send(handler, LIST)

    assert listed.status == 200
    assert listed.json == {
        "orders": [
            {
                "orderId": ORDER,
                "customerId": JANE,
                "orderTotal": {"amount": Decimal("4.1")},
                "orderState": "REJECTED",
                "rejectionReason": "INSUFFICIENT_CREDIT",
            }
        ],
        "nextToken": None,
    }


def test_the_pages_of_the_list_have_every_order_once() -> None:
    body = {"customerId": 1, "orderTotal": {"amount": 1}}
    created = {
        send(handler, CREATE, body=body, headers={"Idempotency-Key": f"key-{n}"}).json["orderId"]
        for n in range(5)
    }

    listed: list[int] = []
    query: dict[str, object] = {"limit": 2}
    while True:
        page = send(handler, LIST, query=query).json
        listed += [order["orderId"] for order in page["orders"]]
        if page["nextToken"] is None:
            break
        query["nextToken"] = page["nextToken"]

    assert len(listed) == 5
    assert set(listed) == created


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"nextToken": "forged"}])
def test_a_page_that_cannot_be_is_refused(query: dict[str, object]) -> None:
    send(handler, LIST, query=query).problem(400, "invalid-request")


def test_the_sample_finds_the_order(orders: OrderRepository) -> None:
    approved(orders)

    found = send(handler, GET)

    assert found.status == 200
    assert found.json == {
        "orderId": ORDER,
        "customerId": JANE,
        "orderTotal": {"amount": Decimal("4.1")},
        "orderState": "APPROVED",
        "rejectionReason": None,
    }
    assert '"amount":4.1}' in found.text


@pytest.mark.parametrize("sample", [GET, CANCEL])
def test_an_order_that_does_not_exist_is_not_found(dynamodb: DynamoDBClient, sample: str) -> None:
    send(handler, sample).problem(404, "order-not-found")

    assert items(dynamodb, "Orders") == []


@pytest.mark.parametrize("sample", [GET, CANCEL])
@pytest.mark.parametrize("order_id", ["first", "0", "-1", "1.5", MAX_ID + 1])
def test_what_is_no_id_is_refused(sample: str, order_id: Any) -> None:
    refused = send(handler, sample, path_parameters={"orderId": order_id})

    problem = refused.problem(400, "invalid-request")
    assert [error["field"] for error in problem["errors"]] == ["orderId"]


# POST /orders/{orderId}/cancel


def test_the_sample_cancels_an_approved_order(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    approved(orders)

    cancelled = send(handler, CANCEL)

    assert cancelled.status == 200
    assert cancelled.json == {"orderId": ORDER, "orderState": "CANCELLED"}
    assert service.find_order(orders, ORDER).state is OrderState.CANCELLED
    (envelope,) = [
        e for e in published(dynamodb, "OrdersOutbox") if isinstance(e.event, OrderCancelled)
    ]
    assert envelope.metadata.correlation_id == cancelled.headers["X-Correlation-Id"]


def test_cancelling_a_cancelled_order_is_fine_and_changes_nothing(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    approved(orders)
    first = send(handler, CANCEL)
    before = snapshot(dynamodb)

    second = send(handler, CANCEL)

    assert (second.status, second.json) == (200, first.json)
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize("state", [pending, rejected])
def test_an_order_that_is_not_approved_cannot_be_cancelled(
    orders: OrderRepository, dynamodb: DynamoDBClient, state: Any
) -> None:
    state(orders)
    before = snapshot(dynamodb)

    problem = send(handler, CANCEL).problem(409, "order-not-cancellable")

    assert state.__name__.upper() in problem["detail"]
    assert snapshot(dynamodb) == before
