"""Subscriber of the Orders service: approves and rejects orders as credit is reserved or refused."""

from __future__ import annotations

from typing import Any

import telemetry
from customers.events import (
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from messaging.dead_letters import DeadLetterQueue
from messaging.participant import SagaParticipant
from messaging.retention import Retention
from messaging.subscriber import Subscriber
from orders import service
from orders.repository import OrderRepository
from telemetry import metrics
from telemetry.metrics import Metric

participant = SagaParticipant(OrderRepository.from_environment())
participant.on(CustomerCreditReserved)(service.approve_order)
participant.on(CustomerCreditReservationFailed)(service.reject_order)
participant.on(CustomerValidationFailed)(service.reject_order)
subscriber = Subscriber(
    participant, DeadLetterQueue.from_environment(), Retention.from_environment()
)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle a batch of customer events. Return the messages that SQS must redeliver."""
    result = subscriber.handle_batch(event, context)
    for handled in result.handled:
        telemetry.record(handled.published)
    metrics.count(Metric.DUPLICATES_DROPPED, result.duplicates)
    telemetry.log_invocation("batch handled", **result.log_keys)
    return result.response
