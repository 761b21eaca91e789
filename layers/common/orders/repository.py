"""Orders in DynamoDB: one item per order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.models import Model

from customers.events import (
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from messaging.dynamodb import Database, Item, Write
from messaging.envelope import DomainEventEnvelope
from messaging.idempotency import create_once
from messaging.outbox import Outbox
from orders.events import OrderState, RejectionReason
from orders.order import Order
from shared.clock import format_instant, parse_instant
from shared.idempotency import IdempotentRequest
from shared.money import Money

CreditEvent = CustomerCreditReserved | CustomerCreditReservationFailed | CustomerValidationFailed
"""The answers of Customers to an OrderCreated."""


class OrderItem(Model):
    class Meta:
        table_name = ""  # given to each request: messaging/dynamodb.py

    order_id = NumberAttribute(hash_key=True, attr_name="orderId")
    customer_id = NumberAttribute(attr_name="customerId")
    order_total_cents = NumberAttribute(attr_name="orderTotalCents")
    state = UnicodeAttribute()
    rejection_reason = UnicodeAttribute(attr_name="rejectionReason", null=True)
    created_at = UnicodeAttribute(attr_name="createdAt")
    version = NumberAttribute()


class OrderRepository:
    """Loads orders and writes each change with its event."""

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
            os.environ["ORDERS_TABLE"],
            os.environ["ORDERS_OUTBOX_TABLE"],
            os.environ.get("ORDERS_IDEMPOTENCY_TABLE", ""),  # of the API function only
            database=Database(),
        )

    def find(self, order_id: int) -> Order | None:
        """Load an order with a consistent read."""
        item = self._database.get(self._table, _key(order_id))
        return _to_order(item) if item else None

    def aggregate_id(self, event: CreditEvent) -> int:
        """Return the id of the order that the event decides."""
        return event.order_id

    def find_for(self, events: Sequence[CreditEvent]) -> dict[int, Order]:
        """Load the orders that the events decide, in one consistent read."""
        keys = [_key(order_id) for order_id in {event.order_id for event in events}]
        orders = [_to_order(item) for item in self._database.get_all(self._table, keys)]
        return {order.id: order for order in orders}

    def list(self, limit: int, after: int | None) -> tuple[list[Order], int | None]:
        """Load up to `limit` orders in no particular order, from behind the id `after`.

        Return them with the id to continue from, which is None at the end.
        """
        items, last = self._database.scan(self._table, limit, _key(after) if after else None)
        return [_to_order(item) for item in items], int(last["orderId"]["N"]) if last else None

    def insert(
        self,
        order: Order,
        created: DomainEventEnvelope,
        request: IdempotentRequest | None = None,
    ) -> None:
        """Insert the order and its OrderCreated event atomically.

        Raises: RequestAlreadyHandledError; IdempotencyKeyReusedError; WriteConflictError if the id is taken.
        """
        insert = Write(self._table, _to_item(order), OrderItem.order_id.does_not_exist())
        create_once(self.outbox, insert, created, request, self._idempotency_table)

    def update(self, before: Order, after: Order) -> Sequence[Write]:
        """Return the write of a changed order, conditional on the version that was loaded."""
        return [Write(self._table, _to_item(after), OrderItem.version == before.version)]


def _key(order_id: int) -> dict[str, dict[str, str]]:
    return {"orderId": {"N": str(order_id)}}


def _to_order(stored: Item) -> Order:
    item = OrderItem.from_raw_data(dict(stored))
    return Order(
        id=int(item.order_id),
        customer_id=int(item.customer_id),
        order_total=Money(int(item.order_total_cents)),
        created_at=parse_instant(item.created_at),
        state=OrderState(item.state),
        rejection_reason=RejectionReason(item.rejection_reason) if item.rejection_reason else None,
        version=int(item.version),
    )


def _to_item(order: Order) -> OrderItem:
    return OrderItem(
        order.id,
        customer_id=order.customer_id,
        order_total_cents=order.order_total.cents,
        state=order.state.value,
        rejection_reason=order.rejection_reason and order.rejection_reason.value,
        created_at=format_instant(order.created_at),
        version=order.version,
    )
