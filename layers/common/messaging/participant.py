"""Saga participants: aggregates of one service that handle the events of another and publish events in answer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from messaging.domain_event import DomainEvent
from messaging.dynamodb import Write
from messaging.envelope import DomainEventEnvelope
from messaging.outbox import EventAlreadyPublishedError, Outbox
from messaging.retry import WriteConflictError, retry_on_conflict
from messaging.subscriber import SECONDS_PER_MESSAGE, Delivery, Handled
from telemetry import metrics
from telemetry.metrics import Metric

A = TypeVar("A", bound="Aggregate")
E = TypeVar("E", bound=DomainEvent)
Decide = Callable[[A | None, E], DomainEvent | None]


class Aggregate(Protocol):
    """An aggregate with an optimistic-locking version."""

    version: int


class Repository(Protocol[A]):
    """The aggregates of one service and its outbox."""

    outbox: Outbox

    def aggregate_id(self, event: Any) -> int:
        """Return the id of the aggregate that handles the event."""

    def find_for(self, events: Sequence[Any]) -> Mapping[int, A]:
        """Load the existing aggregates that handle the events, in one consistent read, by id."""

    def update(self, before: A, after: A) -> Sequence[Write]:
        """Return the writes that turn `before`, as it was loaded, into `after`."""


class SagaParticipant(Generic[A]):
    """Handles a batch of events with the aggregates of a repository.

    The batch is loaded with one read, decided in memory event by event, and committed in one transaction: each changed
    aggregate with a condition on the version that was loaded, and one outbox item per published event.
    """

    def __init__(self, repository: Repository[A]) -> None:
        self._repository = repository
        self._handlers: dict[type[DomainEvent], Decide[A, Any]] = {}

    @property
    def event_classes(self) -> Collection[type[DomainEvent]]:
        """The events that have a handler."""
        return self._handlers.keys()

    def on(self, event_class: type[E]) -> Callable[[Decide[A, E]], Decide[A, E]]:
        """Register a handler of the event.

        The handler gets the aggregate, or None if it does not exist, and the event. It changes the aggregate and
        returns the event to publish, or returns None if it changed nothing.
        """

        def register(handler: Decide[A, E]) -> Decide[A, E]:
            self._handlers[event_class] = handler
            return handler

        return register

    def handle(
        self, deliveries: Sequence[Delivery], seconds_left: Callable[[], float]
    ) -> Iterator[Handled]:
        """Handle all events in one transaction; after a conflict, in one transaction per aggregate.

        Raises: the error of the last aggregate that failed; TimeoutError if no time was left for one.
        """
        try:
            handled = self._commit(deliveries)
        except WriteConflictError:
            metrics.count(Metric.CONFLICTS_RETRIED)
            yield from self._commit_by_aggregate(deliveries, seconds_left)
        else:
            yield from handled

    def _commit_by_aggregate(
        self, deliveries: Sequence[Delivery], seconds_left: Callable[[], float]
    ) -> Iterator[Handled]:
        """Commit each aggregate's events in a transaction of their own, with retries. A failing one does not stop the others."""
        failures: list[Exception] = []
        for group in self._by_aggregate(deliveries):
            if seconds_left() < SECONDS_PER_MESSAGE:
                failures.append(TimeoutError())
                break
            try:
                yield from retry_on_conflict(self._commit, group)
            except Exception as error:  # noqa: BLE001, raised below
                failures.append(error)
        if failures:
            raise failures[-1]

    def _by_aggregate(self, deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
        groups: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            key = self._repository.aggregate_id(delivery.envelope.event)
            groups.setdefault(key, []).append(delivery)
        return list(groups.values())

    def _commit(self, deliveries: Sequence[Delivery]) -> list[Handled]:
        """Decide the events and commit the result in one transaction.

        An event whose answer is in the outbox already was handled before. Such an event is left out, and the others are decided again.
        Raises: WriteConflictError.
        """
        duplicates: set[str] = set()
        while True:
            published, writes = self._decide([d for d in deliveries if d.id not in duplicates])
            try:
                if published:
                    self._repository.outbox.write(list(published.values()), writes)
            except EventAlreadyPublishedError as error:
                duplicates |= {
                    event_id
                    for event_id, answer in published.items()
                    if answer.metadata.event_id in error.event_ids
                }
                continue
            return [Handled(d, d.id in published, published.get(d.id)) for d in deliveries]

    def _decide(
        self, deliveries: Sequence[Delivery]
    ) -> tuple[dict[str, DomainEventEnvelope], list[Write]]:
        """Return the event to publish for each event id, and the writes of the changed aggregates."""
        events = [delivery.envelope.event for delivery in deliveries]
        aggregates = self._repository.find_for(events)
        before = copy.deepcopy(aggregates)
        published = {}
        for delivery in deliveries:
            event = delivery.envelope.event
            aggregate = aggregates.get(self._repository.aggregate_id(event))
            loaded = aggregate.version if aggregate is not None else 0
            answer = self._handlers[type(event)](aggregate, event)
            version = aggregate.version if aggregate is not None else 0
            if answer is None and version != loaded:
                raise ValueError(f"the handler of {type(event).__name__} changed without an event")
            if answer is not None:
                cause = delivery.envelope.cause_of_effects
                published[delivery.id] = DomainEventEnvelope.wrap(answer, version, cause)
        writes = [
            write
            for key, aggregate in aggregates.items()
            if aggregate.version != before[key].version
            for write in self._repository.update(before[key], aggregate)
        ]
        return published, writes
