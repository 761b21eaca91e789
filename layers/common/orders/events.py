"""Events that the Orders service publishes, and the states of an order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, assert_never

from messaging.domain_event import DomainEvent, Upcaster, unchanged
from shared.money import Money


class OrderState(StrEnum):
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"

    @property
    def holds_credit(self) -> bool:
        """Return whether the order's credit is reserved once its saga has ended."""
        match self:
            case OrderState.APPROVED:
                return True
            case OrderState.PENDING | OrderState.REJECTED | OrderState.CANCELLED:
                return False
            case _:
                assert_never(self)

    @property
    def is_final(self) -> bool:
        """Return whether the create-order saga has ended."""
        match self:
            case OrderState.PENDING:
                return False
            case OrderState.APPROVED | OrderState.REJECTED | OrderState.CANCELLED:
                return True
            case _:
                assert_never(self)


class RejectionReason(StrEnum):
    INSUFFICIENT_CREDIT = "INSUFFICIENT_CREDIT"
    UNKNOWN_CUSTOMER = "UNKNOWN_CUSTOMER"
    CUSTOMER_ERASED = "CUSTOMER_ERASED"


@dataclass(frozen=True, kw_only=True)
class OrderEvent(DomainEvent):
    """Carries the whole order after the change, so that a subscriber needs no query."""

    source: ClassVar[str] = "customers-and-orders.orders"
    aggregate_type: ClassVar[str] = "Order"

    order_id: int
    customer_id: int
    order_total: Money
    state: OrderState
    rejection_reason: RejectionReason | None
    created_at: datetime

    @property
    def aggregate_id(self) -> int:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class OrderCreated(OrderEvent):
    """An order was created as PENDING. Customers must now reserve credit for it."""


@dataclass(frozen=True, kw_only=True)
class OrderApproved(OrderEvent):
    """Credit was reserved for the order."""


@dataclass(frozen=True, kw_only=True)
class OrderRejected(OrderEvent):
    """No credit was reserved for the order, for the reason in `rejection_reason`.

    Version 2 adds the reason CUSTOMER_ERASED. The other events of an order have no reason, so they stay version 1.
    """

    upcasters: ClassVar[tuple[Upcaster, ...]] = (unchanged,)


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderEvent):
    """An approved order was cancelled. Customers must now release its credit."""
