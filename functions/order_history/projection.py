"""Customer and order events to the order history view."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger

from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import DomainEventEnvelope, EventDecoder
from messaging.subscriber import Subscriber
from order_history.projection import EVENTS, project
from order_history.view import connect_from_environment
from shared.clock import now
from telemetry import metrics
from telemetry.metrics import Metric

logger = Logger()
view = connect_from_environment()


def handle(envelope: DomainEventEnvelope) -> bool:
    view.ensure_indexes()
    # What is late or comes again tells nothing of how far the view lags behind. It may still fill a gap in
    # an order's timeline, so it counts as handled.
    if project(envelope, view, delivered_at=now()):
        metrics.measure(Metric.VIEW_LAG, envelope.metadata.occurred_at)
    return True


subscriber = Subscriber(
    EventDecoder(EVENTS), handle, DeadLetterQueue(os.environ["DEAD_LETTER_QUEUE_URL"])
)


@metrics.emitted
@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return subscriber.handle_batch(event, context)
