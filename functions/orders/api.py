"""HTTP API of the Orders service. Creating an order starts the saga."""
# ruff: noqa: N803, path parameters have their names in the API

from __future__ import annotations

from typing import Any

import telemetry
from messaging.retry import retry_on_conflict
from orders import service, wire
from orders.order import Order, OrderNotCancellableError
from orders.repository import OrderRepository
from orders.service import OrderNotFoundError
from rest_api.fields import IdempotencyKey, IdInPath
from rest_api.pagination import NextToken, PageLimit, decode_next_token, encode_next_token
from rest_api.problems import refusals
from rest_api.resolver import RestApi
from rest_api.waiting import Prefer
from shared.errors import IdempotencyKeyReusedError

api = RestApi("orders")
orders = OrderRepository.from_environment()


@api.post("/orders", responses=refusals(IdempotencyKeyReusedError, headers=["ETag"]))
def create_order(
    request: wire.CreateOrderRequest, idempotency_key: IdempotencyKey = None
) -> wire.CreateOrderResponse:
    """Create a PENDING order. The saga approves or rejects it.

    An order of an unknown customer is created, and then rejected.
    """
    api.caller.check_customer(request.customer_id)
    created = retry_on_conflict(
        service.create_order,
        orders,
        request.customer_id,
        request.order_total.to_money(),
        api.cause,
        api.idempotent(idempotency_key, request),
    )
    telemetry.record(created.event)
    api.tell_version(created.version)
    api.log_keys |= {"order_id": created.id, "customer_id": request.customer_id}
    return wire.CreateOrderResponse(order_id=created.id)


@api.get("/orders")
def list_orders(limit: PageLimit = 20, next_token: NextToken = None) -> wire.OrdersResponse:
    """List orders, in no particular order."""
    api.caller.check_all_customers()
    found, last_id = orders.list(limit, decode_next_token(next_token))
    return wire.OrdersResponse(orders=found, next_token=encode_next_token(last_id))


@api.get(
    "/orders/<orderId>",
    responses=refusals(OrderNotFoundError, headers=["ETag", "Preference-Applied", "Retry-After"]),
)
def get_order(orderId: IdInPath, prefer: Prefer = None) -> wire.OrderResponse:
    """Get an order, with its current state. With `Prefer: wait=N`, wait until it is not PENDING."""
    order = api.wait(prefer, lambda: _find_visible_order(orderId), lambda o: o.state.is_final)
    api.tell_version(order.version)
    return wire.OrderResponse.model_validate(order)


@api.post(
    "/orders/<orderId>/cancel",
    responses=refusals(OrderNotFoundError, OrderNotCancellableError, headers=["ETag"]),
)
def cancel_order(orderId: IdInPath) -> wire.OrderStateResponse:
    """Cancel an approved order. Its credit is then released. Cancelling it again changes nothing.

    An order that is PENDING or REJECTED cannot be cancelled.
    """
    if not api.caller.all_customers:
        _find_visible_order(orderId)
    order, cancelled = retry_on_conflict(service.cancel_order, orders, orderId, api.cause)
    telemetry.record(cancelled)
    api.tell_version(order.version)
    return wire.OrderStateResponse.model_validate(order)


def _find_visible_order(order_id: int) -> Order:
    order = service.find_order(orders, order_id)
    api.caller.check_customer(order.customer_id, OrderNotFoundError(order_id))
    return order


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.handle(event, context)
