"""The view in a MongoDB-compatible database: reads, answered with typed results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import DESCENDING

from order_history.connection import Document, ViewConnection, survives_rotation
from order_history.projection import CUSTOMERS, ERASED, NAMES, ORDERS, customer_key, state_key
from order_history.view import RECENT_ORDERS
from orders.events import OrderState, RejectionReason
from shared.clock import format_instant
from shared.money import Money

_AFTER_ALL_IDS = 10**19 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OrderSummary:
    """An order in a customer's history. `created_at` is ISO 8601."""

    order_id: int
    order_total: Money
    state: OrderState
    rejection_reason: RejectionReason | None
    created_at: str


@dataclass(frozen=True)
class CustomerHistory:
    """A customer and a page of their orders, the latest first. `version` is that of the customer in the view."""

    version: int
    customer_id: int
    name: str
    credit_limit: Money
    available_credit: Money
    orders: list[OrderSummary]
    has_more: bool


@dataclass(frozen=True)
class StateChange:
    """A state of an order, and the instant (ISO 8601) from which it had it."""

    state: OrderState
    at: str


@dataclass(frozen=True)
class EventInView:
    """An event that concerns an order."""

    event_id: str
    type: str
    source: str
    aggregate_type: str
    aggregate_id: int
    aggregate_version: int
    occurred_at: str
    correlation_id: str
    causation_id: str | None
    projected_at: str
    """When the view first saw it."""
    deliveries: int
    """How often it was delivered to the view; 0 if it was read from an outbox, by a rebuild."""
    last_delivered_at: str | None


@dataclass(frozen=True)
class OrderInView(OrderSummary):
    """An order with its timeline, and its events in the order in which they occurred."""

    version: int
    customer_id: int
    timeline: list[StateChange]
    events: list[EventInView]


class OrderHistoryQueries:
    """Reads the documents of the view."""

    def __init__(self, connection: ViewConnection) -> None:
        self.connection = connection

    @survives_rotation
    def count_customers(self) -> int:
        """Return the number of customers, from the collections' metadata: the cost does not grow."""
        all_customers, erased = (
            self.connection.database[name].estimated_document_count() for name in (NAMES, ERASED)
        )
        return all_customers - erased

    @survives_rotation
    def find_history(
        self, customer_id: int, state: OrderState | None, limit: int, before: int | None
    ) -> CustomerHistory | None:
        """Find a customer with up to `limit` orders (in `state`) with ids below `before`, the latest first.

        Return None for a customer whose CustomerCreated the view has not seen, and for an erased one.
        """
        customer = self.connection.database[CUSTOMERS].find_one({"_id": customer_id})
        if customer is None or "name" not in customer:
            return None
        recent = customer.get("orders", {})
        if before is None and state is None and min(limit, len(recent)) < RECENT_ORDERS:
            # The customer's document has the first page, without a second query.
            latest = sorted(map(int, recent), reverse=True)[: limit + 1]
            orders = [_recent_summary(order_id, recent[str(order_id)]) for order_id in latest]
        else:
            orders = [
                to_summary(order) for order in self._find_orders(customer_id, state, limit, before)
            ]
        return CustomerHistory(
            version=customer["version"],
            customer_id=customer_id,
            name=customer["name"],
            credit_limit=Money(customer["creditLimitCents"]),
            available_credit=Money(customer["availableCreditCents"]),
            orders=orders[:limit],
            has_more=len(orders) > limit,
        )

    @survives_rotation
    def find_order(self, order_id: int) -> OrderInView | None:
        """Find an order. Return None if the view has seen none of its own events."""
        order = self.connection.database[ORDERS].find_one({"_id": order_id})
        if order is None or "state" not in order:
            return None
        timeline = sorted(order["timeline"].items(), key=lambda entry: int(entry[0]))
        events = [_event(event_id, entry) for event_id, entry in order.get("events", {}).items()]
        return OrderInView(
            **vars(to_summary(order)),
            version=order["version"],
            customer_id=order["customerId"],
            timeline=[
                StateChange(OrderState(entry["state"]), entry["at"]) for _, entry in timeline
            ],
            events=sorted(events, key=lambda event: (event.occurred_at, event.event_id)),
        )

    def _find_orders(
        self, customer_id: int, state: OrderState | None, limit: int, before: int | None
    ) -> Sequence[Document]:
        field, first, last = orders_of(customer_id, state, before)
        found = self.connection.database[ORDERS].find(
            {field: {"$gte": first, "$lt": last}}, {"events": 0}
        )
        return list(found.sort(field, DESCENDING).limit(limit + 1))


def orders_of(
    customer_id: int, state: OrderState | None, before: int | None = None
) -> tuple[str, str, str]:
    """Return the field, and its bounds, of the customer's orders (in `state`) with ids below `before`."""
    end = before or _AFTER_ALL_IDS
    if state is None:
        return "customerKey", customer_key(customer_id, 0), customer_key(customer_id, end)
    return "stateKey", state_key(customer_id, state, 0), state_key(customer_id, state, end)


def _recent_summary(order_id: int, entry: Mapping[str, Any]) -> OrderSummary:
    states = entry["states"]
    reason = entry.get("rejectionReason")
    return OrderSummary(
        order_id=order_id,
        order_total=Money(entry["orderTotalCents"]),
        state=OrderState(states[max(states, key=int)]),
        rejection_reason=RejectionReason(reason) if reason else None,
        created_at=entry["createdAt"],
    )


def to_summary(order: Document) -> OrderSummary:
    """Return the order in a document of the collection `orders`."""
    reason = order["rejectionReason"]
    return OrderSummary(
        order_id=order["_id"],
        order_total=Money(order["orderTotalCents"]),
        state=OrderState(order["state"]),
        rejection_reason=RejectionReason(reason) if reason else None,
        created_at=order["createdAt"],
    )


def _event(event_id: str, entry: Mapping[str, Any]) -> EventInView:
    event = entry["event"]
    deliveries = entry.get("deliveries", {})
    delivered_at = [
        format_instant(_EPOCH + timedelta(milliseconds=ms)) for ms in sorted(map(int, deliveries))
    ]
    return EventInView(
        event_id=event_id,
        type=event["type"],
        source=event["source"],
        aggregate_type=event["aggregateType"],
        aggregate_id=event["aggregateId"],
        aggregate_version=event["aggregateVersion"],
        occurred_at=event["occurredAt"],
        correlation_id=event["correlationId"],
        causation_id=event["causationId"],
        projected_at=delivered_at[0] if delivered_at else entry["rebuiltAt"],
        deliveries=sum(deliveries.values()),
        last_delivered_at=delivered_at[-1] if delivered_at else None,
    )
