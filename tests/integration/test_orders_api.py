"""The HTTP API of Orders on moto, called with the files in events/."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from functions.orders import api as handler
from orders import service
from orders.events import OrderCancelled, OrderCreated, OrderState, RejectionReason
from orders.repository import OrderRepository
from shared.money import Money
from telemetry.metrics import Metric
from tests.clock import Clock
from tests.integration.api import Answer, pages, send
from tests.integration.conftest import LogLines
from tests.integration.tables import insert_order, items, published, snapshot
from tests.samples import JANE, ORDER, wrap

pytestmark = pytest.mark.usefixtures("dynamodb")

CREATE, LIST, GET = "orders_api_create", "orders_api_list", "orders_api_get"
CANCEL, WAIT = "orders_api_cancel", "orders_api_get_waiting"


def create(customer_id: int | str, amount: str, key: str | None = None) -> Answer:
    body = f'{{"customerId": {customer_id}, "orderTotal": {{"amount": {amount}}}}}'
    return send(handler, CREATE, body=body, headers={"Idempotency-Key": key})


# POST /orders


def test_sample_creates_a_pending_order(
    orders: OrderRepository, dynamodb: DynamoDBClient, log_lines: LogLines
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
    assert log_lines()[-1][Metric.ORDERS_CREATED] == [1]


def test_repeated_request_creates_one_order_and_another_with_its_key_none(
    dynamodb: DynamoDBClient,
) -> None:
    first = send(handler, CREATE)
    before = snapshot(dynamodb)

    second = send(handler, CREATE)

    assert (second.status, second.json) == (200, first.json)
    assert first.headers["ETag"] == second.headers["ETag"] == '"1"'
    body = {"customerId": JANE, "orderTotal": {"amount": 4.01}}
    send(handler, CREATE, body=body).problem(422, "idempotency-key-reused")
    assert snapshot(dynamodb) == before


def test_requests_with_another_key_or_none_create_other_orders() -> None:
    keys = ("key", "another-key", None, None)

    assert len({create(1, "1", key).json["orderId"] for key in keys}) == 4


def test_integer_is_accepted_in_any_json_spelling() -> None:
    for spelling in ("7", "7.0", "0.7e1", "70e-1"):
        order_id = create(spelling, "5").json["orderId"]
        found = send(handler, GET, path_parameters={"orderId": order_id})
        assert found.json["customerId"] == 7


# GET /orders and GET /orders/{orderId}


def test_samples_list_and_find_the_order(orders: OrderRepository) -> None:
    reason = RejectionReason.INSUFFICIENT_CREDIT
    insert_order(orders, state=OrderState.REJECTED, reason=reason)
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


@pytest.mark.usefixtures("short_pages")
def test_pages_have_every_order_once(orders: OrderRepository) -> None:
    for order_id in range(1, 14):
        insert_order(orders, order_id)

    for limit in (1, 5, 13):
        found = pages(handler, LIST, "orders", {"limit": limit})
        assert max(map(len, found)) <= limit
        ids = [order["orderId"] for page in found for order in page]
        assert sorted(ids) == [*range(1, 14)], limit


def test_unknown_order_returns_404(dynamodb: DynamoDBClient) -> None:
    for sample in (GET, CANCEL):
        problem = send(handler, sample).problem(404, "order-not-found")
        assert problem["detail"] == f"Order {ORDER} does not exist."
    assert items(dynamodb, "Orders") == []


def test_sample_is_answered_soon_after_the_order_was_decided(
    orders: OrderRepository, clock: Clock
) -> None:
    insert_order(orders)
    before = service.find_order(orders, ORDER)
    order = replace(before)
    approved = wrap(order.approve(), order.version)
    clock.plan[0.3] = lambda: orders.outbox.write([approved], orders.update(before, order))

    found = send(handler, WAIT)

    assert found.json["orderState"] == "APPROVED"
    assert (found.headers["ETag"], found.headers["Preference-Applied"]) == ('"2"', "wait=5")
    assert "Retry-After" not in found.headers
    assert 0.3 <= clock.now < 0.6


def test_pending_order_is_answered_when_the_time_is_over(
    orders: OrderRepository, clock: Clock
) -> None:
    insert_order(orders)
    for prefer, seconds in (("wait=5", 5), ("wait=0", 0), ("wait=60", 10), ("wait=x", None)):
        clock.now = 0
        found = send(handler, GET, headers={"Prefer": prefer})

        assert (found.status, found.json["orderState"]) == (200, "PENDING")
        assert (found.headers["ETag"], found.headers["Retry-After"]) == ('"1"', "1")
        applied = found.headers.get("Preference-Applied")
        assert applied == (None if seconds is None else f"wait={seconds}")
        assert clock.now == (seconds or 0)


def test_unknown_order_is_not_waited_for(clock: Clock) -> None:
    send(handler, WAIT).problem(404, "order-not-found")
    assert clock.pauses == []


# POST /orders/{orderId}/cancel


def test_sample_cancels_an_approved_order_once(
    orders: OrderRepository, dynamodb: DynamoDBClient, log_lines: LogLines
) -> None:
    insert_order(orders, state=OrderState.APPROVED)

    cancelled = send(handler, CANCEL)

    assert cancelled.status == 200
    assert cancelled.json == {"orderId": ORDER, "orderState": "CANCELLED"}
    assert service.find_order(orders, ORDER).state is OrderState.CANCELLED
    *_, envelope = published(dynamodb, "OrdersOutbox")
    assert isinstance(envelope.event, OrderCancelled)
    assert envelope.metadata.correlation_id == cancelled.headers["X-Correlation-Id"]
    before = snapshot(dynamodb)
    repeated = send(handler, CANCEL)
    assert (repeated.status, repeated.json) == (200, cancelled.json)
    version = f'"{envelope.metadata.aggregate_version}"'
    assert cancelled.headers["ETag"] == repeated.headers["ETag"] == version
    assert snapshot(dynamodb) == before
    assert [line.get(Metric.ORDERS_CANCELLED) for line in log_lines()] == [[1], None]


def test_order_that_is_not_approved_cannot_be_cancelled(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    for order_id, state in enumerate((OrderState.PENDING, OrderState.REJECTED), 1):
        insert_order(orders, order_id, state)
        before = snapshot(dynamodb)

        refused = send(handler, CANCEL, path_parameters={"orderId": order_id})

        assert state.value in refused.problem(409, "order-not-cancellable")["detail"]
        assert snapshot(dynamodb) == before
