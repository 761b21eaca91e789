"""The projection: which change each event makes to the view.

Events arrive in any order and any number of times. Each change is therefore given with the version
of the aggregate that it tells of, and the view keeps the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from customers.events import CustomerCreated, CustomerCreditReleased, CustomerCreditReserved
from messaging.domain_event import DomainEventEnvelope
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
    from order_history.mongodb import OrderHistoryView

EVENTS = (
    CustomerCreated,
    CustomerCreditReserved,
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


def project(envelope: DomainEventEnvelope, view: OrderHistoryView) -> bool:
    """The view knows what the event tells. It never goes back behind what it knew before: then False."""
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
