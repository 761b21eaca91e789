"""Orders in DynamoDB: one item per order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
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
from messaging.retry import WriteConflictError
from orders.events import OrderState, RejectionReason
from orders.order import Order
from shared.clock import format_instant, now, parse_instant
from shared.idempotency import IdempotentRequest
from shared.money import Money

CreditEvent = CustomerCreditReserved | CustomerCreditReservationFailed | CustomerValidationFailed
"""The answers of Customers to an OrderCreated."""

_WAITING_INDEX = "Waiting"
"""A sparse, keys-only index of PENDING orders. It exists where the deadline of orders is switched on."""
_INDEX_PAGE, _INDEX_PAGES = 1000, 10
"""Bound what one run reads of the index: 10,000 orders of some 60 bytes, which is 75 read units."""


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
    waiting_since = UnicodeAttribute(attr_name="waitingSince", null=True)
    """Of a PENDING order: when it was created, or when its saga was last resumed. Key of the sparse index."""
    attempts = NumberAttribute(null=True)
    """How often the saga of a PENDING order was resumed."""


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

    def waiting(self, before: datetime, limit: int) -> Sequence[int]:
        """Return the ids of up to `limit` orders that are PENDING and wait since before the instant.

        Those that wait the longest come first. The index is eventually consistent.
        """
        found: list[Item] = []
        last = None
        for _ in range(_INDEX_PAGES):
            items, last = self._database.scan(self._table, _INDEX_PAGE, last, _WAITING_INDEX)
            found += items
            if last is None:
                break
        waiting = sorted((i["waitingSince"]["S"], int(i["orderId"]["N"])) for i in found)
        return [order_id for since, order_id in waiting if since < format_instant(before)][:limit]

    def start_attempt(self, order_id: int, before: datetime) -> int | None:
        """Count an attempt to resume the order's saga, and return its number.

        Return None if the order is decided, or does not wait since before the instant: another run was faster.
        """
        stored = self._database.get(self._table, _key(order_id))
        item = OrderItem.from_raw_data(dict(stored or {}))
        since = item.waiting_since
        if since is None or since >= format_instant(before):
            return None
        item.waiting_since, item.attempts = format_instant(now()), int(item.attempts or 0) + 1
        try:
            # The version stays, and a decision replaces the whole item: it wins, before and after this write.
            self._database.write([Write(self._table, item, OrderItem.waiting_since == since)])
        except WriteConflictError:
            return None
        return item.attempts

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
        waiting_since=None if order.state.is_final else format_instant(order.created_at),
    )
