"""Events that the Customers service publishes."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """A customer was created. The whole credit limit is available."""

    name: str
    credit_limit: Money = field(metadata={"minimum": 0})


@dataclass(frozen=True, kw_only=True)
class CustomerCreditReserved(CustomerEvent):
    """Credit was reserved for the order, which can now be approved."""

    order_id: int
    available_credit: Money = field(metadata={"minimum": 0})
    """After the reservation."""


@dataclass(frozen=True, kw_only=True)
class CustomerCreditReservationFailed(CustomerEvent):
    """The order total exceeds the available credit. Nothing was reserved."""

    order_id: int
    available_credit: Money = field(metadata={"minimum": 0})


@dataclass(frozen=True, kw_only=True)
class CustomerValidationFailed(CustomerEvent):
    """The customer of the order does not exist."""

    order_id: int


@dataclass(frozen=True, kw_only=True)
class CustomerCreditReleased(CustomerEvent):
    """The credit reserved for the order was released."""

    order_id: int
    available_credit: Money = field(metadata={"minimum": 0})
    """After the release."""
