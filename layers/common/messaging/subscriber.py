"""A subscriber: from a batch of the queue's messages to the handler of each event."""

from __future__ import annotations

import json
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

from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import DomainEventEnvelope, EventDecoder, InvalidEventError
from messaging.outbox import EventAlreadyPublishedError, retry_on_conflict

logger = Logger(child=True)

_TIME_FOR_ONE_MILLISECONDS = 5_000
"""What a message may take: other writers for 4 seconds, or a database that does not answer for 3."""


class OutOfTimeError(Exception):
    """The function's time is nearly up. The message comes again; those handled so far do not."""


class Subscriber:
    """Hands each event of a batch to `handle`, which must bear any order and any number of deliveries.

    A message that is no event this subscriber knows goes to the dead-letter queue at once. When
    `handle` fails otherwise, the message alone comes again, until the queue gives it up.
    """

    def __init__(
        self,
        decoder: EventDecoder,
        handle: Callable[[DomainEventEnvelope], None],
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
        facts = {
            "event_type": envelope.event_type,
            "event_id": envelope.metadata.event_id,
            "aggregate_id": envelope.metadata.aggregate_id,
            "aggregate_version": envelope.metadata.aggregate_version,
            "correlation_id": envelope.metadata.correlation_id,
        }
        try:
            retry_on_conflict(self._handle, envelope)
        except EventAlreadyPublishedError:
            logger.info("duplicate dropped", extra=facts)
        except Exception:
            logger.exception("event not handled, will come again", extra=facts)
            raise
        else:
            logger.info("event handled", extra=facts)

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
