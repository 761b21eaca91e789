"""Customers in DynamoDB.

One table holds, under each customer's id, the customer and one item per reservation, so that a
customer with 100,000 orders is still a small item; and the idempotency keys of create requests.
"""

from __future__ import annotations

from typing import Any

from pynamodb.attributes import DiscriminatorAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

from customers.customer import Customer
from customers.events import (
    CustomerCreated,
    CustomerCreditReleased,
    CustomerCreditReserved,
    CustomerEvent,
)
from messaging.domain_event import Cause, DomainEventEnvelope
from messaging.outbox import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    ItemWrite,
    Outbox,
)
from messaging.retry import ConcurrentUpdateError
from shared.idempotency import IdempotentRequest
from shared.money import Money

_CUSTOMER = "CUSTOMER"
_IDEMPOTENCY_KEY = "IDEMPOTENCY_KEY"


class CustomersItem(Model):
    class Meta:
        table_name = ""
        connect_timeout_seconds = CONNECT_TIMEOUT_SECONDS
        read_timeout_seconds = READ_TIMEOUT_SECONDS

    customer_id = NumberAttribute(hash_key=True, attr_name="customerId")
    sk = UnicodeAttribute(range_key=True)
    item_type = DiscriminatorAttribute(attr_name="itemType")


class CustomerItem(CustomersItem, discriminator="Customer"):
    listed_customer_id = NumberAttribute(attr_name="listedCustomerId")
    name = UnicodeAttribute()
    credit_limit_cents = NumberAttribute(attr_name="creditLimitCents")
    reserved_credit_cents = NumberAttribute(attr_name="reservedCreditCents")
    version = NumberAttribute()


class ReservationItem(CustomersItem, discriminator="Reservation"):
    reserved_cents = NumberAttribute(attr_name="reservedCents")


class CustomerRequestItem(CustomersItem, discriminator="IdempotencyKey"):
    """An idempotency key, kept for a day (`expiresAt` is the table's TTL attribute)."""

    fingerprint = UnicodeAttribute()
    created_customer_id = NumberAttribute(attr_name="createdCustomerId")
    expires_at = NumberAttribute(attr_name="expiresAt")


class _ListingIndex(GlobalSecondaryIndex["ListedCustomer"]):  # type: ignore[no-untyped-call]
    """Has customers in it, not their reservations; and only keys, so that a change of credit costs it nothing."""

    class Meta:
        index_name = "Listing"
        projection = KeysOnlyProjection()

    listed_customer_id = NumberAttribute(hash_key=True, attr_name="listedCustomerId")


class ListedCustomer(Model):
    """A customer as the listing index has it."""

    Meta = CustomersItem.Meta  # type: ignore[assignment]

    customer_id = NumberAttribute(hash_key=True, attr_name="customerId")
    sk = UnicodeAttribute(range_key=True)
    listing = _ListingIndex()


