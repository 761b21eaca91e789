"""The events in the outbox tables: read them, find the answers to them, publish them again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from infra.ops.domain import CUSTOMERS, SERVICES, answer_id, stream_record
from infra.ops.target import OperateError, Target
from infra.ops.untrusted import Json, id_at, instant, parse_object, text_at, value_at

RECORDS_PER_INVOCATION = 10


@dataclass(frozen=True)
class StoredEvent:
    """An item of an outbox table. Attributes that are missing or malformed are empty."""

    id: str
    type: str
    source: str
    version: str
    occurred_at: datetime
    correlation_id: str
    customer_id: int | None
    order_id: int | None
    item: Json
    """In DynamoDB's JSON."""

    @classmethod
    def of(cls, item: Json) -> StoredEvent:
        """Read the item, whatever its shape."""
        detail = parse_object(value_at(item, "detail", "S"))
        return cls(
            id=text_at(item, "eventId", "S"),
            type=text_at(item, "eventType", "S"),
            source=text_at(item, "source", "S"),
            version=text_at(item, "aggregateVersion", "N"),
            occurred_at=instant(text_at(item, "occurredAt", "S")),
            correlation_id=text_at(item, "correlationId", "S"),
            customer_id=id_at(detail, "data", "customerId"),
            order_id=id_at(detail, "data", "orderId"),
            item=item,
        )

    @property
    def service(self) -> str:
        return SERVICES.get(self.source, self.source)


class Outboxes:
    """The outbox tables of the stack, by the name of their service."""

    def __init__(self, target: Target) -> None:
        self._dynamodb = target.client("dynamodb")
        self._tables = {name: target.resource(f"{name}Outbox") for name in SERVICES.values()}

    def of_order(self, order_id: int | str) -> list[StoredEvent]:
        """Return the events that Orders published for the order, oldest first."""
        key = "aggregateId = :id"
        return _by_time(self._pages("query", "Orders", key, {":id": str(order_id)}))

    def saga_of_order(self, order_id: int) -> list[StoredEvent]:
        """Return the events of the order's sagas, of both services, oldest first."""
        return self.with_answers(self.of_order(order_id))

    def get(self, service: str, aggregate_id: str, event_id: str) -> StoredEvent | None:
        """Return the event of the service, or None if its outbox has no such event."""
        if not (aggregate_id and event_id):
            return None  # DynamoDB refuses empty keys
        key = {"aggregateId": {"S": aggregate_id}, "eventId": {"S": event_id}}
        answer = self._dynamodb.get_item(
            TableName=self._tables[service], Key=key, ConsistentRead=True
        )
        return StoredEvent.of(answer["Item"]) if "Item" in answer else None

    def answer_to(self, event: StoredEvent, source: str) -> StoredEvent | None:
        """Return the event that the service published in answer to `event`, if there is one."""
        key = event.customer_id if source == CUSTOMERS else event.order_id
        return self.get(SERVICES[source], str(key or ""), answer_id(event.id, source))

    def with_answers(self, events: list[StoredEvent]) -> list[StoredEvent]:
        """Return the events and all that were published in answer to them, oldest first."""
        found, unread = {event.id: event for event in events}, list(events)
        while unread:
            event = unread.pop()
            for source in SERVICES:
                answer = self.answer_to(event, source)
                if answer and answer.id not in found:
                    found[answer.id] = answer
                    unread.append(answer)
        return _by_time(found.values())

    def of_correlation(self, correlation_id: str) -> list[StoredEvent]:
        """Find the events of a correlation by reading both tables whole."""
        condition, values = "correlationId = :id", {":id": correlation_id}
        found = (self._pages("scan", name, condition, values) for name in self._tables)
        return [event for events in found for event in events]

    def between(self, service: str, first: datetime, last: datetime) -> Iterator[StoredEvent]:
        """Find the service's events of a time by reading its table whole."""
        first_text, last_text = (at.isoformat(timespec="milliseconds") for at in (first, last))
        condition = "occurredAt BETWEEN :first AND :last"
        return self._pages("scan", service, condition, {":first": first_text, ":last": last_text})

    def _pages(
        self, operation: str, service: str, condition: str, values: dict[str, str]
    ) -> Iterator[StoredEvent]:
        expression = "KeyConditionExpression" if operation == "query" else "FilterExpression"
        request: Any = {expression: condition, "ConsistentRead": True}
        request["ExpressionAttributeValues"] = {name: {"S": text} for name, text in values.items()}
        pages = self._dynamodb.get_paginator(operation)
        found = pages.paginate(TableName=self._tables[service], **request).search("Items[]")
        return map(StoredEvent.of, found)


def publish(target: Target, service: str, events: Iterable[StoredEvent]) -> None:
    """Publish the events again. Subscribers ignore events that they have handled.

    An event that the relay cannot publish becomes a new dead letter. Raises: OperateError if the relay fails.
    """
    function, unsent = target.resource(f"{service}OutboxRelayFunction"), iter(events)
    while batch := list(islice(unsent, RECORDS_PER_INVOCATION)):
        records = [stream_record(event.item) for event in batch]
        answer = target.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps({"Records": records})
        )
        if "FunctionError" in answer:
            raise OperateError(f"{function} fails: {answer['Payload'].read().decode()}")


def _by_time(events: Any) -> list[StoredEvent]:
    return sorted(events, key=lambda event: event.occurred_at)
