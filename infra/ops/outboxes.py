"""The outboxes: every event that was ever published, and which one led to which."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from customers.events import CustomerEvent
from infra.ops.target import OperateError, Target
from messaging.domain_event import Cause
from messaging.envelope import EventMetadata, InvalidEventError, decode_metadata
from orders.events import OrderEvent

CUSTOMERS, ORDERS = CustomerEvent.source, OrderEvent.source
SERVICES = {CUSTOMERS: "Customers", ORDERS: "Orders"}

Item = dict[str, Any]


@dataclass(frozen=True)
class StoredEvent:
    """An event as it is in its outbox."""

    event_type: str
    source: str
    metadata: EventMetadata
    data: dict[str, Any]
    item: Item
    """In DynamoDB's JSON."""

    @classmethod
    def of(cls, item: Item) -> StoredEvent:
        """Raises: OperateError if the item holds no event."""
        try:
            detail = json.loads(item["detail"]["S"])
            return cls(
                item["eventType"]["S"],
                item["source"]["S"],
                decode_metadata(detail),
                detail["data"],
                item,
            )
        except (InvalidEventError, KeyError, TypeError, ValueError) as error:
            key = item.get("eventId", {}).get("S")
            raise OperateError(f"The outbox item {key} holds no event: {error}") from error

    @property
    def id(self) -> str:
        """The event's id."""
        return self.metadata.event_id

    @property
    def occurred_at(self) -> datetime:
        """When it was decided, which is when it was written but for the transaction itself."""
        return self.metadata.occurred_at

    @property
    def order_id(self) -> int | None:
        """The order that it is about; None if it is about a customer alone."""
        return self.data.get("orderId")


class Outboxes:
    """The outbox tables of the stack."""

    def __init__(self, target: Target) -> None:
        self._dynamodb = target.client("dynamodb")
        self._tables = {
            source: target.resource(f"{service}Outbox") for source, service in SERVICES.items()
        }

    def of_order(self, order_id: int) -> list[StoredEvent]:
        """The order's own events, in the order of its versions."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._tables[ORDERS],
            KeyConditionExpression="aggregateId = :id",
            ExpressionAttributeValues={":id": {"S": str(order_id)}},
            ConsistentRead=True,
        )
        events = [StoredEvent.of(item) for page in pages for item in page["Items"]]
        return sorted(events, key=lambda event: event.metadata.aggregate_version)

    def answer_to(self, event: StoredEvent, source: str) -> StoredEvent | None:
        """What the service published in answer to the event: there is one id that it can have."""
        cause = Cause(event.metadata.correlation_id, event.id)
        partition = event.data.get("customerId" if source == CUSTOMERS else "orderId")
        return self.get(source, str(partition), cause.effect_id(source))

    def get(self, source: str, aggregate_id: str, event_id: str) -> StoredEvent | None:
        """The service's event; None if there is none."""
        key = {"aggregateId": {"S": aggregate_id}, "eventId": {"S": event_id}}
        answer = self._dynamodb.get_item(
            TableName=self._tables[source], Key=key, ConsistentRead=True
        )
        return StoredEvent.of(answer["Item"]) if "Item" in answer else None

    def with_answers(self, events: list[StoredEvent]) -> list[StoredEvent]:
        """The events and all that was published in answer to them, and to that."""
        found = {event.id: event for event in events}
        open_ends = list(events)
        while open_ends:
            event = open_ends.pop()
            for source in SERVICES:
                answer = self.answer_to(event, source)
                if answer and answer.id not in found:
                    found[answer.id] = answer
                    open_ends.append(answer)
        return list(found.values())

    def scan_correlation(
        self, correlation_id: str, progress: Callable[[int], None]
    ) -> Iterator[StoredEvent]:
        """The events of the correlation, by reading both outboxes whole; `progress` is told of each item read."""
        for table in self._tables.values():
            pages = self._dynamodb.get_paginator("scan").paginate(
                TableName=table,
                FilterExpression="correlationId = :id",
                ExpressionAttributeValues={":id": {"S": correlation_id}},
            )
            for page in pages:
                progress(page["ScannedCount"])
                yield from map(StoredEvent.of, page["Items"])
