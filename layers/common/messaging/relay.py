"""The relay: from the outbox table's stream to the event bus, in order, losing nothing.

An event may reach the bus more than once: the batch comes again after a failure, and subscribers
drop what they have handled.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from messaging import log_keys
from messaging.dead_letters import DeadLetterQueue
from messaging.domain_event import InvalidEventError, decode_metadata
from telemetry import metrics
from telemetry.metrics import Metric

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

logger = Logger(child=True)

_MAX_ENTRIES = 10
_MAX_BYTES = 256 * 1024
"""Of one PutEvents call, all entries together.
Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html"""
_MAX_PARKED_BYTES = _MAX_BYTES - 4096
"""Of a record in the dead-letter queue, which takes _MAX_BYTES with the reason."""
_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.05
_CONNECT_TIMEOUT_SECONDS = 1
_READ_TIMEOUT_SECONDS = 3


class EventsNotPublishedError(Exception):
    """The bus did not take some events; the whole batch must come again."""


@dataclass(frozen=True)
class _Entry:
    request: PutEventsRequestEntryTypeDef
    size: int
    facts: dict[str, Any]
    occurred_at: datetime


class Relay:
    """Publishes outbox items to the bus named `bus_name`."""

    def __init__(self, bus_name: str, dead_letters: DeadLetterQueue) -> None:
        self._bus_name = bus_name
        self._dead_letters = dead_letters

    def publish(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Every event in the stream's records is on the bus; returns what a log line says of each.

        A record that can never be published is parked in the dead-letter queue instead, so that it
        does not hold up the shard for ever.
        Raises: EventsNotPublishedError if the bus keeps refusing some; they and others may be on the bus.
        """
        entries, refused = [], []
        for record in records:
            try:
                entries.append(to_entry(record, self._bus_name))
            except InvalidEventError as error:
                refused.append((record, str(error)))
        for chunk in _chunks(entries):
            self._put(chunk)
        # Now that all are on the bus: a batch that comes again tells of each once.
        for entry in entries:
            metrics.measure(Metric.RELAY_LAG, entry.occurred_at)
        for record, reason in refused:  # last, so that a batch that comes again is parked once
            self._park(record, reason)
        return [entry.facts for entry in entries]

    def _park(self, record: dict[str, Any], reason: str) -> None:
        body = json.dumps(record)
        if len(body) > _MAX_PARKED_BYTES:  # the keys lead to the item
            body = json.dumps({"dynamodb": {"Keys": record["dynamodb"]["Keys"]}})
        event_id = record.get("dynamodb", {}).get("Keys", {}).get("eventId", {}).get("S")
        logger.error(
            "record parked in the dead-letter queue",
            extra={"event_id": event_id, "reason": reason},
        )
        self._dead_letters.park(body, reason)

    def _put(self, chunk: list[_Entry]) -> None:
        """Sends what the bus has not taken again and again, before anything later is sent."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, _FIRST_PAUSE_SECONDS * 2**attempt))  # full jitter
            try:
                answer = self._events.put_events(Entries=[entry.request for entry in chunk])
            except (BotoCoreError, ClientError) as error:
                logger.warning("PutEvents failed", extra={"reason": str(error)})
                continue
            if not answer["FailedEntryCount"]:
                return
            results = list(zip(chunk, answer["Entries"], strict=True))
            chunk = [entry for entry, result in results if "EventId" not in result]
            codes = sorted({result.get("ErrorCode", "") for _, result in results} - {""})
            logger.warning("entries refused", extra={"refused": len(chunk), "codes": codes})
        raise EventsNotPublishedError(f"{len(chunk)} events after {_ATTEMPTS} attempts")

    @cached_property
    def _events(self) -> EventBridgeClient:
        # botocore would wait for an answer longer than the function may run, and try again by itself.
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            read_timeout=_READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
        )
        return boto3.client("events", config=config)


def to_entry(record: dict[str, Any], bus_name: str) -> _Entry:
    """The PutEvents entry for a stream record of an outbox table.

    Raises: InvalidEventError if the record holds no event, or one too large for the bus.
    """
    image = record.get("dynamodb", {}).get("NewImage", {})
    try:
        source, event_type, text = (image[n]["S"] for n in ("source", "eventType", "detail"))
        detail = json.loads(text)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidEventError(f"not an outbox item: {error!r}") from error
    metadata = decode_metadata(detail)
    # The bus accepts what rules cannot read; only here can it still be kept from getting lost.
    data = detail.get("data")
    if not isinstance(data, dict):
        raise InvalidEventError("the event has no data")
    size = sum(len(part.encode()) for part in (source, event_type, text))
    if size > _MAX_BYTES:
        raise InvalidEventError(f"{size} bytes, and the bus takes {_MAX_BYTES}")
    request: PutEventsRequestEntryTypeDef = {
        "EventBusName": bus_name,
        "Source": source,
        "DetailType": event_type,
        "Detail": text,
    }
    if "traceHeader" in image:
        # What follows is in the trace in which the event was written.
        request["TraceHeader"] = image["traceHeader"]["S"]
    return _Entry(
        request,
        size,
        log_keys.of_event(
            event_type,
            metadata,
            customer_id=data.get("customerId"),
            order_id=data.get("orderId"),
        ),
        metadata.occurred_at,
    )


def _chunks(entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    chunk: list[_Entry] = []
    for entry in entries:
        full = len(chunk) == _MAX_ENTRIES
        if chunk and (full or sum(e.size for e in chunk) + entry.size > _MAX_BYTES):
            yield chunk
            chunk = []
        chunk.append(entry)
    if chunk:
        yield chunk
