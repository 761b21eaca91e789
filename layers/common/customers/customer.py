"""The Customer aggregate: a credit limit and the credit that orders have reserved."""

from __future__ import annotations

from dataclasses import dataclass, field

from customers.events import (
    CustomerCreated,
    CustomerCreditReleased,
    CustomerCreditReserved,
    CustomerErased,
)
from shared.money import ZERO, Money


class CustomerCreditLimitExceededError(Exception):
    """The order total exceeds the customer's available credit."""


class CustomerErasedError(Exception):
    """The customer was erased and takes no more orders."""


@dataclass
class Customer:
    """A customer. `available_credit` is the credit limit minus all reservations and is never negative.

    A customer may have any number of reservations. `reservations` holds only those that were loaded, by order id;
    `reserved_credit` is the sum of all.
    """

    id: int
    name: str | None
    """None if the customer was erased."""
    credit_limit: Money
    reserved_credit: Money = ZERO
    version: int = 1
    reservations: dict[int, Money] = field(default_factory=dict)
    erased: bool = False
    created_event_id: str | None = None
    """Id of the stored CustomerCreated. Older code did not keep it."""

    @classmethod
    def create(
        cls, customer_id: int, name: str, credit_limit: Money
    ) -> tuple[Customer, CustomerCreated]:
        """Create a customer with the whole credit limit available. Raises: ValueError if the limit is negative."""
        if credit_limit < ZERO:
            raise ValueError("a credit limit must not be negative")
        customer = cls(customer_id, name, credit_limit)
        return customer, CustomerCreated(
            customer_id=customer_id, name=name, credit_limit=credit_limit
        )

    @property
    def available_credit(self) -> Money:
        return self.credit_limit - self.reserved_credit

    def erase(self) -> CustomerErased:
        """Remove the personal data. Reservations stay and can be released. Raises: CustomerErasedError."""
        if self.erased:
            raise CustomerErasedError
        self.name = None
        self.erased = True
        self.version += 1
        return CustomerErased(customer_id=self.id)

    def reserve_credit(self, order_id: int, order_total: Money) -> CustomerCreditReserved:
        """Reserve credit for an order that has no reservation yet.

        Raises: CustomerErasedError; CustomerCreditLimitExceededError; ValueError if the total is not positive or the
        order has a reservation.
        Source: Eventuate Tram Customers and Orders, Customer.reserveCredit.
        """
        if order_total <= ZERO:
            raise ValueError("an order total must be positive")
        if order_id in self.reservations:
            raise ValueError(f"order {order_id} has a reservation")
        if self.erased:
            raise CustomerErasedError
        if order_total > self.available_credit:
            raise CustomerCreditLimitExceededError
        self.reservations[order_id] = order_total
        self.reserved_credit += order_total
        self.version += 1
        return CustomerCreditReserved(
            customer_id=self.id, order_id=order_id, available_credit=self.available_credit
        )

    def release_credit(self, order_id: int) -> CustomerCreditReleased:
        """Release the credit reserved for an order.

        Raises: KeyError if the order has no reservation; ValueError if more is released than is reserved.
        """
        released = self.reservations[order_id]
        if not ZERO < released <= self.reserved_credit:
            raise ValueError(f"customer {self.id} has not reserved the credit of order {order_id}")
        del self.reservations[order_id]
        self.reserved_credit -= released
        self.version += 1
        return CustomerCreditReleased(
            customer_id=self.id, order_id=order_id, available_credit=self.available_credit
        )
