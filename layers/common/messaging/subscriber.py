"""A subscriber: handles a batch of a queue's messages as one unit of work.

Only the messages that failed are reported to SQS, which redelivers them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import DomainEvent
from messaging.envelope import DomainEventEnvelope, EventDecoder, InvalidEventError
from messaging.retention import FOR_EVER, Retention
from shared.clock import now

logger = Logger(child=True)

SECONDS_PER_MESSAGE = 5.0
"""Time that a message may take: 4 s of conflicts (retry.py), or 4 s until a database times out.
A message for which less time is left is not tried."""


@dataclass(frozen=True)
class Delivery:
    """An event and the messages of the batch that carry it. EventBridge and SQS may deliver it more than once."""

    envelope: DomainEventEnvelope
    message_ids: tuple[str, ...]

    @property
    def id(self) -> str:
        """The event's id."""
        return self.envelope.metadata.event_id


@dataclass(frozen=True)
class Handled:
    """The outcome of one event. `changed` is False for an event that had been handled before or is stale."""

    delivery: Delivery
    changed: bool
    published: DomainEventEnvelope | None
    """The event that was published in answer, if any."""


class EventHandler(Protocol):
    """Handles the events of a batch. SagaParticipant and the projection are the implementations."""

    @property
    def event_classes(self) -> Collection[type[DomainEvent]]:
        """The events that the handler subscribes to."""

    def handle(
        self, deliveries: Sequence[Delivery], seconds_left: Callable[[], float]
    ) -> Iterable[Handled]:
        """Handle the events. Return or yield the outcomes that are committed; raise if others failed."""


@dataclass
class BatchResult:
    """The outcome of a batch."""

    handled: list[Handled] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Ids of the messages that SQS must redeliver."""
    dead_letters: int = 0

    @property
    def response(self) -> dict[str, list[dict[str, str]]]:
        """Lambda's partial batch response.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
        """
        return {"batchItemFailures": [{"itemIdentifier": failed} for failed in self.failed]}

    @property
    def duplicates(self) -> int:
        """The number of deliveries that changed nothing."""
        repeated = sum(len(h.delivery.message_ids) - 1 for h in self.handled)
        return repeated + sum(not h.changed for h in self.handled)

    @property
    def log_keys(self) -> dict[str, Any]:
        """The batch as keys of a log line."""
        events = []
        for handled in self.handled:
            keys = handled.delivery.envelope.log_keys
            if not handled.changed:
                keys["changed"] = False
            events.append(keys)
        return {
            "events": events,
            "failed": len(self.failed),
            "dead_letters": self.dead_letters,
            "duplicates": self.duplicates,
        }


class Subscriber:
    """Decodes messages and gives their events to `handler`, which must be idempotent and ignore their order.

    A message that can never be read is sent to the dead-letter queue at once, and so is an event whose redelivery the
    handler could not recognize: it is too old for the `retention` of the handler's outbox. If the handler raises, the
    remaining events are handled one at a time, so that a failing message fails alone.
    """

    def __init__(
        self,
        handler: EventHandler,
        dead_letters: DeadLetterQueue,
        retention: Retention = FOR_EVER,
    ) -> None:
        self._handler = handler
        self._decoder = EventDecoder(handler.event_classes)
        self._dead_letters = dead_letters
        self._retention = retention

    def handle_batch(self, batch: dict[str, Any], context: Any) -> BatchResult:
        """Handle the messages of an SQS event. An empty batch starts the execution environment and does nothing."""
        deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000
        result = BatchResult()
        deliveries = self._decode(batch["Records"], result)
        if deliveries:
            self._handle(deliveries, result, lambda: deadline - time.monotonic())
        return result

    def _decode(self, records: Sequence[dict[str, Any]], result: BatchResult) -> list[Delivery]:
        """Decode the messages, in their order, with several deliveries of one event as one."""
        deliveries: dict[str, Delivery] = {}
        for record in records:
            message_id = str(record["messageId"])
            try:
                envelope = self._decode_body(record["body"])
            except InvalidEventError as error:
                self._send_to_dead_letters(record, str(error), result)
                continue
            except Exception:
                logger.exception(
                    "message not decoded", extra={"message_id": message_id, "retry": True}
                )
                result.failed.append(message_id)
                continue
            known = deliveries.get(envelope.metadata.event_id)
            ids = (*known.message_ids, message_id) if known else (message_id,)
            deliveries[envelope.metadata.event_id] = Delivery(envelope, ids)
        return list(deliveries.values())

    def _decode_body(self, body: str) -> DomainEventEnvelope:
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidEventError(f"not JSON: {error}") from error
        if not isinstance(message, dict):
            raise InvalidEventError("not an EventBridge message")
        envelope = self._decoder.decode(
            message.get("source"), message.get("detail-type"), message.get("detail")
        )
        if self._retention.is_too_old(envelope.metadata.occurred_at, now()):
            raise InvalidEventError(
                f"older than the outbox's {self._retention.days} days: it may have been handled before"
            )
        return envelope

    def _send_to_dead_letters(
        self, record: dict[str, Any], reason: str, result: BatchResult
    ) -> None:
        keys = {"message_id": record["messageId"], "reason": reason}
        try:
            self._dead_letters.send(record["body"], reason)
        except Exception:
            logger.exception("message not sent to the dead-letter queue", extra=keys)
            result.failed.append(record["messageId"])
            return
        logger.error("message sent to the dead-letter queue", extra=keys)
        result.dead_letters += 1

    def _handle(
        self,
        deliveries: Sequence[Delivery],
        result: BatchResult,
        seconds_left: Callable[[], float],
    ) -> None:
        pending = {delivery.id: delivery for delivery in deliveries}
        if seconds_left() < SECONDS_PER_MESSAGE:
            for delivery in deliveries:
                logger.warning("no time left for the event", extra=delivery.envelope.log_keys)
                result.failed.extend(delivery.message_ids)
            return
        try:
            for handled in self._handler.handle(deliveries, seconds_left):
                result.handled.append(handled)
                del pending[handled.delivery.id]
        except Exception:
            if len(deliveries) > 1:
                for delivery in pending.values():
                    self._handle([delivery], result, seconds_left)
                return
            (delivery,) = deliveries
            keys = delivery.envelope.log_keys | {"retry": True}
            logger.exception("event handler failed", extra=keys)
            result.failed.extend(delivery.message_ids)
