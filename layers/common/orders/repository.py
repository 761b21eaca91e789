"""Orders in DynamoDB: one item per order, and the idempotency keys of create requests beside them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pynamodb.attributes import (
    DiscriminatorAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.models import Model

from messaging.domain_event import Cause, DomainEventEnvelope
from messaging.outbox import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    ItemWrite,
    Outbox,
)
from messaging.retry import ConcurrentUpdateError
from orders.events import (
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderRejected,
    OrderState,
    RejectionReason,
)
from orders.order import Order
from shared.clock import format_instant, parse_instant
from shared.idempotency import IdempotentRequest
from shared.money import Money
from telemetry import metrics
from telemetry.metrics import Metric


class OrdersItem(Model):
    class Meta:
        table_name = ""
        connect_timeout_seconds = CONNECT_TIMEOUT_SECONDS
        read_timeout_seconds = READ_TIMEOUT_SECONDS

    order_id = NumberAttribute(hash_key=True, attr_name="orderId")
    item_type = DiscriminatorAttribute(attr_name="itemType")


class OrderItem(OrdersItem, discriminator="Order"):
    customer_id = NumberAttribute(attr_name="customerId")
    order_total_cents = NumberAttribute(attr_name="orderTotalCents")
    state = UnicodeAttribute()
    rejection_reason = UnicodeAttribute(attr_name="rejectionReason", null=True)
    created_at = UnicodeAttribute(attr_name="createdAt")
    version = NumberAttribute()


class OrderRequestItem(OrdersItem, discriminator="IdempotencyKey"):
    """An idempotency key, kept for a day (`expiresAt` is the table's TTL attribute)."""

    fingerprint = UnicodeAttribute()
    created_order_id = NumberAttribute(attr_name="createdOrderId")
    expires_at = NumberAttribute(attr_name="expiresAt")


class OrderRepository:
    """Loads orders, and saves each change with the event that tells of it."""

    def __init__(self, table_name: str, outbox_table_name: str) -> None:
        OrdersItem.Meta.table_name = table_name
        self._outbox = Outbox(outbox_table_name, OrdersItem)

    def find(self, order_id: int) -> Order | None:
        """The order as last written."""
        try:
            item = OrderItem.get(order_id, consistent_read=True)
        except OrderItem.DoesNotExist:
            return None
        return _to_order(item)

    def list(self, limit: int, after: int | None) -> tuple[list[Order], int | None]:
        """Up to `limit` orders in no particular order, and the id to go on `after`, None at the end."""
        start = {"orderId": {"N": str(after)}} if after else None
        page = OrderItem.scan(limit=limit, page_size=limit, last_evaluated_key=start)
        orders = [_to_order(item) for item in page]
        last = page.last_evaluated_key
        return orders, int(last["orderId"]["N"]) if last else None

    def add(
        self,
        order: Order,
        event: OrderCreated,
        cause: Cause,
        request: IdempotentRequest | None,
    ) -> None:
        """The order is there, and its event.

        Raises: RequestAlreadyHandledError, IdempotencyKeyReusedError; ConcurrentUpdateError if the id is taken.
        """
        puts = [_write(order, OrdersItem.order_id.does_not_exist())]
        if request is not None:
            puts.append(_request_write(request, order.id))
        self._write_with_event(order, event, cause, puts)

    def save(self, order: Order, event: OrderEvent, cause: Cause) -> None:
        """The change that made `event` is written, and the event.

        Raises: EventAlreadyPublishedError; ConcurrentUpdateError if the order was changed since it was loaded.
        """
        put = _write(order, OrderItem.version == order.version - 1)
        self._write_with_event(order, event, cause, [put])

    def _write_with_event(
        self, order: Order, event: OrderEvent, cause: Cause, puts: Sequence[ItemWrite]
    ) -> None:
        envelope = DomainEventEnvelope.wrap(event, order.version, cause)
        self._outbox.write(envelope, puts)
        # Nothing of this happens a second time: what comes again has been refused by the write.
        _count(event, envelope.metadata.occurred_at)


def _count(event: OrderEvent, occurred_at: datetime) -> None:
    match event:
        case OrderCreated():
            metrics.count(Metric.ORDERS_CREATED)
        case OrderApproved():
            metrics.count(Metric.ORDERS_APPROVED)
            metrics.measure(Metric.SAGA_DURATION, event.created_at, occurred_at)
        case OrderRejected(rejection_reason=RejectionReason() as reason):
            metrics.count_by_reason(Metric.ORDERS_REJECTED, reason)
            metrics.measure(Metric.SAGA_DURATION, event.created_at, occurred_at)
        case OrderCancelled():
            metrics.count(Metric.ORDERS_CANCELLED)


def _write(order: Order, condition: Any) -> ItemWrite:
    return ItemWrite(_to_item(order), condition, lambda _: ConcurrentUpdateError())


def _request_write(request: IdempotentRequest, order_id: int) -> ItemWrite:
    item = OrderRequestItem(
        request.item_number,
        fingerprint=request.fingerprint,
        created_order_id=order_id,
        expires_at=request.expires_at,
    )
    unused = OrdersItem.order_id.does_not_exist() | (OrderRequestItem.expires_at <= request.made_at)
    return ItemWrite(
        item,
        unused,
        lambda stored: request.used_before(
            stored["fingerprint"]["S"], int(stored["createdOrderId"]["N"])
        ),
    )


def _to_order(item: OrderItem) -> Order:
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
