"""Customer and order events to the order history view."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger

from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import DomainEventEnvelope, EventDecoder
from messaging.subscriber import Subscriber
from order_history.mongodb import connect_from_environment
from order_history.projection import EVENTS, project

logger = Logger()
view = connect_from_environment()


def handle(envelope: DomainEventEnvelope) -> None:
    view.ensure_indexes()
    project(envelope, view)


subscriber = Subscriber(
    EventDecoder(EVENTS), handle, DeadLetterQueue(os.environ["DEAD_LETTER_QUEUE_URL"])
)


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return subscriber.handle_batch(event, context)
