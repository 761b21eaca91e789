"""Orders that are PENDING for longer than they should be: why, and how to get them going again.

They are found by a Scan of the Orders table in parallel segments, filtered there. That reads every order ever
made: some 0.003 USD and a few seconds per million of them. An index of the pending ones would answer at once, and
cost two more write units for every order, some 1.25 USD per million, for a question that is asked when
something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from infra.ops.dead_letters.letter import DeadLetter
from infra.ops.dead_letters.queues import DeadLetterQueues
from infra.ops.logs import FunctionLogs, LogLine
from infra.ops.outboxes import CUSTOMERS, ORDERS, SERVICES, Outboxes, StoredEvent
from infra.ops.relay import Relay
from infra.ops.target import OperateError, Target
from infra.ops.timeline import FINAL
from shared.clock import format_instant

SEGMENTS = 4
LETTERS = 1000
CLOCK_TOLERANCE = timedelta(seconds=60)
PENDING = "PENDING"
FAILED = "event not handled, will come again"


@dataclass(frozen=True)
class StoredOrder:
    """An order as it is in its table."""

    id: int
    customer_id: int
    state: str
    created_at: datetime

    @classmethod
    def of(cls, item: dict[str, Any]) -> StoredOrder:
        return cls(
            int(item["orderId"]["N"]),
            int(item["customerId"]["N"]),
            item["state"]["S"],
            datetime.fromisoformat(item["createdAt"]["S"]),
        )

    @property
    def age(self) -> timedelta:
        """How long ago it was made."""
        return datetime.now(UTC) - self.created_at


@dataclass(frozen=True)
class Whereabouts:
    """What there is to know of the last event of an order's saga."""

    event: StoredEvent
    published: bool
    """Whether its relay says so."""
    relay: str
    consumer: str
    relay_stopped: str = ""
    """Why nobody takes what is in the outbox; empty if the relay runs."""
    consumer_stopped: str = ""
    letter: tuple[str, str] | None = None
    """The dead-letter queue that has it, and the reason."""
    failure: str = ""
    """What the consumer said last of having failed with it."""
    handled: bool = False
    """Whether the consumer says that it has done with it."""
    waiting: int = 0
    """Messages in the consumer's queue, whichever they are."""


@dataclass(frozen=True)
class Diagnosis:
    """Why an order is still PENDING."""

    order: StoredOrder
    reason: str
    event: StoredEvent | None = None
    """The last event of its saga."""
    blocked: str = ""
    """Why it would not help to publish that once more; empty if it would."""


def reason(last: Whereabouts) -> tuple[str, str]:
    """Why nothing follows the event, and what is in the way of publishing it once more, if something is."""
    what = last.event.event_type
    if last.letter:
        queue, why = last.letter
        return f"{what} is in {queue}: {why}", ""
    if last.published:
        return _unanswered(last, what)
    if last.relay_stopped:
        why = f"{last.relay} is stopped: {last.relay_stopped}"
        return f"{what} is not published; {why}", why
    return f"{what} is in the outbox, and {last.relay} has not logged that it published it", ""


def _unanswered(last: Whereabouts, what: str) -> tuple[str, str]:
    stopped = last.consumer_stopped and f"{last.consumer} is stopped: {last.consumer_stopped}"
    if last.handled:
        return f"{last.consumer} has handled {what}, and published nothing in answer", ""
    if stopped:
        return f"{what} is published; {stopped}; waiting in its queue: {last.waiting}", stopped
    if last.failure:
        return f"{last.consumer} fails with {what}: {last.failure}", ""
    if last.waiting:
        queue = f"waiting in the queue of {last.consumer}: {last.waiting}"
        return f"{what} is published and not handled yet; {queue}", ""
    return f"{what} is published, and neither handled by {last.consumer} nor in its queue: lost", ""


