"""Commands and saga steps of the Orders service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from customers.events import (
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from orders.events import OrderApproved, OrderRejected, OrderState, RejectionReason
from orders.order import Order, OrderNotPendingError
from shared.errors import NotFoundError
from shared.idempotency import Created, IdempotentRequest, RequestAlreadyHandledError
from shared.identifiers import new_id
from shared.money import Money

if TYPE_CHECKING:
    from orders.repository import OrderRepository


class OrderNotFoundError(NotFoundError):
    def __init__(self, order_id: int) -> None:
        super().__init__(f"Order {order_id} does not exist.")


def create_order(
    orders: OrderRepository,
    customer_id: int,
    order_total: Money,
    cause: Cause,
    request: IdempotentRequest | None = None,
) -> Created:
    """Create a PENDING order. On a replay of `request`, return the original's id and publish nothing.

    The saga finds out whether the customer exists.
    Raises: IdempotencyKeyReusedError; WriteConflictError if the generated id is taken.
    """
    order, created = Order.create(new_id(), customer_id, order_total)
    envelope = DomainEventEnvelope.wrap(created, order.version, cause)
    try:
        orders.insert(order, envelope, request)
    except RequestAlreadyHandledError as handled:
        return Created(handled.aggregate_id)
    return Created(order.id, envelope)


def find_order(orders: OrderRepository, order_id: int) -> Order:
    """Load an order. Raises: OrderNotFoundError."""
    order = orders.find(order_id)
    if order is None:
        raise OrderNotFoundError(order_id)
    return order


def cancel_order(
    orders: OrderRepository, order_id: int, cause: Cause
) -> tuple[Order, DomainEventEnvelope | None]:
    """Cancel an APPROVED order. Return it with the published event, or None if it is CANCELLED already.

    Raises: OrderNotFoundError; OrderNotCancellableError if it is PENDING or REJECTED; WriteConflictError.
    """
    order = find_order(orders, order_id)
    if order.state is OrderState.CANCELLED:
        return order, None
    before = replace(order)
    envelope = DomainEventEnvelope.wrap(order.cancel(), order.version, cause)
    orders.outbox.write([envelope], orders.update(before, order))
    return order, envelope


def approve_order(order: Order | None, reserved: CustomerCreditReserved) -> OrderApproved | None:
    """Approve the order whose credit was reserved. Return None if it is not PENDING.

    Raises: OrderNotFoundError.
    """
    try:
        return _existing(order, reserved.order_id).approve()
    except OrderNotPendingError:
        return None


def reject_order(
    order: Order | None,
    refusal: CustomerCreditReservationFailed | CustomerValidationFailed,
) -> OrderRejected | None:
    """Reject the order whose credit was refused. Return None if it is not PENDING.

    Raises: OrderNotFoundError.
    """
    reason = RejectionReason.INSUFFICIENT_CREDIT
    if isinstance(refusal, CustomerValidationFailed):
        reason = RejectionReason(refusal.reason)
    try:
        return _existing(order, refusal.order_id).reject(reason)
    except OrderNotPendingError:
        return None


def _existing(order: Order | None, order_id: int) -> Order:
    if order is None:
        raise OrderNotFoundError(order_id)
    return order
