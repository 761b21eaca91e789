"""Customer events to Orders: credit reserved approves the order, anything else rejects it."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger

from customers.events import (
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import DomainEventEnvelope, EventDecoder
from messaging.subscriber import Subscriber
from orders import service
from orders.events import RejectionReason
from orders.repository import OrderRepository
from telemetry import metrics

logger = Logger()
orders = OrderRepository(os.environ["ORDERS_TABLE"], os.environ["ORDERS_OUTBOX_TABLE"])


def handle(envelope: DomainEventEnvelope) -> bool:
    cause = envelope.cause_of_effects
    match envelope.event:
        case CustomerCreditReserved(order_id=order_id):
            return service.note_credit_reserved(orders, order_id, cause)
        case CustomerCreditReservationFailed(order_id=order_id):
            reason = RejectionReason.INSUFFICIENT_CREDIT
            return service.note_credit_not_reserved(orders, order_id, reason, cause)
        case CustomerValidationFailed(order_id=order_id):
            reason = RejectionReason.UNKNOWN_CUSTOMER
            return service.note_credit_not_reserved(orders, order_id, reason, cause)
    return False


subscriber = Subscriber(
    EventDecoder(
        [CustomerCreditReserved, CustomerCreditReservationFailed, CustomerValidationFailed]
    ),
    handle,
    DeadLetterQueue(os.environ["DEAD_LETTER_QUEUE_URL"]),
)


@metrics.emitted
@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return subscriber.handle_batch(event, context)
