"""Projection of the Order history service: keeps the view up to date with the events of both services."""

from __future__ import annotations

from typing import Any

import telemetry
from messaging.dead_letters import DeadLetterQueue
from messaging.subscriber import Subscriber
from order_history.connection import connect_from_environment
from order_history.view import OrderHistoryView
from telemetry import metrics
from telemetry.metrics import Metric

view = OrderHistoryView(connect_from_environment())
subscriber = Subscriber(view, DeadLetterQueue.from_environment())


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Project a batch of events. Return the messages that SQS must redeliver."""
    result = subscriber.handle_batch(event, context)
    for handled in result.handled:
        if handled.changed:  # the age of a stale event says nothing about the view
            metrics.measure(Metric.VIEW_LAG, handled.delivery.envelope.metadata.occurred_at)
    metrics.count(Metric.DUPLICATES_DROPPED, result.duplicates)
    telemetry.log_invocation("batch handled", **result.log_keys)
    return result.response
