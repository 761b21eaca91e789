"""Log lines of the functions, by correlation.

Lines are read by the name of their function, their level and their keys, not by their message: a relay's line
names the events that it published, and a subscriber's line the events that it handled.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.ops.target import Target
from infra.ops.untrusted import Json, parse_object, text_at

PARALLEL_GROUPS = 4
MAX_MILLISECONDS = 86_400_000
"""A longer duration in a line is not believed."""
FAILURES = ("WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class LogLine:
    """One JSON line of a function."""

    function: str
    """Name without the stack's name, for example `orders-api`."""
    at: datetime
    entry: Json

    @property
    def message(self) -> str:
        """The name of what happened."""
        return text_at(self.entry, "message")

    @property
    def duration(self) -> timedelta:
        """How long the work took that the line reports."""
        value = self.entry.get("milliseconds")
        if isinstance(value, int | float) and 0 <= value <= MAX_MILLISECONDS:
            return timedelta(milliseconds=value)
        return timedelta()

    @property
    def failed(self) -> bool:
        """Whether the line reports a failure."""
        return self.entry.get("level") in FAILURES

    @property
    def reason(self) -> str:
        """Why it failed: the last line of the exception, or the key `reason`; may be empty."""
        lines = text_at(self.entry, "exception").strip().splitlines() or [""]
        return lines[-1] or text_at(self.entry, "reason")

    def events(self) -> list[Json]:
        """Return the keys of each event that the line names: its own, or those in its lists."""
        if text_at(self.entry, "event_id"):
            return [self.entry]
        lists = (value for value in self.entry.values() if isinstance(value, list))
        return [named for values in lists for named in values if text_at(named, "event_id")]

    def names(self, event_id: str) -> bool:
        """Return whether the line names the event."""
        return any(text_at(named, "event_id") == event_id for named in self.events())


class FunctionLogs:
    """The log groups of the stack's functions."""

    def __init__(self, target: Target) -> None:
        self._client = target.client("logs")
        self._prefix = f"/aws/lambda/{target.stack_name}-"
        self._groups = [
            name
            for logical_id, name in sorted(target.resources.items())
            if logical_id.endswith("LogGroup") and name.startswith(self._prefix)
        ]

    def of_correlation(
        self, correlation_id: str, since: datetime | None = None, functions: Container[str] = ()
    ) -> list[LogLine]:
        """Return the lines that name the correlation, oldest first: of `functions`, or of all functions."""
        groups = [
            group
            for group in self._groups
            if not functions or group.removeprefix(self._prefix) in functions
        ]
        with ThreadPoolExecutor(PARALLEL_GROUPS) as threads:
            found = threads.map(
                lambda group: list(self._read(group, correlation_id, since)), groups
            )
            lines = [line for lines in found for line in lines]
        return sorted(lines, key=lambda line: line.at)

    def _read(self, group: str, text: str, since: datetime | None) -> Iterator[LogLine]:
        start: Any = {"startTime": max(0, int(since.timestamp() * 1000))} if since else {}
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=json.dumps(text), **start
        )
        function = group.removeprefix(self._prefix)
        for page in pages:
            for event in page["events"]:
                entry = parse_object(event["message"])
                if entry and text in event["message"]:  # not every emulator filters
                    yield LogLine(function, _instant(entry, event["timestamp"]), entry)


def _instant(entry: Json, ingested_at: int) -> datetime:
    """Return when the line was written. CloudWatch's own time may be that of the whole invocation."""
    try:
        written = datetime.strptime(text_at(entry, "timestamp"), "%Y-%m-%d %H:%M:%S,%f%z")
        return written.astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(ingested_at / 1000, UTC)
