"""The commands of the Orders service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messaging.domain_event import Cause
from orders.events import OrderState, RejectionReason
from orders.order import Order, OrderNotPendingError
from shared.errors import NotFoundError
from shared.idempotency import IdempotentRequest, RequestAlreadyHandledError
from shared.identifiers import new_id
from shared.money import Money

if TYPE_CHECKING:
    from orders.repository import OrderRepository


class OrderNotFoundError(NotFoundError):
    def __init__(self, order_id: int) -> None:
        super().__init__(f"There is no order {order_id}.")


def create_order(
    orders: OrderRepository,
    customer_id: int,
    order_total: Money,
    cause: Cause,
    idempotency_key: str | None = None,
) -> int:
    """There is one more PENDING order, whose id is returned; none if this request was handled before.

    Whether there is such a customer is for the saga to find out.
    Raises: IdempotencyKeyReusedError if another request was made with the key.
    """
    request = (
        IdempotentRequest.of(
            idempotency_key, {"customerId": customer_id, "orderTotalCents": order_total.cents}
        )
        if idempotency_key
        else None
    )
    order, created = Order.create(new_id(), customer_id, order_total)
    try:
        orders.add(order, created, cause, request)
    except RequestAlreadyHandledError as handled:
        return handled.aggregate_id
    return order.id


def find_order(orders: OrderRepository, order_id: int) -> Order:
    """Raises: OrderNotFoundError."""
    order = orders.find(order_id)
    if order is None:
        raise OrderNotFoundError(order_id)
    return order


def cancel_order(orders: OrderRepository, order_id: int, cause: Cause) -> Order:
    """The order is CANCELLED, now or since before.

    Raises: OrderNotFoundError; OrderNotCancellableError if it is PENDING or REJECTED.
    """
    order = find_order(orders, order_id)
    if order.state is not OrderState.CANCELLED:
        cancelled = order.cancel()
        orders.save(order, cancelled, cause)
    return order


def note_credit_reserved(orders: OrderRepository, order_id: int, cause: Cause) -> bool:
    """The order is no longer PENDING: it is APPROVED, or (False) its fate was decided before.

    Raises: OrderNotFoundError; EventAlreadyPublishedError if `cause` was answered before.
    """
    order = find_order(orders, order_id)
    try:
        approved = order.note_credit_reserved()
    except OrderNotPendingError:
        return False
    orders.save(order, approved, cause)
    return True


def note_credit_not_reserved(
    orders: OrderRepository, order_id: int, reason: RejectionReason, cause: Cause
) -> bool:
    """The order is no longer PENDING: it is REJECTED, or (False) its fate was decided before.

    Raises: OrderNotFoundError; EventAlreadyPublishedError if `cause` was answered before.
    """
    order = find_order(orders, order_id)
    try:
        rejected = order.note_credit_not_reserved(reason)
    except OrderNotPendingError:
        return False
    orders.save(order, rejected, cause)
    return True
