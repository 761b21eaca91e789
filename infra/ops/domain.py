"""The product's own rules for events and orders. No other module of infra.ops imports layers/common."""

from __future__ import annotations

from customers.events import CustomerEvent
from messaging.domain_event import Cause
from orders.events import OrderEvent, OrderState
from orders.saga import Sagas, stream_record

__all__ = ["CUSTOMERS", "ORDERS", "SERVICES", "OrderState", "Sagas", "answer_id", "stream_record"]

CUSTOMERS, ORDERS = CustomerEvent.source, OrderEvent.source
SERVICES = {CUSTOMERS: "Customers", ORDERS: "Orders"}
"""Names of the services by the source of their events."""


def answer_id(event_id: str, source: str) -> str:
    """Return the only id that an event of `source` in answer to the event can have."""
    return Cause("", event_id).effect_id(source)
