"""One saga as a timeline: what happened when, and how long each hop took.

The path is that of the events which led to one another: the request, each event written, published by its
relay, taken up by the subscriber that answers it, and so on, until the last of them is in the view. The hops
of the path add up to the time of the whole. All else that was logged is between them, beside the path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from infra.ops.logs import LogLine
from infra.ops.outboxes import SERVICES, StoredEvent

VIEW = "order-history-projection"
HANDLED = "event handled"
FINAL = ("event handled", "duplicate dropped")
"""What a subscriber says when it has done with a message."""


@dataclass(frozen=True)
class Moment:
    """Something that happened. `hop` is the time since the moment before it on the path; None beside the path."""

    at: datetime
    where: str
    what: str
    hop: timedelta | None = None


@dataclass(frozen=True)
class Timeline:
    """What happened in one correlation, oldest first."""

    correlation_id: str
    moments: tuple[Moment, ...]
    is_complete: bool
    """Whether the last event is in the view."""
    deliveries: dict[tuple[str, str], int]
    """How often a subscriber was given an event, by subscriber and type, where it was more than once."""

    @property
    def hops(self) -> list[timedelta]:
        """The hops of the path."""
        return [moment.hop for moment in self.moments if moment.hop is not None]

    @property
    def total(self) -> timedelta:
        """From the first moment of the path to its last."""
        path = [moment.at for moment in self.moments if moment.hop is not None]
        return path[-1] - path[0] if path else timedelta()


def timeline(
    correlation_id: str, events: Sequence[StoredEvent], lines: Sequence[LogLine]
) -> Timeline:
    """The timeline of the correlation's events, and of the log lines that name it."""
    chain = _chain(events)
    path, used = _path(chain, lines)
    ids = {event.id for event in events}
    beside = [
        Moment(event.occurred_at, _service(event), _written(event))
        for event in events
        if event not in chain
    ]
    beside += [
        moment for line in lines if id(line) not in used for moment in _beside(line, lines, ids)
    ]
    # Of what happened in the same millisecond, the path comes first, and keeps its order.
    moments = sorted([*path, *beside], key=lambda moment: moment.at)
    is_complete = bool(chain) and any(_is_in_view(line, chain[-1]) for line in lines)
    return Timeline(correlation_id, tuple(moments), is_complete, _repeated(lines))


def _chain(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """From the first event to the last, each in answer to the one before."""
    if not events:
        return []
    by_id = {event.id: event for event in events}
    last = max(events, key=lambda event: (_depth(event, by_id), event.occurred_at))
    chain = [last]
    while (cause := by_id.get(chain[0].metadata.causation_id or "")) is not None:
        chain.insert(0, cause)
    return chain


def _depth(event: StoredEvent, by_id: dict[str, StoredEvent]) -> int:
    cause = by_id.get(event.metadata.causation_id or "")
    return 1 + _depth(cause, by_id) if cause else 0


def _path(chain: Sequence[StoredEvent], lines: Sequence[LogLine]) -> tuple[list[Moment], set[int]]:
    """The moments of the path with their hops, and which lines are in it."""
    found: list[tuple[Moment, LogLine | None]] = []
    if chain and (request := next((line for line in lines if "route" in line.entry), None)):
        what = f"{request.entry.get('method')} {request.entry.get('route')} came in"
        found.append((Moment(request.at - request.duration, request.function, what), None))
    for event, answer in zip(chain, [*chain[1:], None], strict=True):
        found.append((Moment(event.occurred_at, _service(event), _written(event)), None))
        if line := _first(lines, event, published=True):
            what = f"{event.event_type} published"
            found.append((Moment(line.at, line.function, what), line))
        if answer and (line := _first(lines, event, subscriber_of=answer)):
            what = f"{event.event_type} taken up"
            found.append((Moment(line.at - line.duration, line.function, what), None))
        if answer is None and (line := next((i for i in lines if _is_in_view(i, event)), None)):
            what = f"{event.event_type} is in the view"
            found.append((Moment(line.at, line.function, what), line))
    return _with_hops([moment for moment, _ in found]), {id(line) for _, line in found if line}


def _with_hops(path: list[Moment]) -> list[Moment]:
    """The path, no moment of which is later than the next.

    A relay writes its line when all of its batch is on the bus, and a subscriber may be faster than that; the
    clocks of two functions may differ, too.
    """
    for number in range(len(path) - 2, -1, -1):
        path[number] = replace(path[number], at=min(path[number].at, path[number + 1].at))
    before = [path[0].at, *(moment.at for moment in path)] if path else []
    return [
        replace(moment, hop=moment.at - start) for moment, start in zip(path, before, strict=False)
    ]


def _first(
    lines: Sequence[LogLine],
    event: StoredEvent,
    *,
    published: bool = False,
    subscriber_of: StoredEvent | None = None,
) -> LogLine | None:
    """The relay's first line of the event, or the first of the subscriber that answered it."""
    for line in lines:
        if not any(named.get("event_id") == event.id for named in line.events()):
            continue
        if published and "events" in line.entry:
            return line
        if subscriber_of and line.message == HANDLED:
            answering = SERVICES[subscriber_of.source].lower()
            if line.function == f"{answering}-subscriber":
                return line
    return None


def _is_in_view(line: LogLine, event: StoredEvent) -> bool:
    # A duplicate, too, of what a rebuild has read before.
    return (
        line.function == VIEW and line.message in FINAL and line.entry.get("event_id") == event.id
    )


def _beside(line: LogLine, lines: Sequence[LogLine], ids: set[str]) -> Iterator[Moment]:
    """What a line says that is not on the path: a moment for each event that it tells of."""
    if "route" in line.entry:
        facts = f"{line.entry.get('status')} after {line.entry.get('milliseconds')} ms"
        yield Moment(line.at, line.function, f"{line.message}: {facts}")
        return
    told = line.events()
    for named in told:
        if "events" in line.entry and named.get("event_id") not in ids:
            continue  # of the same batch, and of another saga
        again = "" if line is _first_of_event(line, lines, named) else ", delivered again"
        if "events" in line.entry:
            what = f"{named.get('event_type')} published{' again' if again else ''}"
        else:
            what = f"{named.get('event_type')}: {line.message}{again}"
        yield Moment(line.at, line.function, _with_reason(what, line))
    if not told:
        yield Moment(line.at, line.function, _with_reason(line.message, line))


def _first_of_event(line: LogLine, lines: Sequence[LogLine], named: dict[str, str]) -> LogLine:
    """The first line of the same function about the same event."""
    return next(
        other
        for other in lines
        if other.function == line.function
        and any(n.get("event_id") == named.get("event_id") for n in other.events())
    )


def _repeated(lines: Sequence[LogLine]) -> dict[tuple[str, str], int]:
    counts = Counter(
        (line.function, str(line.entry.get("event_type")), line.entry.get("event_id"))
        for line in lines
        if line.message in FINAL
    )
    return {(where, what): n for (where, what, _), n in counts.items() if n > 1}


def _with_reason(what: str, line: LogLine) -> str:
    return f"{what} ({line.reason})" if line.reason else what


def _service(event: StoredEvent) -> str:
    return SERVICES.get(event.source, event.source)


def _written(event: StoredEvent) -> str:
    metadata = event.metadata
    aggregate = f"{metadata.aggregate_type} {metadata.aggregate_id}"
    return f"{event.event_type} written, version {metadata.aggregate_version} of {aggregate}"
