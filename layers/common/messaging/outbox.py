"""The outbox: an aggregate and the event that tells of its change are written in one transaction.

Everything else in the system rests on this. The stream of the outbox table is the change-data-capture
feed from which the relay publishes, so an event is published if, and only if, its change was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.connection import Connection
from pynamodb.exceptions import PutError, PynamoDBException, TableError, TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from messaging.domain_event import DomainEventEnvelope
from messaging.retry import ConcurrentUpdateError, EventAlreadyPublishedError
from shared.clock import format_instant
from telemetry import tracing

CONNECT_TIMEOUT_SECONDS = 1
READ_TIMEOUT_SECONDS = 3
_CONTENTION_CODES = {
    # As the reason why a transaction was cancelled
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    # As the answer to a request
    "TransactionConflictException",
    "TransactionInProgressException",
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
}


class OutboxItem(Model):
    """One event. Written once, never updated, and kept: the outbox is the log of all that happened."""

    class Meta:
        table_name = ""
        connect_timeout_seconds = CONNECT_TIMEOUT_SECONDS
        read_timeout_seconds = READ_TIMEOUT_SECONDS

    aggregate_id = UnicodeAttribute(hash_key=True, attr_name="aggregateId")
    event_id = UnicodeAttribute(range_key=True, attr_name="eventId")
    aggregate_version = NumberAttribute(attr_name="aggregateVersion")
    source = UnicodeAttribute()
    event_type = UnicodeAttribute(attr_name="eventType")
    occurred_at = UnicodeAttribute(attr_name="occurredAt")
    correlation_id = UnicodeAttribute(attr_name="correlationId")
    detail = UnicodeAttribute()
    """The event as EventBridge's `detail`, in JSON: the relay sends it as it stands."""
    trace_header = UnicodeAttribute(attr_name="traceHeader", null=True)
    """The trace in which it was written. A stream carries none, so the outbox does."""


@dataclass(frozen=True)
class ItemWrite:
    """An item to put or delete with the event, and what it means if `condition` does not hold."""

    item: Model
    condition: Condition
    error: Callable[[Mapping[str, Any]], Exception]
    """Makes the error to raise from the item as it is in the table, in DynamoDB's JSON ({} if there is none)."""


class Outbox:
    """The events published by one service."""

    def __init__(self, table_name: str, *aggregate_models: type[Model]) -> None:
        """`aggregate_models` are what the aggregates are read by: they share the outbox's client.

        Each would make its own else, and a function's first invocation take longer by that.
        """
        meta = type("Meta", (OutboxItem.Meta,), {"table_name": table_name})
        self._item_class: type[OutboxItem] = type("OutboxItem", (OutboxItem,), {"Meta": meta})
        self._not_published = OutboxItem.event_id.does_not_exist()
        self._connection = Connection(
            connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            read_timeout_seconds=READ_TIMEOUT_SECONDS,
        )
        for model in (self._item_class, *aggregate_models):
            _share(self._connection, model)

    def publish(self, envelope: DomainEventEnvelope) -> None:
        """The event is in the outbox; no aggregate changes with it.

        Raises: EventAlreadyPublishedError; ConcurrentUpdateError.
        """
        try:
            self._item(envelope).save(condition=self._not_published)
        except PutError as error:
            code = _code(error)
            if code == "ConditionalCheckFailedException":
                raise EventAlreadyPublishedError(envelope.metadata.event_id) from error
            if code in _CONTENTION_CODES:
                raise ConcurrentUpdateError from error
            raise

    def write(
        self,
        envelope: DomainEventEnvelope,
        puts: Sequence[ItemWrite],
        deletes: Sequence[ItemWrite] = (),
    ) -> None:
        """All the writes are done and the event is in the outbox; or none of it, and an error is raised.

        Raises: EventAlreadyPublishedError; ConcurrentUpdateError; what a write's `error` makes.
        """
        event = ItemWrite(
            self._item(envelope),
            self._not_published,
            lambda _: EventAlreadyPublishedError(envelope.metadata.event_id),
        )
        puts = [event, *puts]
        try:
            with TransactWrite(connection=self._connection) as transaction:
                for write in deletes:
                    transaction.delete(write.item, condition=write.condition)
                for write in puts:
                    transaction.save(write.item, write.condition, return_values="ALL_OLD")
        except TransactWriteError as error:
            # PynamoDB sends deletes before puts, and DynamoDB gives its reasons in that order.
            meaning = _translate(error, [*deletes, *puts], event)
            if meaning is None:
                raise
            raise meaning from error

    def _item(self, envelope: DomainEventEnvelope) -> OutboxItem:
        metadata = envelope.metadata
        return self._item_class(
            aggregate_id=metadata.aggregate_id,
            event_id=metadata.event_id,
            aggregate_version=metadata.aggregate_version,
            source=envelope.event.source,
            event_type=envelope.event_type,
            occurred_at=format_instant(metadata.occurred_at),
            correlation_id=metadata.correlation_id,
            detail=envelope.to_detail(),
            trace_header=tracing.header(),
        )


def _share(connection: Connection, model: type[Model]) -> None:
    """The model's calls are made by the connection."""
    of_table = model._get_connection()  # noqa: SLF001, PynamoDB has no other way to say it
    try:
        connection.get_meta_table(of_table.table_name)
    except TableError:
        connection.add_meta_table(of_table.connection.get_meta_table(of_table.table_name))
    of_table.connection = connection


def _translate(
    error: TransactWriteError, writes: Sequence[ItemWrite], event: ItemWrite
) -> Exception | None:
    """What the cancelled transaction means: first that the event is there already, then the rest in order.

    None if it means nothing to us.
    """
    reasons = error.cancellation_reasons
    if _code(error) in _CONTENTION_CODES:
        return ConcurrentUpdateError()
    failed = {
        id(write): reason
        for write, reason in zip(writes, reasons, strict=False)
        if reason is not None and reason.code == "ConditionalCheckFailed"
    }
    for write in (event, *writes):
        if reason := failed.get(id(write)):
            return write.error(reason.raw_item or {})
    if any(reason is not None and reason.code in _CONTENTION_CODES for reason in reasons):
        return ConcurrentUpdateError()
    return None


def _code(error: PynamoDBException) -> str | None:
    """DynamoDB's code for what went wrong; None where there was no answer, on which PynamoDB's own property fails."""
    response = getattr(error.cause, "response", None) or {}
    code: str | None = response.get("Error", {}).get("Code")
    return code
