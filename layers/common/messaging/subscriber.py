"""A subscriber: from a batch of the queue's messages to the handler of each event."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from messaging import log_keys
from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import DomainEventEnvelope, EventDecoder, InvalidEventError
from messaging.retry import EventAlreadyPublishedError, retry_on_conflict
from telemetry import metrics, tracing
from telemetry.metrics import Metric

logger = Logger(child=True)

_TIME_FOR_ONE_MILLISECONDS = 5_000
"""What a message may take: other writers for 4 seconds, or a database that does not answer for 3."""


class OutOfTimeError(Exception):
    """The function's time is nearly up. The message comes again; those handled so far do not."""


class Subscriber:
    """Hands each event of a batch to `handle`, which must bear any order and any number of deliveries.

    `handle` returns whether there was anything left to do: if not, the message was a duplicate.

    A message that is no event this subscriber knows goes to the dead-letter queue at once. When
    `handle` fails otherwise, the message alone comes again, until the queue gives it up.
    """

    def __init__(
        self,
        decoder: EventDecoder,
        handle: Callable[[DomainEventEnvelope], bool],
        dead_letters: DeadLetterQueue,
    ) -> None:
        self._decoder = decoder
        self._handle = handle
        self._dead_letters = dead_letters
        self._processor = BatchProcessor(
            event_type=EventType.SQS, raise_on_entire_batch_failure=False
        )

    def handle_batch(self, batch: dict[str, Any], context: Any) -> PartialItemFailureResponse:
        """Lambda's answer to the queue: the messages that are to come again, and no others.

        An empty batch, which no queue sends, warms the function up.
        """
        if not batch["Records"]:
            return {"batchItemFailures": []}

        def handle_in_time(record: SQSRecord) -> None:
            if context.get_remaining_time_in_millis() < _TIME_FOR_ONE_MILLISECONDS:
                logger.warning(
                    "no time left, will come again", extra={"message_id": record.message_id}
                )
                raise OutOfTimeError
            self._handle_message(record)

        return process_partial_response(
            event=batch,
            record_handler=handle_in_time,
            processor=self._processor,
            context=context,
        )

    def _handle_message(self, record: SQSRecord) -> None:
        try:
            envelope = self._decode(record.body)
        except InvalidEventError as error:
            logger.error(
                "message parked in the dead-letter queue",
                extra={"message_id": record.message_id, "reason": str(error)},
            )
            self._dead_letters.park(record.body, str(error))
            return
        started = time.perf_counter()
        facts = log_keys.of_event(
            envelope.event_type,
            envelope.metadata,
            customer_id=getattr(envelope.event, "customer_id", None),
            order_id=getattr(envelope.event, "order_id", None),
        )
        try:
            with tracing.subsegment(envelope.event_type, facts):
                is_news = self._handle_once(envelope)
        except Exception:
            logger.exception("event not handled, will come again", extra=facts | _duration(started))
            raise
        if is_news:
            logger.info("event handled", extra=facts | _duration(started))
        else:
            metrics.count(Metric.DUPLICATES_DROPPED)
            logger.info("duplicate dropped", extra=facts | _duration(started))

    def _handle_once(self, envelope: DomainEventEnvelope) -> bool:
        """Whether there was anything left to do."""
        try:
            return retry_on_conflict(self._handle, envelope)
        except EventAlreadyPublishedError:
            return False

    def _decode(self, body: str) -> DomainEventEnvelope:
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidEventError(f"not JSON: {error}") from error
        if not isinstance(message, dict):
            raise InvalidEventError("not an EventBridge message")
        return self._decoder.decode(
            message.get("source"), message.get("detail-type"), message.get("detail")
        )


def _duration(started: float) -> dict[str, float]:
    return {"milliseconds": round((time.perf_counter() - started) * 1000, 1)}
