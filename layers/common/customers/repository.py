"""Customers in DynamoDB.

The table holds, under each customer's id, the customer and one item per reservation. So a customer with
100,000 orders stays a small item.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Self

from pynamodb.attributes import (
    BooleanAttribute,
    DiscriminatorAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.models import Model

from customers.customer import Customer
from customers.events import PERSONAL_DATA, CustomerCreated
from messaging.dynamodb import Database, Write
from messaging.envelope import DomainEventEnvelope
from messaging.idempotency import create_once
from messaging.outbox import Outbox
from orders.events import OrderCancelled, OrderEvent
from shared.idempotency import IdempotentRequest
from shared.money import Money

_CUSTOMER = "CUSTOMER"
_RESERVATION = "RESERVATION#"
_LISTING_INDEX = "Listing"
"""A sparse, keys-only index of customers: no reservations, no erased customers. A change of credit does not update it."""


class CustomersItem(Model):
    class Meta:
        table_name = ""  # given to each request: messaging/dynamodb.py

    customer_id = NumberAttribute(hash_key=True, attr_name="customerId")
    sk = UnicodeAttribute(range_key=True)
    item_type = DiscriminatorAttribute(attr_name="itemType")


class CustomerItem(CustomersItem, discriminator="Customer"):
    listed_customer_id = NumberAttribute(attr_name="listedCustomerId", null=True)
    name = UnicodeAttribute(null=True)
    credit_limit_cents = NumberAttribute(attr_name="creditLimitCents")
    reserved_credit_cents = NumberAttribute(attr_name="reservedCreditCents")
    version = NumberAttribute()
    erased = BooleanAttribute(null=True)
    created_event_id = UnicodeAttribute(attr_name="createdEventId", null=True)


class ReservationItem(CustomersItem, discriminator="Reservation"):
    reserved_cents = NumberAttribute(attr_name="reservedCents")


class CustomerRepository:
    """Loads customers and writes each change with its event."""

    def __init__(
        self, table: str, outbox_table: str, idempotency_table: str = "", *, database: Database
    ) -> None:
        self._database = database
        self._table = table
        self._idempotency_table = idempotency_table
        self.outbox = Outbox(database, outbox_table)

    @classmethod
    def from_environment(cls) -> Self:
        """Return the repository of the tables that the environment names."""
        return cls(
            os.environ["CUSTOMERS_TABLE"],
            os.environ["CUSTOMERS_OUTBOX_TABLE"],
            os.environ.get("CUSTOMERS_IDEMPOTENCY_TABLE", ""),  # of the API function only
            database=Database(),
        )

    def find(self, customer_id: int) -> Customer | None:
        """Load a customer without reservations, with a consistent read."""
        item = self._database.get(self._table, _key(customer_id, _CUSTOMER))
        return _to_customer(CustomersItem.from_raw_data(dict(item))) if item else None

    def aggregate_id(self, event: OrderEvent) -> int:
        """Return the id of the customer whose credit the order event concerns."""
        return event.customer_id

    def find_for(self, events: Sequence[OrderEvent]) -> dict[int, Customer]:
        """Load, in one consistent read, the customers of the events with the reservations of cancelled orders.

        Other reservations are not needed: the outbox tells that an OrderCreated was handled before.
        """
        cancelled = [e for e in events if isinstance(e, OrderCancelled)]
        pairs = {(e.customer_id, f"{_RESERVATION}{e.order_id}") for e in cancelled}
        pairs |= {(e.customer_id, _CUSTOMER) for e in events}
        items = [
            CustomersItem.from_raw_data(dict(item))
            for item in self._database.get_all(self._table, [_key(*pair) for pair in pairs])
        ]
        customers = {int(i.customer_id): _to_customer(i) for i in items if i.sk == _CUSTOMER}
        for item in items:
            if isinstance(item, ReservationItem) and int(item.customer_id) in customers:
                order_id = int(item.sk.removeprefix(_RESERVATION))
                reserved = Money(int(item.reserved_cents))
                customers[int(item.customer_id)].reservations[order_id] = reserved
        return customers

    def list(self, limit: int, after: int | None) -> tuple[list[Customer], int | None]:
        """Load up to `limit` (at most 100) customers in no particular order, from behind the id `after`.

        Return them with the id to continue from, which is None at the end. A customer created within the last
        second may be missing: the index is eventually consistent. Erased customers are left out.
        """
        start = _key(after, _CUSTOMER) | {"listedCustomerId": {"N": str(after)}} if after else None
        listed, last = self._database.scan(self._table, limit, start, _LISTING_INDEX)
        keys = [{name: item[name] for name in ("customerId", "sk")} for item in listed]
        items = self._database.get_all(self._table, keys)
        customers = [_to_customer(CustomersItem.from_raw_data(dict(item))) for item in items]
        customers = [customer for customer in customers if not customer.erased]
        return customers, int(last["customerId"]["N"]) if last else None

    def insert(
        self,
        customer: Customer,
        created: DomainEventEnvelope,
        request: IdempotentRequest | None = None,
    ) -> None:
        """Insert the customer and its CustomerCreated event atomically.

        Raises: RequestAlreadyHandledError; IdempotencyKeyReusedError; WriteConflictError if the id is taken.
        """
        customer = replace(customer, created_event_id=created.metadata.event_id)
        insert = Write(self._table, _to_item(customer), CustomersItem.sk.does_not_exist())
        create_once(self.outbox, insert, created, request, self._idempotency_table)

    def erase(self, before: Customer, after: Customer, erased: DomainEventEnvelope) -> None:
        """Write the erased customer and its event, and erase PERSONAL_DATA in the stored CustomerCreated, atomically.

        Raises: WriteConflictError.
        """
        replaced = self.outbox.replace_data(
            after.id, CustomerCreated.__name__, after.created_event_id, PERSONAL_DATA
        )
        self.outbox.write([erased], [*self.update(before, after), *replaced])

    def update(self, before: Customer, after: Customer) -> Sequence[Write]:
        """Return the writes of a changed customer, conditional on the version that was loaded."""
        changed = Write(self._table, _to_item(after), CustomerItem.version == before.version)
        added = after.reservations.items() - before.reservations.items()
        removed = before.reservations.keys() - after.reservations.keys()
        return [changed, *self._puts(after.id, added), *self._deletes(after.id, removed)]

    def _puts(self, customer_id: int, added: Iterable[tuple[int, Money]]) -> Iterable[Write]:
        for order_id, reserved in added:
            sk = f"{_RESERVATION}{order_id}"
            item = ReservationItem(customer_id, sk, reserved_cents=reserved.cents)
            yield Write(self._table, item, CustomersItem.sk.does_not_exist())

    def _deletes(self, customer_id: int, removed: Iterable[int]) -> Iterable[Write]:
        for order_id in removed:
            item = ReservationItem(customer_id, f"{_RESERVATION}{order_id}")
            yield Write(self._table, item, CustomersItem.sk.exists(), is_delete=True)


def _key(customer_id: int, sk: str) -> dict[str, dict[str, str]]:
    return {"customerId": {"N": str(customer_id)}, "sk": {"S": sk}}


def _to_customer(item: CustomersItem) -> Customer:
    assert isinstance(item, CustomerItem)
    return Customer(
        id=int(item.customer_id),
        name=item.name,
        credit_limit=Money(int(item.credit_limit_cents)),
        reserved_credit=Money(int(item.reserved_credit_cents)),
        version=int(item.version),
        erased=bool(item.erased),
        created_event_id=item.created_event_id,
    )


def _to_item(customer: Customer) -> CustomerItem:
    return CustomerItem(
        customer.id,
        _CUSTOMER,
        listed_customer_id=None if customer.erased else customer.id,
        name=customer.name,
        credit_limit_cents=customer.credit_limit.cents,
        reserved_credit_cents=customer.reserved_credit.cents,
        version=customer.version,
        erased=customer.erased or None,
        created_event_id=customer.created_event_id,
    )
