"""Finding the sagas of an order, or the one of a correlation, from the outboxes and the functions' logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta

from infra.ops.logs import FunctionLogs, LogLine
from infra.ops.outboxes import CUSTOMERS, ORDERS, Outboxes, StoredEvent
from infra.ops.target import OperateError, Target
from infra.ops.timeline import Timeline, timeline

LONGEST_REQUEST = timedelta(seconds=60)
Progress = Callable[[str], None]


class Tracer:
    """Puts together what the stack's tables and logs say of sagas. `progress` is told what is being done."""

    def __init__(self, target: Target, progress: Progress) -> None:
        self._outboxes = Outboxes(target)
        self._logs = FunctionLogs(target)
        self._progress = progress

    def order(self, order_id: int) -> list[Timeline]:
        """The timelines of the order: of its creation and, if it was cancelled, of that.

        Raises: OperateError if no event of the order was ever written.
        """
        self._progress("Reading the outboxes")
        own = self._outboxes.of_order(order_id)
        if not own:
            raise OperateError(f"There is no order {order_id}: OrdersOutbox has no event of it.")
        sagas: dict[str, list[StoredEvent]] = defaultdict(list)
        for event in self._outboxes.with_answers(own):
            sagas[event.metadata.correlation_id].append(event)
        return [self._timeline(correlation_id, events) for correlation_id, events in sagas.items()]

    def correlation(self, correlation_id: str) -> Timeline:
        """The timeline of the correlation. Without a line in the logs of its events, the outboxes are read whole.

        Raises: OperateError if nothing is known of it.
        """
        self._progress("Reading the logs")
        lines = self._logs.of_correlation(correlation_id)
        events = self._events_named(correlation_id, lines) or self._scan(correlation_id)
        if not (events or lines):
            raise OperateError(
                f"Neither the logs nor the outboxes know the correlation {correlation_id}."
            )
        return self._timeline(correlation_id, events, lines)

    def _events_named(self, correlation_id: str, lines: list[LogLine]) -> list[StoredEvent]:
        found = []
        for named in (named for line in lines for named in line.events()):
            if named.get("correlation_id") == correlation_id:
                source = ORDERS if str(named.get("event_type")).startswith("Order") else CUSTOMERS
                event = self._outboxes.get(source, named["aggregate_id"], named["event_id"])
                found += [event] if event else []
        unique = list({event.id: event for event in found}.values())
        return self._outboxes.with_answers(unique)

    def _scan(self, correlation_id: str) -> list[StoredEvent]:
        read = 0

        def count(items: int) -> None:
            nonlocal read
            read += items
            self._progress(f"No event of it is in the logs; reading the outboxes: {read:,} items")

        return list(self._outboxes.scan_correlation(correlation_id, count))

    def _timeline(
        self, correlation_id: str, events: list[StoredEvent], lines: list[LogLine] | None = None
    ) -> Timeline:
        if lines is None:
            since = min(event.occurred_at for event in events) - LONGEST_REQUEST
            self._progress("Reading the logs")
            lines = self._logs.of_correlation(correlation_id, since)
        return timeline(correlation_id, events, lines)
