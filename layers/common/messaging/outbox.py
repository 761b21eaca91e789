"""The outbox: each state change and its event commit in one DynamoDB transaction.

The stream of the outbox table is the change-data-capture feed from which the relay publishes. So an event is
published if and only if its state change committed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.models import Model

from messaging.dynamodb import ConditionFailedError, Database, Write
from messaging.envelope import DomainEventEnvelope
from messaging.retention import Retention
from shared.clock import format_instant
from telemetry import tracing


class EventAlreadyPublishedError(Exception):
    """Some of these events are in the outbox: the messages that caused them were handled before. Nothing was written."""

    def __init__(self, event_ids: Collection[str]) -> None:
        self.event_ids = event_ids


class OutboxItem(Model):
    """One event. Inserted once; only personal data in it is replaced. The log of all events that have not expired."""

    class Meta:
        table_name = ""  # given to each request: messaging/dynamodb.py

    aggregate_id = UnicodeAttribute(hash_key=True, attr_name="aggregateId")
    event_id = UnicodeAttribute(range_key=True, attr_name="eventId")
    aggregate_version = NumberAttribute(attr_name="aggregateVersion")
    source = UnicodeAttribute()
    event_type = UnicodeAttribute(attr_name="eventType")
    occurred_at = UnicodeAttribute(attr_name="occurredAt")
    correlation_id = UnicodeAttribute(attr_name="correlationId")
    detail = UnicodeAttribute()
    """The event as EventBridge's `detail`, in JSON. The relay sends it unchanged."""
    trace_header = UnicodeAttribute(attr_name="traceHeader", null=True)
    """The trace in which the event was written. Streams do not carry trace headers."""
    expires_at = NumberAttribute(attr_name="expiresAt", null=True)
    """The table's TTL attribute; without it, the event is kept for ever."""


class Outbox:
    """The events that one service publishes."""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table
        self._retention = Retention.from_environment()

    def write(
        self, events: Sequence[DomainEventEnvelope], aggregate_writes: Sequence[Write] = ()
    ) -> None:
        """Commit the aggregates' writes and their events atomically.

        Raises: EventAlreadyPublishedError; ConditionFailedError; WriteConflictError.
        """
        inserts = [self._insert(envelope) for envelope in events]
        try:
            self._database.write([*inserts, *aggregate_writes])
        except ConditionFailedError as error:
            # A redelivered event fails the aggregate's version condition too. It is a duplicate, not a conflict.
            ids = {envelope.metadata.event_id for envelope in events}
            items = [w.item for w, _ in error.failed if isinstance(w.item, OutboxItem)]
            if published := [item.event_id for item in items if item.event_id in ids]:
                raise EventAlreadyPublishedError(published) from error
            raise

    def replace_data(
        self, aggregate_id: int, event_type: str, event_id: str | None, data: Mapping[str, Any]
    ) -> Sequence[Write]:
        """Return the write that replaces fields of an aggregate's only event of a type; none if it is not stored.

        Without the event's id, all events of the aggregate are read, in pages of 1 MB. The stream has the write as
        MODIFY, which the relay's filter leaves out.
        """
        key = {"aggregateId": {"S": str(aggregate_id)}}
        if event_id is not None:
            key["eventId"] = {"S": event_id}
        for found in self._database.query(self._table, key, {"eventType": {"S": event_type}}):
            item = OutboxItem.from_raw_data(dict(found))
            detail = json.loads(item.detail)
            detail["data"] |= data
            item.detail = json.dumps(detail, separators=(",", ":"))
            return [Write(self._table, item, OutboxItem.event_id.exists())]
        return []

    def _insert(self, envelope: DomainEventEnvelope) -> Write:
        metadata = envelope.metadata
        item = OutboxItem(
            aggregate_id=metadata.aggregate_id,
            event_id=metadata.event_id,
            aggregate_version=metadata.aggregate_version,
            source=envelope.event.source,
            event_type=envelope.event_type,
            occurred_at=format_instant(metadata.occurred_at),
            correlation_id=metadata.correlation_id,
            detail=envelope.to_detail(),
            trace_header=tracing.header(),
            expires_at=self._retention.expires_at(metadata.occurred_at),
        )
        return Write(self._table, item, OutboxItem.event_id.does_not_exist())
