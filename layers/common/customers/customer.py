"""The Customer aggregate: a credit limit, and the credit that orders hold of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from customers.events import CustomerCreated, CustomerCreditReleased, CustomerCreditReserved
from shared.money import ZERO, Money


class CustomerCreditLimitExceededError(Exception):
    """An order asks for more than the customer's available credit."""


@dataclass
class Customer:
    """`available_credit` is the credit limit less all reservations, and never negative.

    A customer may have any number of reservations, so `reservations` has only those that were
    loaded: that of the order in question, if there is one. `reserved_credit` is the sum of all.
    """

    id: int
    name: str
    credit_limit: Money
    reserved_credit: Money = ZERO
    version: int = 0
    reservations: dict[int, Money] = field(default_factory=dict)

    @classmethod
    def create(
        cls, customer_id: int, name: str, credit_limit: Money
    ) -> tuple[Customer, CustomerCreated]:
        customer = cls(customer_id, name, credit_limit, version=1)
        return customer, CustomerCreated(
            customer_id=customer_id, name=name, credit_limit=credit_limit
        )

    @property
    def available_credit(self) -> Money:
        return self.credit_limit - self.reserved_credit

    def reserve_credit(self, order_id: int, order_total: Money) -> CustomerCreditReserved:
        """Hold `order_total` of the credit for the order, which must not hold any yet.

        Raises: CustomerCreditLimitExceededError if more than `available_credit` is asked for.
        Source: Eventuate Tram Customers and Orders, Customer.reserveCredit.
        """
        if order_total > self.available_credit:
            raise CustomerCreditLimitExceededError
        self.reservations[order_id] = order_total
        self.reserved_credit += order_total
        self.version += 1
        return CustomerCreditReserved(
            customer_id=self.id, order_id=order_id, available_credit=self.available_credit
        )

    def release_credit(self, order_id: int) -> CustomerCreditReleased:
        """Give back the credit held for the order, which must hold some."""
        self.reserved_credit -= self.reservations.pop(order_id)
        self.version += 1
        return CustomerCreditReleased(
            customer_id=self.id, order_id=order_id, available_credit=self.available_credit
        )