class StuckOrders:
    """Looks for orders that are stuck, and publishes the last event of their sagas once more."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._dynamodb = target.client("dynamodb")
        self._functions = target.client("lambda")
        self._sqs = target.client("sqs")
        self._orders = target.resource("Orders")
        self._outboxes = Outboxes(target)
        self._logs = FunctionLogs(target)
        self._states: dict[str, str] = {}

    def older_than(self, age: timedelta, progress: Callable[[int], None]) -> list[StoredOrder]:
        """The PENDING orders of that age, the oldest first. `progress` is told of each so many items read."""
        before = format_instant(datetime.now(UTC) - age)
        with ThreadPoolExecutor(SEGMENTS) as threads:
            segments = threads.map(
                lambda segment: list(self._scan(segment, before, progress)), range(SEGMENTS)
            )
            found = [order for orders in segments for order in orders]
        return sorted(found, key=lambda order: order.created_at)

    def order(self, order_id: int) -> StoredOrder:
        """Raises: OperateError if there is no such order."""
        answer = self._dynamodb.get_item(
            TableName=self._orders, Key={"orderId": {"N": str(order_id)}}, ConsistentRead=True
        )
        if answer.get("Item", {}).get("itemType", {}).get("S") != "Order":
            raise OperateError(f"There is no order {order_id}.")
        return StoredOrder.of(answer["Item"])

    def diagnose(self, order: StoredOrder) -> Diagnosis:
        """Why the PENDING order is still that."""
        created = next(
            (e for e in self._outboxes.of_order(order.id) if e.event_type == "OrderCreated"), None
        )
        if created is None:
            why = "there is no OrderCreated in OrdersOutbox"
            return Diagnosis(order, why, blocked=f"{why}: nothing to publish")
        answer = self._outboxes.answer_to(created, CUSTOMERS)
        last = self._whereabouts(answer or created)
        why, blocked = reason(last)
        answered = f"Customers answered with {answer.event_type}; " if answer else ""
        return Diagnosis(order, answered + why, last.event, blocked)

    def resume(self, diagnosis: Diagnosis) -> str:
        """The last event of the order's saga is on the bus once more; returns what was done, or why nothing was.

        It is the same event, with the same id: who has handled it drops it, and what is decided stays.
        Raises: OperateError if it could not be published.
        """
        if diagnosis.order.state != PENDING:
            return f"is {diagnosis.order.state}: nothing to do"
        event = diagnosis.event
        if diagnosis.blocked or event is None:
            return f"left as it is: {diagnosis.blocked}"
        if self.order(diagnosis.order.id).state != PENDING:
            return "was decided meanwhile: nothing to do"
        self.republish(event)
        return f"published {event.event_type} {event.id} once more"

    def events_of(self, order_id: int) -> list[StoredEvent]:
        """All events of the order's sagas, of both services, in the order in which they happened."""
        events = self._outboxes.with_answers(self._outboxes.of_order(order_id))
        return sorted(events, key=lambda event: event.occurred_at)

    def republish(self, event: StoredEvent) -> None:
        """The event is on the bus once more. Raises: OperateError if its relay has failed."""
        service = SERVICES[event.source]
        function = self._target.resource(f"{service}OutboxRelayFunction")
        outbox = self._target.resource(f"{service}Outbox")
        Relay(function, outbox, self._functions, self._dynamodb).publish_item(event.item)

    def _whereabouts(self, event: StoredEvent) -> Whereabouts:
        publisher = SERVICES[event.source]
        consumer = SERVICES[ORDERS if event.source == CUSTOMERS else CUSTOMERS]
        since = event.occurred_at - CLOCK_TOLERANCE
        functions = (f"{publisher.lower()}-outbox-relay", f"{consumer.lower()}-subscriber")
        lines = self._logs.of_correlation(event.metadata.correlation_id, since, functions)
        named = [
            line for line in lines if any(e.get("event_id") == event.id for e in line.events())
        ]
        handled = [line for line in named if line.function == f"{consumer.lower()}-subscriber"]
        return Whereabouts(
            event=event,
            published=any("events" in line.entry for line in named) or bool(handled),
            relay=f"{publisher.lower()}-outbox-relay",
            consumer=f"{consumer.lower()}-subscriber",
            relay_stopped=self._stopped(f"{publisher}OutboxRelayFunction"),
            consumer_stopped=self._stopped(f"{consumer}SubscriberFunction"),
            letter=self._letter(event),
            failure=_failure(handled),
            handled=any(line.message in FINAL for line in handled),
            waiting=self._waiting(f"{consumer}SubscriberQueue"),
        )

    def _letter(self, event: StoredEvent) -> tuple[str, str] | None:
        found = self._letters.get(event.id)
        return (found[0], found[1].reason) if found else None

    @cached_property
    def _letters(self) -> dict[str, tuple[str, DeadLetter]]:
        """All dead letters by the id of their event, each with its queue; looked at once."""
        queues = DeadLetterQueues(
            self._sqs, self._functions, self._dynamodb, self._target.stack_name
        )
        return {letter.event_id: (name, letter) for name, letter in queues.all_letters(LETTERS)}

    def _stopped(self, function: str) -> str:
        """Why nothing reaches the function; empty if it runs. Asked once per function."""
        if function not in self._states:
            name = self._target.resource(function)
            mappings = self._functions.list_event_source_mappings(FunctionName=name)
            states = [
                m["State"] for m in mappings["EventSourceMappings"] if m["State"] != "Enabled"
            ]
            limit = self._functions.get_function_concurrency(FunctionName=name)
            why = [f"its event source mapping is {state}" for state in states]
            if limit.get("ReservedConcurrentExecutions") == 0:
                why.append("its reserved concurrency is 0")
            self._states[function] = " and ".join(why)
        return self._states[function]

    def _waiting(self, queue: str) -> int:
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._queue_url(queue), AttributeNames=["All"]
        )
        return sum(
            int(count)
            for name, count in answer["Attributes"].items()
            if name.startswith("ApproximateNumberOfMessages")
        )

    def _queue_url(self, logical_id: str) -> str:
        # An emulator's own idea of its address may not be ours.
        name = self._target.resource(logical_id).rsplit("/", 1)[-1]
        return str(self._sqs.get_queue_url(QueueName=name)["QueueUrl"])

    def _scan(
        self, segment: int, before: str, progress: Callable[[int], None]
    ) -> Iterator[StoredOrder]:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._orders,
            Segment=segment,
            TotalSegments=SEGMENTS,
            FilterExpression="#state = :pending AND createdAt < :before",
            ProjectionExpression="orderId, customerId, #state, createdAt",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":pending": {"S": PENDING}, ":before": {"S": before}},
        )
        for page in pages:
            progress(page["ScannedCount"])
            yield from map(StoredOrder.of, page["Items"])


def _failure(lines: list[LogLine]) -> str:
    """Why the last attempt failed; empty if it did not, or if there was none."""
    last = lines[-1] if lines else None
    return last.reason or last.message if last and last.message == FAILED else ""
