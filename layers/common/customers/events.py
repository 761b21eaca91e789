"""What the Customers service publishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from messaging.domain_event import DomainEvent
from shared.money import Money


@dataclass(frozen=True, kw_only=True)
class CustomerEvent(DomainEvent):
    source: ClassVar[str] = "customers-and-orders.customers"
    aggregate_type: ClassVar[str] = "Customer"

    customer_id: int

    @property
    def aggregate_id(self) -> int:
        return self.customer_id


@dataclass(frozen=True, kw_only=True)
class CustomerCreated(CustomerEvent):
    """There is a new customer, with all of the credit limit available."""

    name: str
    credit_limit: Money


@dataclass(frozen=True, kw_only=True)
class CustomerCreditReserved(CustomerEvent):
    """Credit is held for the order, which can now be approved."""

    order_id: int
    available_credit: Money
    """What is left after the reservation."""


@dataclass(frozen=True, kw_only=True)
class CustomerCreditReservationFailed(CustomerEvent):
    """The order asks for more than the customer's available credit. Nothing was reserved."""

    order_id: int
    available_credit: Money


@dataclass(frozen=True, kw_only=True)
class CustomerValidationFailed(CustomerEvent):
    """The order is for a customer who does not exist."""

    order_id: int


@dataclass(frozen=True, kw_only=True)
class CustomerCreditReleased(CustomerEvent):
    """The order no longer holds credit."""

    order_id: int
    available_credit: Money
    """What there is after the release."""
