"""Sagas as timelines: the steps in the outbox tables and in the functions' logs, in the order of time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.ops.domain import CUSTOMERS, ORDERS
from infra.ops.events import Outboxes, StoredEvent
from infra.ops.logs import FunctionLogs, LogLine
from infra.ops.target import OperateError, Target
from infra.ops.untrusted import Json, text_at

VIEW = "order-history-projection"
LONGEST_REQUEST = timedelta(seconds=60)


@dataclass(frozen=True, order=True)
class Moment:
    """One step. Clocks differ by some milliseconds, and a relay logs when its whole batch is published."""

    at: datetime
    where: str
    what: str


@dataclass(frozen=True)
class Timeline:
    """The steps of one correlation, oldest first."""

    correlation_id: str
    moments: list[Moment]
    is_complete: bool
    """Whether the last event is in the view."""

    @property
    def hops(self) -> list[timedelta]:
        """The time from each step to the next, with zero for the first."""
        instants = [moment.at for moment in self.moments]
        return [at - before for at, before in zip(instants, instants[:1] + instants, strict=False)]


def timeline(
    correlation_id: str, events: Sequence[StoredEvent], lines: Sequence[LogLine]
) -> Timeline:
    """Put the events of a correlation and the log lines that name it in order."""
    written = [
        Moment(event.occurred_at, event.service, f"{event.type} written, version {event.version}")
        for event in events
    ]
    ids = {event.id for event in events}
    times: Counter[tuple[str, str]] = Counter()
    logged = [moment for line in lines for moment in _moments(line, ids, times)]
    last = max(events, key=lambda event: event.occurred_at).id if events else ""
    return Timeline(correlation_id, sorted([*written, *logged]), times[VIEW, last] > 0)


def _moments(line: LogLine, ids: set[str], times: Counter[tuple[str, str]]) -> Iterator[Moment]:
    """Yield a step for each event that the line names, and count in `times` how often a function named it."""
    reason = f" ({line.reason})" if line.reason else ""
    if "route" in line.entry:
        request = f"{text_at(line.entry, 'method')} {text_at(line.entry, 'route')}"
        status = text_at(line.entry, "status")
        yield Moment(line.at - line.duration, line.function, f"{request} received")
        yield Moment(line.at, line.function, f"{line.message}: {status}{reason}")
        return
    named = line.events()
    if not named:
        yield Moment(line.at, line.function, f"{line.message}{reason}")
    for event in named:
        event_id = text_at(event, "event_id")
        if event_id not in ids and not line.failed:
            continue  # of another saga in the same batch
        times[line.function, event_id] += not line.failed
        again = ", again" if times[line.function, event_id] > 1 else ""
        what = f"{text_at(event, 'event_type')}: {line.message}{again}{reason}"
        yield Moment(line.at, line.function, what)


def trace_order(target: Target, order_id: int) -> list[Timeline]:
    """Return a timeline for each request that changed the order. Raises: OperateError for an unknown order."""
    logs, sagas = FunctionLogs(target), defaultdict[str, list[StoredEvent]](list)
    for event in Outboxes(target).saga_of_order(order_id):
        sagas[event.correlation_id].append(event)
    if not sagas:
        raise OperateError(f"There is no order {order_id}: OrdersOutbox has no event of it.")
    return [
        timeline(key, saga, logs.of_correlation(key, saga[0].occurred_at - LONGEST_REQUEST))
        for key, saga in sagas.items()
    ]


def trace_correlation(target: Target, correlation_id: str) -> Timeline:
    """Return the timeline of the correlation. Raises: OperateError if nothing names it.

    The outbox tables are read whole if the logs name none of its events.
    """
    outboxes = Outboxes(target)
    lines = FunctionLogs(target).of_correlation(correlation_id)
    keys = {
        _key(event)
        for line in lines
        for event in line.events()
        if text_at(event, "correlation_id") == correlation_id
    }
    named = [event for key in keys if (event := outboxes.get(*key))]
    events = outboxes.with_answers(named or list(outboxes.scan(correlation_id)))
    if not (events or lines):
        raise OperateError(f"No log line and no event has the correlation {correlation_id}.")
    return timeline(correlation_id, events, lines)


def _key(event: Json) -> tuple[str, str, str]:
    """Return source, aggregate id and event id of an event that a log line names."""
    event_id = text_at(event, "event_id")
    if text_at(event, "event_type").startswith("Order"):
        return ORDERS, text_at(event, "order_id"), event_id
    return CUSTOMERS, text_at(event, "customer_id"), event_id
