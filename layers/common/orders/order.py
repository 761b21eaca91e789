"""The Order aggregate: PENDING, then APPROVED or REJECTED. An APPROVED order may become CANCELLED."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from orders.events import (
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderRejected,
    OrderState,
    RejectionReason,
)
from shared.clock import now
from shared.errors import ConflictError
from shared.money import ZERO, Money

E = TypeVar("E", bound=OrderEvent)


class OrderNotCancellableError(ConflictError):
    def __init__(self, order_id: int, state: OrderState) -> None:
        super().__init__(f"Order {order_id} is {state}. Only an APPROVED order can be cancelled.")


class OrderNotPendingError(Exception):
    """The order was approved or rejected before."""


@dataclass
class Order:
    """An order. Each change increments the version and returns one event."""

    id: int
    customer_id: int
    order_total: Money
    created_at: datetime
    state: OrderState = OrderState.PENDING
    rejection_reason: RejectionReason | None = None
    version: int = 0

    @classmethod
    def create(
        cls, order_id: int, customer_id: int, order_total: Money
    ) -> tuple[Order, OrderCreated]:
        """Create a PENDING order. Raises: ValueError if the total is not positive."""
        if order_total <= ZERO:
            raise ValueError("an order total must be positive")
        order = cls(order_id, customer_id, order_total, created_at=now())
        return order, order._change(OrderState.PENDING, OrderCreated)

    def approve(self) -> OrderApproved:
        """Approve a PENDING order. Raises: OrderNotPendingError."""
        self._require_pending()
        return self._change(OrderState.APPROVED, OrderApproved)

    def reject(self, reason: RejectionReason) -> OrderRejected:
        """Reject a PENDING order. Raises: OrderNotPendingError."""
        self._require_pending()
        self.rejection_reason = reason
        return self._change(OrderState.REJECTED, OrderRejected)

    def cancel(self) -> OrderCancelled:
        """Cancel an APPROVED order. Raises: OrderNotCancellableError."""
        if self.state is not OrderState.APPROVED:
            raise OrderNotCancellableError(self.id, self.state)
        return self._change(OrderState.CANCELLED, OrderCancelled)

    def _require_pending(self) -> None:
        if self.state is not OrderState.PENDING:
            raise OrderNotPendingError

    def _change(self, state: OrderState, event_class: type[E]) -> E:
        self.state = state
        self.version += 1
        return event_class(
            order_id=self.id,
            customer_id=self.customer_id,
            order_total=self.order_total,
            state=self.state,
            rejection_reason=self.rejection_reason,
            created_at=self.created_at,
        )
