"""Order events to Customers: an order's creation reserves credit, its cancellation releases it."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger

from customers import service
from customers.repository import CustomerRepository
from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import DomainEventEnvelope, EventDecoder
from messaging.subscriber import Subscriber
from orders.events import OrderCancelled, OrderCreated
from telemetry import metrics

logger = Logger()
customers = CustomerRepository(os.environ["CUSTOMERS_TABLE"], os.environ["CUSTOMERS_OUTBOX_TABLE"])


def handle(envelope: DomainEventEnvelope) -> bool:
    cause = envelope.cause_of_effects
    match envelope.event:
        case OrderCreated() as order:
            return service.reserve_credit(
                customers, order.customer_id, order.order_id, order.order_total, cause
            )
        case OrderCancelled() as order:
            return service.release_credit(customers, order.customer_id, order.order_id, cause)
    return False


subscriber = Subscriber(
    EventDecoder([OrderCreated, OrderCancelled]),
    handle,
    DeadLetterQueue(os.environ["DEAD_LETTER_QUEUE_URL"]),
)


@metrics.emitted
@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return subscriber.handle_batch(event, context)
