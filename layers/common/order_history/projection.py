"""The projection: which change each event makes to the view.

Events arrive in any order and any number of times. Each change is therefore given with the version
of the aggregate that it tells of, and the view keeps the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from customers.events import (
    CustomerCreated,
    CustomerCreditReleased,
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from messaging.domain_event import DomainEvent, DomainEventEnvelope
from orders.events import (
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderRejected,
    OrderState,
    RejectionReason,
)
from shared.money import Money

if TYPE_CHECKING:
    from order_history.view import OrderHistoryView

EVENTS = (
    CustomerCreated,
    CustomerCreditReserved,
    CustomerCreditReservationFailed,
    CustomerValidationFailed,
    CustomerCreditReleased,
    OrderCreated,
    OrderApproved,
    OrderRejected,
    OrderCancelled,
)


@dataclass(frozen=True, kw_only=True)
class OrderSnapshot:
    """An order as of one of its versions."""

    order_id: int
    customer_id: int
    order_total: Money
    state: OrderState
    rejection_reason: RejectionReason | None
    created_at: datetime
    version: int
    changed_at: datetime
    """When this version came to be."""


def project(
    envelope: DomainEventEnvelope, view: OrderHistoryView, delivered_at: datetime | None = None
) -> bool:
    """The view knows what the event tells. It never goes back behind what it knew before: then False.

    `delivered_at` is when the event was delivered, which the view counts. None is for an event that
    was read elsewhere: from an outbox, to rebuild the view.
    """
    order_id = _order_of(envelope.event)
    if order_id is not None:
        # First, so that a delivery counts that goes no further.
        view.put_event(envelope, order_id, delivered_at)
    version = envelope.metadata.aggregate_version
    match envelope.event:
        case CustomerCreated(customer_id=customer_id, name=name, credit_limit=credit_limit):
            # The name comes last: a document that has it is a customer, with all there is to one.
            is_news = view.put_available_credit(customer_id, credit_limit, version)
            view.put_customer(customer_id, name, credit_limit)
            return is_news
        case (
            CustomerCreditReserved(customer_id=customer_id, available_credit=available)
            | CustomerCreditReleased(customer_id=customer_id, available_credit=available)
        ):
            return view.put_available_credit(customer_id, available, version)
        case OrderEvent() as event:
            return view.put_order(
                OrderSnapshot(
                    order_id=event.order_id,
                    customer_id=event.customer_id,
                    order_total=event.order_total,
                    state=event.state,
                    rejection_reason=event.rejection_reason,
                    created_at=event.created_at,
                    version=version,
                    changed_at=envelope.metadata.occurred_at,
                )
            )
    return False


def _order_of(event: DomainEvent) -> int | None:
    """The order that the event concerns."""
    match event:
        case (
            OrderEvent(order_id=order_id)
            | CustomerCreditReserved(order_id=order_id)
            | CustomerCreditReservationFailed(order_id=order_id)
            | CustomerValidationFailed(order_id=order_id)
            | CustomerCreditReleased(order_id=order_id)
        ):
            return order_id
        case _:
            return None
