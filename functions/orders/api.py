"""The HTTP API of Orders. Creating an order starts the saga that decides its fate."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

import telemetry
from messaging.retry import retry_on_conflict
from orders import service
from orders.events import OrderState, RejectionReason
from orders.order import Order, OrderNotCancellableError
from orders.repository import OrderRepository
from rest_api.resolver import (
    IdempotencyKey,
    IdInBody,
    IdInPath,
    IdInResponse,
    MoneyResponse,
    NextToken,
    OrderTotalRequest,
    PageLimit,
    RequestModel,
    RestApi,
    WireModel,
    decode_next_token,
    encode_next_token,
    idempotent,
    refusals,
)
from shared.errors import IdempotencyKeyReusedError

logger = Logger()
api = RestApi("orders")
orders = OrderRepository.from_environment()


class CreateOrderRequest(RequestModel):
    customer_id: IdInBody
    order_total: OrderTotalRequest


class CreateOrderResponse(WireModel):
    order_id: IdInResponse


class CancelOrderResponse(WireModel):
    order_id: IdInResponse
    order_state: OrderState


class OrderResponse(WireModel):
    order_id: IdInResponse
    customer_id: IdInResponse
    order_total: MoneyResponse
    order_state: OrderState
    rejection_reason: RejectionReason | None

    @classmethod
    def of(cls, order: Order) -> OrderResponse:
        return cls(
            order_id=order.id,
            customer_id=order.customer_id,
            order_total=MoneyResponse.of(order.order_total),
            order_state=order.state,
            rejection_reason=order.rejection_reason,
        )


class OrdersResponse(WireModel):
    orders: list[OrderResponse]
    next_token: str | None


@api.post("/orders", responses=refusals(IdempotencyKeyReusedError))
def create_order(
    request: CreateOrderRequest, idempotency_key: IdempotencyKey = None
) -> CreateOrderResponse:
    """Create an order. It is PENDING; the saga soon approves or rejects it.

    An order of a customer who does not exist is accepted here, and then rejected.
    """
    api.caller.check_customer(request.customer_id)
    created = retry_on_conflict(
        service.create_order,
        orders,
        request.customer_id,
        request.order_total.to_money(),
        api.cause,
        idempotent(request, idempotency_key),
    )
    telemetry.record(created.event)
    api.log_keys |= {"order_id": created.id, "customer_id": request.customer_id}
    return CreateOrderResponse(order_id=created.id)


@api.get("/orders")
def list_orders(limit: PageLimit = 20, next_token: NextToken = None) -> OrdersResponse:
    """List orders, in no particular order."""
    api.caller.check_all_customers()
    found, last_id = orders.list(limit, decode_next_token(next_token))
    return OrdersResponse(
        orders=[OrderResponse.of(order) for order in found],
        next_token=encode_next_token(last_id),
    )


@api.get("/orders/<orderId>", responses=refusals(service.OrderNotFoundError))
def get_order(orderId: IdInPath) -> OrderResponse:  # noqa: N803, the name of the path parameter
    """Get an order, with its state now."""
    return OrderResponse.of(_find_order_of_caller(orderId))


@api.post(
    "/orders/<orderId>/cancel",
    responses=refusals(service.OrderNotFoundError, OrderNotCancellableError),
)
def cancel_order(orderId: IdInPath) -> CancelOrderResponse:  # noqa: N803
    """Cancel an approved order; its credit is released soon. Repeating it changes nothing.

    An order that is PENDING or REJECTED cannot be cancelled.
    """
    if api.caller.customer_id is not None:
        _find_order_of_caller(orderId)
    cancelled = retry_on_conflict(service.cancel_order, orders, orderId, api.cause)
    telemetry.record(cancelled)
    return CancelOrderResponse(order_id=orderId, order_state=OrderState.CANCELLED)


def _find_order_of_caller(order_id: int) -> Order:
    order = service.find_order(orders, order_id)
    api.caller.check_customer(order.customer_id)
    return order


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api.answer(event, context)
