"""The stream of an outbox table to the event bus. One function per outbox, the same code."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger

from messaging.dead_letters import DeadLetterQueue
from messaging.relay import Relay
from telemetry import metrics

logger = Logger()
relay = Relay(os.environ["EVENT_BUS_NAME"], DeadLetterQueue(os.environ["DEAD_LETTER_QUEUE_URL"]))


@metrics.emitted
@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], _context: Any) -> None:
    events = relay.publish(event["Records"])
    logger.info("events published", extra={"published": len(events), "events": events})
