"""Subscriber of the Customers service: reserves and releases credit as orders are created and cancelled."""

from __future__ import annotations

from typing import Any

import telemetry
from customers import service
from customers.repository import CustomerRepository
from messaging.dead_letters import DeadLetterQueue
from messaging.participant import SagaParticipant
from messaging.retention import Retention
from messaging.subscriber import Subscriber
from orders.events import OrderCancelled, OrderCreated
from telemetry import metrics
from telemetry.metrics import Metric

participant = SagaParticipant(CustomerRepository.from_environment())
participant.on(OrderCreated)(service.reserve_credit)
participant.on(OrderCancelled)(service.release_credit)
subscriber = Subscriber(
    participant, DeadLetterQueue.from_environment(), Retention.from_environment()
)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle a batch of order events. Return the messages that SQS must redeliver."""
    result = subscriber.handle_batch(event, context)
    metrics.count(Metric.DUPLICATES_DROPPED, result.duplicates)
    telemetry.log_invocation("batch handled", **result.log_keys)
    return result.response
