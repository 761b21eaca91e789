"""Create-order sagas whose order stays PENDING: find their last event, and publish it again.

A message may be lost: its queue was purged, or a dead letter expired. The event itself is in an outbox. The operator's
tool finds it with the same code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from customers.events import CustomerEvent
from messaging.domain_event import Cause

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from messaging.relay import Entry, Relay
    from orders.repository import OrderRepository

Item = dict[str, Any]

ATTEMPTS = 3
"""An order that is PENDING after so many attempts to resume its saga is stuck: the cause is not a lost message."""
MAX_ORDERS = 100
"""Bounds the work of one run. The orders that wait the longest come first, so that stuck ones do not hold up others."""


class Sagas:
    """The events of create-order sagas in the outboxes of both services."""

    def __init__(self, dynamodb: DynamoDBClient, orders_outbox: str, customers_outbox: str) -> None:
        self._dynamodb = dynamodb
        self._orders_outbox = orders_outbox
        self._customers_outbox = customers_outbox

    def last_event(self, order_id: int | str) -> Item | None:
        """Return the outbox item of the saga's last event before the decision. Return None if there is no event.

        It is the answer of Customers or, without one, OrderCreated. An order has few events: one page has them all.
        """
        found = self._dynamodb.query(
            TableName=self._orders_outbox,
            KeyConditionExpression="aggregateId = :id",
            ExpressionAttributeValues={":id": {"S": str(order_id)}},
            ConsistentRead=True,
        )
        created = next(
            (i for i in found["Items"] if i.get("eventType") == {"S": "OrderCreated"}), None
        )
        if created is None:
            return None
        try:
            customer_id = json.loads(created["detail"]["S"])["data"]["customerId"]
            answer_id = Cause("", created["eventId"]["S"]).effect_id(CustomerEvent.source)
        except (LookupError, TypeError, ValueError, RecursionError):
            return created  # an event that nobody can have answered
        key = {"aggregateId": {"S": str(customer_id)}, "eventId": {"S": answer_id}}
        answer = self._dynamodb.get_item(
            TableName=self._customers_outbox, Key=key, ConsistentRead=True
        )
        return answer.get("Item", created)


def stream_record(item: Item) -> Item:
    """Return the outbox item as the record that a relay gets from the table's stream."""
    keys = {name: item[name] for name in ("aggregateId", "eventId")}
    return {"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": item}}


@dataclass
class Resumed:
    """The outcome of a run."""

    published: list[Entry] = field(default_factory=list)
    stuck: list[int] = field(default_factory=list)
    """Ids of orders that are PENDING after ATTEMPTS attempts."""


def resume_waiting(
    orders: OrderRepository, sagas: Sagas, relay: Relay, before: datetime
) -> Resumed:
    """Publish the last event of the orders again that are PENDING, and wait since before the instant.

    The event keeps its id, so that a subscriber which has handled it ignores it.
    Raises: EventsNotPublishedError.
    """
    resumed = Resumed()
    for order_id in orders.waiting(before, MAX_ORDERS):
        attempt = orders.start_attempt(order_id, before)
        if attempt is None:
            continue
        if attempt > ATTEMPTS:
            resumed.stuck.append(order_id)
        if item := sagas.last_event(order_id):
            resumed.published += relay.publish([stream_record(item)]).published
    return resumed
