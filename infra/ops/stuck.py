"""Orders that are PENDING for too long: why, and how to resume their sagas.

They are found by a parallel scan of the Orders table, which costs some 0.003 USD per million orders. An index of
pending orders would cost two more write units per order, about 1.25 USD per million.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from infra.ops.dead_letters import DeadLetterQueues
from infra.ops.domain import CUSTOMERS, ORDERS, SERVICES, OrderState
from infra.ops.events import Outboxes, StoredEvent
from infra.ops.logs import FunctionLogs
from infra.ops.relay import Relay
from infra.ops.target import Target, queue_depth
from infra.ops.untrusted import Json, instant, text_at

SEGMENTS = 4
CLOCK_TOLERANCE = timedelta(seconds=60)
PENDING = OrderState.PENDING.value


@dataclass(frozen=True)
class StoredOrder:
    """An order in its table."""

    id: str
    customer_id: str
    state: str
    created_at: datetime

    @classmethod
    def of(cls, item: Json) -> StoredOrder:
        return cls(
            text_at(item, "orderId", "N"),
            text_at(item, "customerId", "N"),
            text_at(item, "state", "S"),
            instant(text_at(item, "createdAt", "S")),
        )


@dataclass(frozen=True)
class Diagnosis:
    """Why an order is still PENDING."""

    order: StoredOrder
    reason: str
    event: StoredEvent | None = None
    """The last event of its saga."""
    blocked: str = ""
    """Why publishing that event again would not help; empty if it would."""


def reason(
    event: str,
    relay: str,
    consumer: str,
    *,
    letter: str = "",
    published: bool = False,
    handled: bool = False,
    failure: str = "",
    relay_stopped: str = "",
    consumer_stopped: str = "",
    waiting: int = 0,
) -> tuple[str, str]:
    """Return why nothing follows the event, and the obstacle to publishing it again, which may be empty.

    `letter` is the dead-letter queue that has the event. `failure` and `handled` are from the consumer's last
    log line about it. `waiting` is the number of messages in the consumer's queue.
    """
    if letter:
        return f"{event} is a dead letter in {letter}", ""
    if not published:
        obstacle = relay_stopped and f"{relay} is stopped: {relay_stopped}"
        why = obstacle or f"the log of {relay} does not name it"
        return f"{event} is in the outbox and not published: {why}", obstacle
    if handled:
        return f"{consumer} handled {event} and published no answer", ""
    if consumer_stopped:
        obstacle = f"{consumer} is stopped: {consumer_stopped}"
        return f"{event} is published; {obstacle}; messages in its queue: {waiting}", obstacle
    if failure:
        why = f"fails: {failure}"
    elif waiting:
        why = f"did not handle it yet; messages in its queue: {waiting}"
    else:
        why = "did not handle it, and its queue is empty: the message is lost"
    return f"{event} is published; {consumer} {why}", ""


class StuckOrders:
    """Finds stuck orders, and publishes the last event of their sagas again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._dynamodb = target.client("dynamodb")
        self._functions = target.client("lambda")
        self._sqs = target.sqs
        self._table = target.resource("Orders")
        self._outboxes = Outboxes(target)
        self._logs = FunctionLogs(target)
        self._stopped: dict[str, str] = {}

    def older_than(self, age: timedelta) -> list[StoredOrder]:
        """Return the PENDING orders of that age, oldest first."""
        before = (datetime.now(UTC) - age).isoformat(timespec="milliseconds")
        with ThreadPoolExecutor(SEGMENTS) as threads:
            segments = threads.map(lambda n: list(self._scan(n, before)), range(SEGMENTS))
            found = [order for orders in segments for order in orders]
        return sorted(found, key=lambda order: order.created_at)

    def order(self, order_id: int | str) -> StoredOrder | None:
        """Return the order, or None if it does not exist."""
        item = self._dynamodb.get_item(
            TableName=self._table, Key={"orderId": {"N": str(order_id)}}, ConsistentRead=True
        ).get("Item")
        order = StoredOrder.of(item) if item else None
        return order if order and order.state else None

    def diagnose(self, order: StoredOrder) -> Diagnosis:
        """Return why the order is PENDING."""
        events = self._outboxes.of_order(int(order.id))
        created = next((event for event in events if event.type == "OrderCreated"), None)
        if created is None:
            why = "OrdersOutbox has no OrderCreated of it"
            return Diagnosis(order, why, blocked=f"{why}: nothing to publish")
        answer = self._outboxes.answer_to(created, CUSTOMERS)
        why, blocked = self._reason(answer or created)
        answered = f"Customers answered with {answer.type}; " if answer else ""
        return Diagnosis(order, answered + why, answer or created, blocked)

    def resume(self, diagnosis: Diagnosis) -> tuple[bool, str]:
        """Publish the last event of the order's saga again, with the same id. Decided orders do not change.

        Return whether the order needs nothing else, and what was done.
        Raises: OperateError if the relay fails.
        """
        current = self.order(diagnosis.order.id)
        if current is None or current.state != PENDING:
            return True, f"is {current.state if current else 'deleted'}: nothing to do"
        if diagnosis.blocked or diagnosis.event is None:
            return False, f"not resumed: {diagnosis.blocked}"
        self.republish(diagnosis.event)
        return True, f"published {diagnosis.event.type} {diagnosis.event.id} again"

    def republish(self, event: StoredEvent) -> None:
        """Publish the event again. Raises: OperateError if its relay fails."""
        Relay(self._target, event.service).publish([event.item])

    def _reason(self, event: StoredEvent) -> tuple[str, str]:
        consumer = SERVICES[ORDERS if event.source == CUSTOMERS else CUSTOMERS]
        relay, subscriber = (
            f"{event.service.lower()}-outbox-relay",
            f"{consumer.lower()}-subscriber",
        )
        since = event.occurred_at - CLOCK_TOLERANCE
        lines = self._logs.of_correlation(event.correlation_id, since, (relay, subscriber))
        lines = [line for line in lines if line.names(event.id)]
        last = next((line for line in reversed(lines) if line.function == subscriber), None)
        return reason(
            event.type,
            relay,
            subscriber,
            letter=self._letters.get(event.id, ""),
            published=last is not None or any(not line.failed for line in lines),
            handled=last is not None and not last.failed,
            failure=(last.reason or last.message) if last and last.failed else "",
            relay_stopped=self._why_stopped(f"{event.service}OutboxRelayFunction"),
            consumer_stopped=self._why_stopped(f"{consumer}SubscriberFunction"),
            waiting=queue_depth(self._sqs, self._target.queue_url(f"{consumer}SubscriberQueue")),
        )

    @cached_property
    def _letters(self) -> dict[str, str]:
        """Each dead letter's queue and reason, by the id of its event."""
        queues = DeadLetterQueues(self._target)
        # Letters of the view do not hold up an order.
        names = [n for n in queues.names() if n.endswith(("-subscriber", "-outbox-relay"))]
        read = queues.read(names, list).items()
        return {i.event_id: f"{name}: {i.reason}" for name, letters in read for i in letters}

    def _why_stopped(self, function: str) -> str:
        if function not in self._stopped:
            name = self._target.resource(function)
            pages = self._functions.get_paginator("list_event_source_mappings")
            states = [
                mapping["State"]
                for page in pages.paginate(FunctionName=name)
                for mapping in page["EventSourceMappings"]
            ]
            why = [f"its event source mapping is {s}" for s in states if s != "Enabled"]
            limit: Any = self._functions.get_function_concurrency(FunctionName=name)
            if limit.get("ReservedConcurrentExecutions") == 0:
                why.append("its reserved concurrency is 0")
            self._stopped[function] = " and ".join(why)
        return self._stopped[function]

    def _scan(self, segment: int, before: str) -> Iterator[StoredOrder]:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table,
            Segment=segment,
            TotalSegments=SEGMENTS,
            FilterExpression="#state = :pending AND createdAt < :before",
            ProjectionExpression="orderId, customerId, #state, createdAt",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":pending": {"S": PENDING}, ":before": {"S": before}},
        )
        for page in pages:
            yield from map(StoredOrder.of, page["Items"])