class CustomerRepository:
    """Loads customers, and saves each change with the event that tells of it."""

    def __init__(self, table_name: str, outbox_table_name: str) -> None:
        CustomersItem.Meta.table_name = table_name
        self._outbox = Outbox(outbox_table_name, CustomersItem)

    def find(self, customer_id: int, order_id: int | None = None) -> Customer | None:
        """The customer as last written, with the reservation of `order_id` if there is one."""
        keys = [(customer_id, _CUSTOMER)]
        if order_id is not None:
            keys.append((customer_id, _reservation_key(order_id)))
        items = list(CustomersItem.batch_get(keys, consistent_read=True))
        customers = [_to_customer(item) for item in items if isinstance(item, CustomerItem)]
        if not customers:
            return None
        (customer,) = customers
        for item in items:
            if isinstance(item, ReservationItem) and order_id is not None:
                customer.reservations[order_id] = Money(int(item.reserved_cents))
        return customer

    def list(self, limit: int, after: int | None) -> tuple[list[Customer], int | None]:
        """Up to `limit` (at most 100) customers in no particular order, and the id to go on `after`, None at the end.

        A customer created within the last second may be missing: the index is eventually consistent.
        """
        start = None
        if after is not None:
            number = {"N": str(after)}
            start = {"listedCustomerId": number, "customerId": number, "sk": {"S": _CUSTOMER}}
        page = ListedCustomer.listing.scan(limit=limit, page_size=limit, last_evaluated_key=start)
        keys = [(item.customer_id, item.sk) for item in page]
        customers = [
            _to_customer(item)
            for item in CustomersItem.batch_get(keys, consistent_read=True)
            if isinstance(item, CustomerItem)
        ]
        last = page.last_evaluated_key
        return customers, int(last["customerId"]["N"]) if last else None

    def add(
        self,
        customer: Customer,
        event: CustomerCreated,
        cause: Cause,
        request: IdempotentRequest | None,
    ) -> None:
        """The customer is there, and its event.

        Raises: RequestAlreadyHandledError, IdempotencyKeyReusedError; ConcurrentUpdateError if the id is taken.
        """
        item = _to_item(customer)
        puts = [_write(item, CustomersItem.sk.does_not_exist())]
        if request is not None:
            puts.append(_request_write(request, customer.id))
        self._outbox.write(DomainEventEnvelope.wrap(event, customer.version, cause), puts)

    def save(self, customer: Customer, event: CustomerEvent, cause: Cause) -> None:
        """The change that made `event` is written, and the event.

        Raises: EventAlreadyPublishedError; ConcurrentUpdateError if the customer was changed since it was loaded.
        """
        puts = [_write(_to_item(customer), CustomerItem.version == customer.version - 1)]
        deletes = []
        match event:
            case CustomerCreditReserved():
                reservation = ReservationItem(
                    customer.id,
                    _reservation_key(event.order_id),
                    reserved_cents=customer.reservations[event.order_id].cents,
                )
                puts.append(_write(reservation, CustomersItem.sk.does_not_exist()))
            case CustomerCreditReleased():
                reservation = ReservationItem(customer.id, _reservation_key(event.order_id))
                deletes.append(_write(reservation, CustomersItem.sk.exists()))
        envelope = DomainEventEnvelope.wrap(event, customer.version, cause)
        self._outbox.write(envelope, puts, deletes)

    def publish(self, event: CustomerEvent, version: int, cause: Cause) -> None:
        """The event of a refusal, decided on the customer's `version`, is written; the customer stays as it is.

        Raises: EventAlreadyPublishedError.
        """
        self._outbox.publish(DomainEventEnvelope.wrap(event, version, cause))


def _reservation_key(order_id: int) -> str:
    return f"RESERVATION#{order_id}"


def _write(item: Model, condition: Any) -> ItemWrite:
    return ItemWrite(item, condition, lambda _: ConcurrentUpdateError())


def _request_write(request: IdempotentRequest, customer_id: int) -> ItemWrite:
    item = CustomerRequestItem(
        request.item_number,
        _IDEMPOTENCY_KEY,
        fingerprint=request.fingerprint,
        created_customer_id=customer_id,
        expires_at=request.expires_at,
    )
    unused = CustomersItem.sk.does_not_exist() | (CustomerRequestItem.expires_at <= request.made_at)
    return ItemWrite(
        item,
        unused,
        lambda stored: request.used_before(
            stored["fingerprint"]["S"], int(stored["createdCustomerId"]["N"])
        ),
    )


def _to_customer(item: CustomerItem) -> Customer:
    return Customer(
        id=int(item.customer_id),
        name=item.name,
        credit_limit=Money(int(item.credit_limit_cents)),
        reserved_credit=Money(int(item.reserved_credit_cents)),
        version=int(item.version),
    )


def _to_item(customer: Customer) -> CustomerItem:
    return CustomerItem(
        customer.id,
        _CUSTOMER,
        listed_customer_id=customer.id,
        name=customer.name,
        credit_limit_cents=customer.credit_limit.cents,
        reserved_credit_cents=customer.reserved_credit.cents,
        version=customer.version,
    )
