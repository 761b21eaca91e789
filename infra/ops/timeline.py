"""Sagas as timelines: the steps in the outbox tables and in the functions' logs, oldest first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.ops.events import Outboxes, StoredEvent
from infra.ops.logs import FunctionLogs, LogLine
from infra.ops.target import OperateError, Target
from infra.ops.untrusted import text_at

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
    """Merge the events of a correlation with the log lines that name it."""
    written = [
        Moment(event.occurred_at, event.service, f"{event.type} written, version {event.version}")
        for event in events
    ]
    ids = {event.id for event in events}
    times: Counter[tuple[str, str, str]] = Counter()
    logged = [moment for line in lines for moment in _moments(line, ids, times)]
    last = max(events, key=lambda event: event.occurred_at).id if events else ""
    return Timeline(
        correlation_id, sorted([*written, *logged]), times[VIEW, last, "batch handled"] > 0
    )


def _moments(
    line: LogLine, ids: set[str], times: Counter[tuple[str, str, str]]
) -> Iterator[Moment]:
    """Yield a step for each event that the line names, and count in `times` how often a function said so."""
    reason = f" ({line.reason})" if line.reason else ""
    named = line.events()
    if "route" in line.entry:
        method, route, status = (text_at(line.entry, key) for key in ("method", "route", "status"))
        yield Moment(line.at - line.duration, line.function, f"{method} {route} received")
        yield Moment(line.at, line.function, f"{line.message}: {status}{reason}")
    elif not named:
        yield Moment(line.at, line.function, f"{line.message}{reason}")
    else:
        for event in named:
            key = line.function, text_at(event, "event_id"), line.message
            if key[1] not in ids and not line.failed:
                continue  # of another saga in the same batch
            times[key] += not line.failed
            again = ", again" if times[key] > 1 else ""
            what = f"{text_at(event, 'event_type')}: {line.message}{again}{reason}"
            yield Moment(line.at, line.function, what)


def trace_order(target: Target, order_id: int) -> list[Timeline]:
    """Return a timeline for each request that changed the order. Raises: OperateError for an unknown order."""
    logs, sagas = FunctionLogs(target), defaultdict[str, list[StoredEvent]](list)
    for event in Outboxes(target).saga_of_order(order_id):
        sagas[event.correlation_id].append(event)
    if not sagas:
        why = "or its events have expired: OrdersOutbox has none of it"
        raise OperateError(f"There is no order {order_id}, {why}.")
    return [
        timeline(key, saga, logs.lines(key, saga[0].occurred_at - LONGEST_REQUEST))
        for key, saga in sagas.items()
    ]


def trace_correlation(target: Target, correlation_id: str) -> list[Timeline]:
    """Return the timeline of the correlation. Raises: OperateError if nothing names it.

    The outbox tables are read whole if the logs name none of its events.
    """
    outboxes, named = Outboxes(target), dict[str, StoredEvent]()
    lines = FunctionLogs(target).lines(correlation_id)
    for entry in (entry for line in lines for entry in line.events()):
        event_id, event_type = text_at(entry, "event_id"), text_at(entry, "event_type")
        if event_id not in named and text_at(entry, "correlation_id") == correlation_id:
            service = "Orders" if event_type.startswith("Order") else "Customers"
            key = text_at(entry, "order_id" if service == "Orders" else "customer_id")
            if event := outboxes.get(service, key, event_id):
                named[event_id] = event
    events = outboxes.with_answers(list(named.values()) or outboxes.of_correlation(correlation_id))
    if not (events or lines):
        raise OperateError(f"No log line and no event has the correlation {correlation_id}.")
    return [timeline(correlation_id, events, lines)]
