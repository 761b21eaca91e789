"""The subscriber with a handler and a dead-letter queue in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from messaging import subscriber as subscriber_module
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from messaging.subscriber import Delivery, Handled, Subscriber
from orders.events import OrderCreated
from orders.order import Order
from shared.money import Money
from tests.samples import to_batch, to_message

Outcome = Exception | bool


class Handler:
    """Handles events, except those in `failing`. Records the batches by their order ids."""

    event_classes = (OrderCreated,)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failing: set[int] = set()

    def handle(
        self, deliveries: Sequence[Delivery], _seconds_left: Callable[[], float]
    ) -> Iterable[Handled]:
        self.batches.append([d.envelope.event.aggregate_id for d in deliveries])
        for delivery in deliveries:
            if delivery.envelope.event.aggregate_id in self.failing:
                raise RuntimeError
            yield Handled(delivery, changed=True)


class Clock:
    """The time left of the invocation, in seconds, and the subscriber's monotonic clock."""

    def __init__(self, left: float) -> None:
        self.left, self.now = left, 0.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.left * 1000)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(30)
    monkeypatch.setattr(subscriber_module, "time", clock)
    return clock


@pytest.fixture
def handler() -> Handler:
    return Handler()


def events(*order_ids: int) -> list[dict[str, Any]]:
    return [
        to_message(
            DomainEventEnvelope.wrap(Order.create(n, 1, Money(1))[1], 1, Cause("r", f"event {n}"))
        )
        for n in order_ids
    ]


def handle(handler: Handler, clock: Clock, *messages: Any) -> subscriber_module.BatchResult:
    dead_letters: Any = None  # no test here sends one
    return Subscriber(handler, dead_letters).handle_batch(to_batch(*messages), clock)


def test_batch_is_handled_as_one(handler: Handler, clock: Clock) -> None:
    result = handle(handler, clock, *events(1, 2, 3))

    assert handler.batches == [[1, 2, 3]]
    assert (len(result.handled), result.failed, result.duplicates) == (3, [], 0)
    assert result.response == {"batchItemFailures": []}


def test_empty_batch_does_not_call_the_handler(handler: Handler, clock: Clock) -> None:
    assert handle(handler, clock).response == {"batchItemFailures": []}
    assert handler.batches == []


def test_deliveries_of_one_event_are_one(handler: Handler, clock: Clock) -> None:
    result = handle(handler, clock, *events(1, 2, 1, 1))

    assert handler.batches == [[1, 2]]
    assert result.handled[0].delivery.message_ids == ("message-1", "message-3", "message-4")
    assert result.duplicates == 2


def test_after_an_error_the_rest_is_handled_one_at_a_time(handler: Handler, clock: Clock) -> None:
    handler.failing = {2}

    result = handle(handler, clock, *events(1, 2, 3, 2))

    assert handler.batches == [[1, 2, 3], [2], [3]], "1 was handled in the first call"
    assert result.failed == ["message-2", "message-4"]
    assert [h.delivery.envelope.event.aggregate_id for h in result.handled] == [1, 3]


def test_less_than_five_seconds_are_too_few_for_a_message(handler: Handler, clock: Clock) -> None:
    clock.left = 4.999
    assert handle(handler, clock, *events(1, 2)).failed == ["message-1", "message-2"]
    assert handler.batches == []

    clock.left = 5
    assert handle(handler, clock, *events(1)).failed == []


def test_time_that_an_error_has_taken_is_not_left_for_the_rest(
    handler: Handler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(deliveries: Sequence[Delivery], seconds_left: Callable[[], float]) -> Any:
        handler.batches.append([d.envelope.event.aggregate_id for d in deliveries])
        assert seconds_left() == 30 - clock.now
        clock.now += 13
        raise RuntimeError

    monkeypatch.setattr(handler, "handle", slow)

    result = handle(handler, clock, *events(1, 2, 3))

    assert handler.batches == [[1, 2, 3], [1]]
    assert result.failed == ["message-1", "message-2", "message-3"]
