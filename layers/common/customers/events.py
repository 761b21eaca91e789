"""Events that the Customers service publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from messaging.domain_event import DomainEvent, Upcaster
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


PERSONAL_DATA = {"name": "erased"}
"""The fields of a stored CustomerCreated that erasure replaces, in JSON. The values are valid in its schema."""


@dataclass(frozen=True, kw_only=True)
class CustomerErased(CustomerEvent):
    """The customer's personal data was erased. The customer takes no more orders."""


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


class ValidationFailureReason(StrEnum):
    UNKNOWN_CUSTOMER = "UNKNOWN_CUSTOMER"
    CUSTOMER_ERASED = "CUSTOMER_ERASED"


def _with_only_reason(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the reason, of which version 1 has only one."""
    return {**data, "reason": ValidationFailureReason.UNKNOWN_CUSTOMER.value}


@dataclass(frozen=True, kw_only=True)
class CustomerValidationFailed(CustomerEvent):
    """The customer of the order does not exist, or was erased."""

    upcasters: ClassVar[tuple[Upcaster, ...]] = (_with_only_reason,)

    order_id: int
    reason: ValidationFailureReason


@dataclass(frozen=True, kw_only=True)
class CustomerCreditReleased(CustomerEvent):
    """The credit reserved for the order was released."""

    order_id: int
    available_credit: Money = field(metadata={"minimum": 0})
    """After the release."""
