"""Orders that are PENDING for too long: why, and how to resume their sagas.

They are found by a parallel scan of the Orders table, which costs some 0.003 USD per million orders and needs no index.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property

from infra.ops.dead_letters import DeadLetterQueues
from infra.ops.domain import CUSTOMERS, SERVICES, OrderState, Sagas
from infra.ops.events import Outboxes, StoredEvent, publish
from infra.ops.letter import Letter
from infra.ops.logs import FunctionLogs
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
        """Read the item, whatever its shape."""
        order_id, customer_id = (text_at(item, name, "N") for name in ("orderId", "customerId"))
        created_at = instant(text_at(item, "createdAt", "S"))
        return cls(order_id, customer_id, text_at(item, "state", "S"), created_at)


@dataclass(frozen=True)
class Diagnosis:
    """Why an order is still PENDING."""

    order: StoredOrder
    reason: str
    event: StoredEvent | None = None
    """The last event of its saga."""
    blocked: str = ""
    """Why publishing that event again would not help; empty if it would."""


class StuckOrders:
    """Finds stuck orders, and publishes the last event of their sagas again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._dynamodb = target.client("dynamodb")
        self._table = target.resource("Orders")
        outboxes = (target.resource(f"{service}Outbox") for service in ("Orders", "Customers"))
        self._sagas = Sagas(self._dynamodb, *outboxes)
        self._logs = FunctionLogs(target)

    def older_than(self, age: timedelta) -> list[StoredOrder]:
        """Return the PENDING orders of that age, oldest first."""
        before = (datetime.now(UTC) - age).isoformat(timespec="milliseconds")
        with ThreadPoolExecutor(SEGMENTS) as threads:
            segments = threads.map(lambda n: list(self._scan(n, before)), range(SEGMENTS))
            found = [order for orders in segments for order in orders]
        return sorted(found, key=lambda order: order.created_at)

    def order(self, order_id: int | str) -> StoredOrder | None:
        """Return the order, or None if it does not exist."""
        key = {"orderId": {"N": str(order_id)}}
        answer = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        order = StoredOrder.of(answer.get("Item", {}))
        return order if order.state else None

    def diagnose(self, order: StoredOrder) -> Diagnosis:
        """Return why the order is PENDING."""
        item = self._sagas.last_event(order.id)
        if item is None:
            why = "OrdersOutbox has no OrderCreated of it"
            return Diagnosis(order, why, blocked=f"{why}: nothing to publish")
        event = StoredEvent.of(item)
        is_answer = event.source == CUSTOMERS
        why, blocked = self._reason(event, "Customers" if is_answer else "Orders")
        answered = f"Customers answered with {event.type}; " if is_answer else ""
        return Diagnosis(order, answered + why, event, blocked)

    def resume(self, diagnosis: Diagnosis) -> tuple[bool, str]:
        """Publish the last event of the order's saga again, with the same id. Decided orders do not change.

        Return whether the order needs nothing else, and what was done.
        Raises: OperateError if the relay fails.
        """
        current, event = self.order(diagnosis.order.id), diagnosis.event
        if current is None or current.state != PENDING:
            return True, f"is {current.state if current else 'deleted'}: nothing to do"
        if diagnosis.blocked or event is None:
            return False, f"not resumed: {diagnosis.blocked}"
        publish(self._target, event.service, [event])
        return True, f"published {event.type} {event.id} again"

    def _reason(self, event: StoredEvent, publisher: str) -> tuple[str, str]:
        """Return why nothing follows the event, and the obstacle to publishing it again, which may be empty."""
        if letter := self._letters.get(event.id):
            return f"{event.type} is a dead letter in {letter}", ""
        service, obstacle = ("Orders" if publisher == "Customers" else "Customers"), ""
        relay, subscriber = f"{publisher.lower()}-outbox-relay", f"{service.lower()}-subscriber"
        since = event.occurred_at - CLOCK_TOLERANCE
        lines = [
            line
            for line in self._logs.lines(event.correlation_id, since, (relay, subscriber))
            if any(text_at(named, "event_id") == event.id for named in line.events())
        ]
        handled = [line for line in lines if line.function == subscriber]
        if not handled and all(line.failed for line in lines):
            # Failures of a relay are about its whole batch, and name no event.
            failures = [i for i in self._logs.lines("WARNING", since, (relay,)) if i.failed]
            if stopped := self._why_stopped(f"{publisher}OutboxRelayFunction"):
                obstacle = why = f"{relay} is stopped: {stopped}"
            elif failures:
                why = f"{relay} fails: {failures[-1].reason or failures[-1].message}"
            else:
                why = f"the log of {relay} does not name it"
            return f"{event.type} is in the outbox and not published: {why}", obstacle
        if handled and not handled[-1].failed:
            return f"{subscriber} handled {event.type} and published no answer", ""
        waiting = self._depth(f"{service}SubscriberQueue")
        if stopped := self._why_stopped(f"{service}SubscriberFunction"):
            obstacle = f"{subscriber} is stopped: {stopped}"
            why = f"{obstacle}; messages in its queue: {waiting}"
        elif handled:
            why = f"{subscriber} fails: {handled[-1].reason or handled[-1].message}"
        elif waiting:
            why = f"{subscriber} did not handle it yet; messages in its queue: {waiting}"
        else:
            why = f"{subscriber} did not handle it, and its queue is empty: the message is lost"
        return f"{event.type} is published; {why}", obstacle

    @cached_property
    def _letters(self) -> dict[str, str]:
        """Each dead letter's queue and reason, by the id of its event."""
        queues = DeadLetterQueues(self._target)
        # Letters of the view do not hold up an order.
        names = [n for n in queues.names() if n.endswith(("-subscriber", "-outbox-relay"))]
        read = queues.read(names, list).items()
        return {i.event_id: f"{name}: {i.reason}" for name, letters in read for i in letters}

    def _depth(self, queue: str) -> int:
        return queue_depth(self._target.sqs, self._target.queue_url(queue))

    @cache  # noqa: B019, a command has one StuckOrders
    def _why_stopped(self, function: str) -> str:
        """Return why the function is not invoked, or an empty text."""
        functions, name = self._target.client("lambda"), self._target.resource(function)
        mappings = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        states = [mapping["State"] for mapping in mappings]
        why = [f"its event source mapping is {state}" for state in states if state != "Enabled"]
        limit = functions.get_function_concurrency(FunctionName=name)
        if limit.get("ReservedConcurrentExecutions") == 0:
            why.append("its reserved concurrency is 0")
        return " and ".join(why)

    def _scan(self, segment: int, before: str) -> Iterator[StoredOrder]:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table,
            Segment=segment,
            TotalSegments=SEGMENTS,
            FilterExpression="#state = :pending AND createdAt < :before",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":pending": {"S": PENDING}, ":before": {"S": before}},
        )
        return map(StoredOrder.of, pages.search("Items[]"))


def saga_of_letter(target: Target, letter: Letter) -> Iterator[str]:
    """Yield lines on the letter's event and on the saga of its order, as the tables have them now."""
    outboxes, body = Outboxes(target), letter.body
    source = text_at(body, "source") or text_at(body, "dynamodb", "NewImage", "source", "S")
    if service := SERVICES.get(source):
        key = text_at(letter.metadata, "aggregateId")
        has = "has" if outboxes.get(service, key, letter.event_id) else "does not have"
        yield f"{service}Outbox {has} this event."
    if letter.order_id is None:
        return
    order = StuckOrders(target).order(letter.order_id)
    yield f"Order {letter.order_id} {f'is {order.state}' if order else 'does not exist'}."
    for event in outboxes.saga_of_order(letter.order_id):
        at = event.occurred_at.isoformat(timespec="milliseconds")
        mark = "  <- this letter" if event.id == letter.event_id else ""
        yield f"  {at}  {event.type}, version {event.version}{mark}"
