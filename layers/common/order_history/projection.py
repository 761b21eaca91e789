"""The projection: the changes that each event makes to the documents of the view.

Events arrive in any order and any number of times. So a change is made only of
- *facts*: fields that are written once, or always with the same value,
- *latest* fields, which change with the version of an aggregate and are guarded by it, and
- *personal* facts, which erasure removes from a document for good. It marks the document with `erased: true`, and
  later events do not write them to such a document.

All converge. Documents (amounts in cents, instants as ISO 8601 texts):

    customers  {_id: customerId, name, creditLimitCents, availableCreditCents, version, erased,
                orders: {"<orderId>": {orderTotalCents, createdAt, states: {"<version>": state}, rejectionReason}}}
    orders     {_id: orderId, customerId, orderTotalCents, createdAt, state, rejectionReason, version,
                customerKey, stateKey, totalKey, stateOrderKey, timeline: {"<version>": {state, at}},
                events: {"<eventId>": {event: {...}, deliveries: {"<milliseconds>": count}, rebuiltAt}}}
    names      {_id: customerId, name, erased}: all customers
    erased     {_id: customerId, erased}: the erased ones. The difference of both is the number of customers
    customerTerms  {_id: "customer#number", key: "term#rank", erased}: the credit limit, and the words of the name

`customerKey` and `stateKey` are the sort keys `customer#order` and `customer#state#order`; the others are those of
terms.py. A single-field index on each makes every page equally cheap, on every database that speaks the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from customers.events import (
    CustomerCreated,
    CustomerCreditReleased,
    CustomerCreditReserved,
    CustomerErased,
    CustomerEvent,
)
from messaging.domain_event import DomainEvent
from messaging.envelope import DomainEventEnvelope
from order_history.terms import MAX_TERMS, amount_term, customer_terms, sort_key
from orders.events import OrderEvent, OrderState
from shared.clock import format_instant

CUSTOMERS, ORDERS, NAMES, ERASED = "customers", "orders", "names", "erased"
TERMS = "customerTerms"

PERSONAL_FIELDS = ("name", "key")
"""All fields with personal data, of any document. Erasure removes them."""

EVENTS: tuple[type[DomainEvent], ...] = (
    *CustomerEvent.__subclasses__(),
    *OrderEvent.__subclasses__(),
)
"""All events of both services."""

Fields = dict[str, Any]


@dataclass
class DocumentChange:
    """The change that one or several events make to a document. Keys are paths, such as `timeline.2`."""

    version: int = 0
    """The version that guards `latest`; 0 if there is none."""
    latest: Fields = field(default_factory=dict)
    facts: Fields = field(default_factory=dict)
    personal: Fields = field(default_factory=dict)
    """Facts among PERSONAL_FIELDS; none if the change erases them."""
    erases: bool = False

    def merge(self, other: DocumentChange) -> None:
        """Add the other change. The latest fields are those of the higher version."""
        self.facts |= other.facts
        self.erases |= other.erases
        self.personal = {} if self.erases else self.personal | other.personal
        if other.version > self.version:
            self.version, self.latest = other.version, other.latest


@dataclass(frozen=True)
class Projected:
    """An event to project. `deliveries` is how often the queue delivered it; 0 for an event read from an outbox."""

    envelope: DomainEventEnvelope
    at: datetime
    """When it was delivered or read."""
    deliveries: int = 0


Key = tuple[str, int | str]
"""A collection and the `_id` of a document."""


def changes_of(events: Iterable[Projected]) -> dict[Key, DocumentChange]:
    """Return the changes that the events make, merged to one per document."""
    changes: dict[Key, DocumentChange] = {}
    for projected in events:
        for key, change in _project(projected):
            changes.setdefault(key, DocumentChange()).merge(change)
    return changes


def guarded_document(envelope: DomainEventEnvelope) -> Key | None:
    """Return the document whose latest fields the event changes; None if it only adds facts."""
    match envelope.event:
        case CustomerCreated() | CustomerCreditReserved() | CustomerCreditReleased():
            return CUSTOMERS, envelope.event.aggregate_id
        case OrderEvent(order_id=order_id):
            return ORDERS, order_id
    return None


def _project(projected: Projected) -> Iterable[tuple[Key, DocumentChange]]:
    envelope = projected.envelope
    event, version = envelope.event, envelope.metadata.aggregate_version
    if isinstance(event, CustomerCreated):
        limit = event.credit_limit.cents
        name = {"name": event.name}
        customer = DocumentChange(
            version, {"availableCreditCents": limit}, {"creditLimitCents": limit}, name
        )
        yield (CUSTOMERS, event.customer_id), customer
        yield (NAMES, event.customer_id), DocumentChange(personal=name)
        for number, term in enumerate(customer_terms(event.name, limit)):
            key = {"key": sort_key(term, event.customer_id)}
            yield _entry(event.customer_id, number), DocumentChange(personal=key)
        return
    if isinstance(event, CustomerErased):
        for collection in (CUSTOMERS, NAMES, ERASED):
            yield (collection, event.customer_id), DocumentChange(erases=True)
        for number in range(MAX_TERMS):
            yield _entry(event.customer_id, number), DocumentChange(erases=True)
        return
    order_id: int = event.order_id  # type: ignore[attr-defined]  # all other events concern an order
    yield (ORDERS, order_id), DocumentChange(facts=_event_facts(projected))
    match event:
        case CustomerCreditReserved() | CustomerCreditReleased():
            available = {"availableCreditCents": event.available_credit.cents}
            yield (CUSTOMERS, event.customer_id), DocumentChange(version, available)
        case OrderEvent():
            at = format_instant(envelope.metadata.occurred_at)
            yield (ORDERS, order_id), _order_change(event, version, at)
            yield (
                (CUSTOMERS, event.customer_id),
                DocumentChange(facts=_recent_order(event, version)),
            )


def _entry(customer_id: int, number: int) -> Key:
    """Return the document of a customer's term. Erasure knows all of them without knowing the terms."""
    return TERMS, f"{customer_id:019}#{number}"


