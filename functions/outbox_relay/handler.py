"""Relay from the stream of an outbox table to the event bus. One function per outbox, with the same code."""

from __future__ import annotations

import os
from typing import Any

import telemetry
from messaging.dead_letters import DeadLetterQueue
from messaging.relay import Relay

relay = Relay(os.environ["EVENT_BUS_NAME"], DeadLetterQueue.from_environment())


def lambda_handler(event: dict[str, Any], _context: Any) -> None:
    """Publish the events of a batch of stream records. Raises: EventsNotPublishedError, to retry the batch."""
    result = relay.publish(event["Records"])
    telemetry.log_invocation(
        "events published",
        events=[entry.log_keys for entry in result.published],
        dead_letters=result.dead_letters,
    )
