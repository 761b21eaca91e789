"""The relay: publishes outbox items from the table's stream to the event bus, in the stream's order.

An event may reach the bus more than once, because a failed batch is retried. Subscribers are idempotent.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from messaging.dead_letters import DeadLetterQueue
from messaging.dynamodb import USER_AGENT
from messaging.envelope import InvalidEventError, decode_metadata, log_keys

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

logger = Logger(child=True)

MAX_ENTRIES = 10
"""Entries of one PutEvents call."""
MAX_BYTES = 256 * 1024
"""Size of one PutEvents call, all entries together. The smaller of two documented limits: 256 KB in
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html, 1 MB in the EventBridge quotas
https://docs.aws.amazon.com/general/latest/gr/ev.html. Events of this system have about 1 KB."""
MAX_LETTER_BYTES = 240 * 1024
"""Largest record sent to the dead-letter queue; of a larger one, its keys. SQS takes 256 KiB in every region."""
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.05
MAX_TRACE_HEADER = 500
"""Longest trace header of an entry, in characters. Source: PutEventsRequestEntry in the EventBridge API reference."""
CONNECT_TIMEOUT_SECONDS = 1
READ_TIMEOUT_SECONDS = 3
PERMANENT_ERRORS = {"InvalidArgument", "MalformedDetail", "NotAuthorizedForSource"}
"""Error codes of entries that the bus never accepts. Source:
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html"""


class EventsNotPublishedError(Exception):
    """The bus did not accept some events. The whole batch must be retried."""


@dataclass(frozen=True)
class Entry:
    """An outbox item as an entry of PutEvents."""

    record: dict[str, Any]
    request: PutEventsRequestEntryTypeDef
    size: int
    log_keys: dict[str, Any]


@dataclass
class RelayResult:
    """The outcome of a batch of stream records."""

    published: list[Entry] = field(default_factory=list)
    dead_letters: int = 0


class Relay:
    """Publishes outbox items to the bus `bus_name`."""

    def __init__(
        self, bus_name: str, dead_letters: DeadLetterQueue, max_bytes: int = MAX_BYTES
    ) -> None:
        self._bus_name = bus_name
        self._dead_letters = dead_letters
        self._max_bytes = max_bytes
        # Made here, while Lambda initializes the function, so that the first event does not wait for it.
        # botocore's own time-outs and retries exceed the function's time limit.
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
            parameter_validation=False,  # the entries are built here
            user_agent=USER_AGENT,
        )
        self._events: EventBridgeClient = boto3.client("events", config=config)

    def publish(self, records: Sequence[dict[str, Any]]) -> RelayResult:
        """Publish the events of the stream records.

        A record that can never be published goes to the dead-letter queue, so that it does not block the shard.
        Raises: EventsNotPublishedError if the bus keeps refusing some; they and others may have been published.
        """
        result = RelayResult()
        entries: list[Entry] = []
        refused: list[tuple[dict[str, Any], str]] = []
        for record in records:
            try:
                entries.append(self._to_entry(record))
            except InvalidEventError as error:
                refused.append((record, str(error)))
            except Exception as error:  # noqa: BLE001, one record must never block the shard
                refused.append((record, f"unexpected {type(error).__name__}: {error}"))
        for chunk in self._chunks(entries):
            refused += self._put(chunk, result)
        # Last, so that a retried batch sends its dead letters once.
        for record, reason in refused:
            self._send_to_dead_letters(record, reason)
            result.dead_letters += 1
        return result

    def _put(self, chunk: list[Entry], result: RelayResult) -> list[tuple[dict[str, Any], str]]:
        """Publish a chunk, retrying refused entries before any later chunk. Return the records refused for good."""
        refused: list[tuple[dict[str, Any], str]] = []
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, FIRST_PAUSE_SECONDS * 2**attempt))  # full jitter
            try:
                answer = self._events.put_events(Entries=[entry.request for entry in chunk])
            except (BotoCoreError, ClientError) as error:
                logger.warning("PutEvents failed", extra={"reason": str(error)})
                continue
            failed: list[Entry] = []
            for entry, answered in zip(chunk, answer["Entries"], strict=True):
                code = answered.get("ErrorCode")
                if code in PERMANENT_ERRORS:
                    refused.append((entry.record, f"{code}: {answered.get('ErrorMessage', '')}"))
                elif code or "EventId" not in answered:
                    failed.append(entry)
                else:
                    result.published.append(entry)
            if not failed:
                return refused
            codes = sorted({str(a.get("ErrorCode")) for a in answer["Entries"] if "ErrorCode" in a})
            logger.warning("entries refused", extra={"refused": len(failed), "codes": codes})
            chunk = failed
        raise EventsNotPublishedError(f"{len(chunk)} events after {ATTEMPTS} attempts")

    def _to_entry(self, record: dict[str, Any]) -> Entry:
        """Convert a stream record with an event of any schema version.

        Raises: InvalidEventError if it has no event, or one too large for the bus.
        """
        try:
            image = record["dynamodb"]["NewImage"]
            source, event_type, text = (image[n]["S"] for n in ("source", "eventType", "detail"))
            detail = json.loads(text)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InvalidEventError(f"not an outbox item: {error!r}") from error
        metadata = decode_metadata(detail)
        # PutEvents accepts details that rules cannot read, and drops them.
        data = detail.get("data")
        if not isinstance(data, dict):
            raise InvalidEventError("the event has no data")
        size = sum(len(part.encode()) for part in (source, event_type, text))
        if size > self._max_bytes:
            raise InvalidEventError(f"{size} bytes exceed the bus's limit of {self._max_bytes}")
        request: PutEventsRequestEntryTypeDef = {
            "EventBusName": self._bus_name,
            "Source": source,
            "DetailType": event_type,
            "Detail": text,
        }
        trace_header = image.get("traceHeader", {}).get("S")
        # An invalid header would fail the call for all entries. Without one, only the trace is lost.
        if isinstance(trace_header, str) and 1 <= len(trace_header) <= MAX_TRACE_HEADER:
            request["TraceHeader"] = trace_header  # subscribers continue the trace of the writer
        ids = data.get("customerId"), data.get("orderId")
        return Entry(record, request, size, log_keys(event_type, metadata, *ids))

    def _chunks(self, entries: Sequence[Entry]) -> Iterator[list[Entry]]:
        """Split the entries, in order, into calls within the bus's limits."""
        chunk: list[Entry] = []
        for entry in entries:
            size = sum(e.size for e in chunk) + entry.size
            if chunk and (len(chunk) == MAX_ENTRIES or size > self._max_bytes):
                yield chunk
                chunk = []
            chunk.append(entry)
        if chunk:
            yield chunk

    def _send_to_dead_letters(self, record: dict[str, Any], reason: str) -> None:
        body = json.dumps(record)
        change = record.get("dynamodb")
        keys = change.get("Keys", {}) if isinstance(change, dict) else {}
        if len(body.encode()) > MAX_LETTER_BYTES:  # the keys identify the outbox item
            body = json.dumps({"dynamodb": {"Keys": keys}})
        self._dead_letters.send(body, reason)
        logger.error("record sent to the dead-letter queue", extra={"key": keys, "reason": reason})
