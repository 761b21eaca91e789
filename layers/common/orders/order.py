"""The Order aggregate: PENDING, then APPROVED or REJECTED; an APPROVED order may be CANCELLED."""

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
from shared.money import Money

E = TypeVar("E", bound=OrderEvent)


class OrderNotCancellableError(ConflictError):
    def __init__(self, order_id: int, state: OrderState) -> None:
        super().__init__(f"Order {order_id} is {state}: only an APPROVED order can be cancelled.")


class OrderNotPendingError(Exception):
    """The order's fate is decided already."""


@dataclass
class Order:
    """Each change gives the next version and is told by the event that the method returns."""

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
        order = cls(order_id, customer_id, order_total, created_at=now())
        return order, order._change(OrderState.PENDING, OrderCreated)

    def note_credit_reserved(self) -> OrderApproved:
        """Raises: OrderNotPendingError."""
        self._check_is_pending()
        return self._change(OrderState.APPROVED, OrderApproved)

    def note_credit_not_reserved(self, reason: RejectionReason) -> OrderRejected:
        """Raises: OrderNotPendingError."""
        self._check_is_pending()
        self.rejection_reason = reason
        return self._change(OrderState.REJECTED, OrderRejected)

    def cancel(self) -> OrderCancelled:
        """Raises: OrderNotCancellableError unless the order is APPROVED."""
        if self.state is not OrderState.APPROVED:
            raise OrderNotCancellableError(self.id, self.state)
        return self._change(OrderState.CANCELLED, OrderCancelled)

    def _check_is_pending(self) -> None:
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