def _order_change(order: OrderEvent, version: int, at: str) -> DocumentChange:
    reason = order.rejection_reason
    return DocumentChange(
        version,
        {
            "state": order.state.value,
            "stateKey": state_key(order.customer_id, order.state, order.order_id),
            "stateOrderKey": sort_key(order.state, order.order_id),
            "rejectionReason": reason and reason.value,
        },
        {
            "customerId": order.customer_id,
            "customerKey": customer_key(order.customer_id, order.order_id),
            "orderTotalCents": order.order_total.cents,
            "totalKey": sort_key(amount_term(order.order_total.cents), order.order_id),
            "createdAt": format_instant(order.created_at),
            f"timeline.{version}": {"state": order.state.value, "at": at},
        },
    )


def _recent_order(order: OrderEvent, version: int) -> Fields:
    """Return the order's entry in the customer's document, as facts."""
    path = f"orders.{order.order_id}"
    facts: Fields = {
        f"{path}.orderTotalCents": order.order_total.cents,
        f"{path}.createdAt": format_instant(order.created_at),
        f"{path}.states.{version}": order.state.value,
    }
    if order.rejection_reason is not None:
        facts[f"{path}.rejectionReason"] = order.rejection_reason.value
    return facts


def _event_facts(projected: Projected) -> Fields:
    """Return the event itself and its deliveries, as facts of the order's document."""
    metadata = projected.envelope.metadata
    path = f"events.{metadata.event_id}"
    facts: Fields = {
        f"{path}.event": {
            "type": projected.envelope.event_type,
            "source": projected.envelope.event.source,
            "aggregateType": metadata.aggregate_type,
            "aggregateId": int(metadata.aggregate_id),
            "aggregateVersion": metadata.aggregate_version,
            "occurredAt": format_instant(metadata.occurred_at),
            "correlationId": metadata.correlation_id,
            "causationId": metadata.causation_id,
        }
    }
    if projected.deliveries:
        # Set, not $inc: the embedded server handles a nested $inc in an upsert wrongly.
        milliseconds = round(projected.at.timestamp() * 1000)
        facts[f"{path}.deliveries.{milliseconds}"] = projected.deliveries
    else:
        facts[f"{path}.rebuiltAt"] = format_instant(projected.at)
    return facts


def customer_key(customer_id: int, order_id: int) -> str:
    """Return the sort key of a customer's orders. Ids have at most 19 digits."""
    return f"{customer_id:019}#{order_id:019}"


def state_key(customer_id: int, state: OrderState, order_id: int) -> str:
    """Return the sort key of a customer's orders in one state."""
    return f"{customer_id:019}#{state.value}#{order_id:019}"
