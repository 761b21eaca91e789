"""The events in the outbox tables, and which one was published in answer to which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from infra.ops.domain import CUSTOMERS, ORDERS, SERVICES, answer_id
from infra.ops.target import Target
from infra.ops.untrusted import Json, id_at, instant, parse_object, text_at, value_at


@dataclass(frozen=True)
class StoredEvent:
    """An item of an outbox table. Attributes that are missing or malformed are empty."""

    id: str
    type: str
    source: str
    aggregate_id: str
    version: str
    occurred_at: datetime
    correlation_id: str
    causation_id: str
    """Id of the event that was answered by this one."""
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
            aggregate_id=text_at(item, "aggregateId", "S"),
            version=text_at(item, "aggregateVersion", "N"),
            occurred_at=instant(text_at(item, "occurredAt", "S")),
            correlation_id=text_at(item, "correlationId", "S"),
            causation_id=text_at(detail, "metadata", "causationId"),
            customer_id=id_at(detail, "data", "customerId"),
            order_id=id_at(detail, "data", "orderId"),
            item=item,
        )

    @property
    def service(self) -> str:
        """The service that published the event."""
        return SERVICES.get(self.source, self.source)


class Outboxes:
    """The outbox tables of the stack."""

    def __init__(self, target: Target) -> None:
        self._dynamodb = target.client("dynamodb")
        self._tables = {
            source: target.resource(f"{service}Outbox") for source, service in SERVICES.items()
        }

    def of_order(self, order_id: int) -> list[StoredEvent]:
        """Return the events that Orders published for the order, oldest first."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._tables[ORDERS],
            KeyConditionExpression="aggregateId = :id",
            ExpressionAttributeValues={":id": {"S": str(order_id)}},
            ConsistentRead=True,
        )
        events = [StoredEvent.of(item) for page in pages for item in page["Items"]]
        return sorted(events, key=lambda event: event.occurred_at)

    def saga_of_order(self, order_id: int) -> list[StoredEvent]:
        """Return the events of the order's sagas, of both services, oldest first."""
        return self.with_answers(self.of_order(order_id))

    def answer_to(self, event: StoredEvent, source: str) -> StoredEvent | None:
        """Return the event that the service published in answer to `event`, if there is one."""
        key = event.customer_id if source == CUSTOMERS else event.order_id
        return self.get(source, str(key), answer_id(event.id, source)) if key else None

    def get(self, source: str, aggregate_id: str, event_id: str) -> StoredEvent | None:
        """Return the event of the service, or None if its outbox has no such event."""
        if not (aggregate_id and event_id):
            return None  # DynamoDB refuses empty keys
        key = {"aggregateId": {"S": aggregate_id}, "eventId": {"S": event_id}}
        answer = self._dynamodb.get_item(
            TableName=self._tables[source], Key=key, ConsistentRead=True
        )
        return StoredEvent.of(answer["Item"]) if "Item" in answer else None

    def with_answers(self, events: list[StoredEvent]) -> list[StoredEvent]:
        """Return the events and all that were published in answer to them, oldest first."""
        found = {event.id: event for event in events}
        unread = list(events)
        while unread:
            event = unread.pop()
            for source in SERVICES:
                answer = self.answer_to(event, source)
                if answer and answer.id not in found:
                    found[answer.id] = answer
                    unread.append(answer)
        return sorted(found.values(), key=lambda event: event.occurred_at)

    def scan(self, correlation_id: str) -> Iterator[StoredEvent]:
        """Find the events of a correlation by reading both tables whole."""
        for table in self._tables.values():
            pages = self._dynamodb.get_paginator("scan").paginate(
                TableName=table,
                FilterExpression="correlationId = :id",
                ExpressionAttributeValues={":id": {"S": correlation_id}},
            )
            for page in pages:
                yield from map(StoredEvent.of, page["Items"])
