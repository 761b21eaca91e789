"""Read the functions' logs.

A line is read by its function, its level and its keys, not by its message. A relay's line names the events that it
published, and a subscriber's line the events that it handled.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.ops.target import Target
from infra.ops.untrusted import EPOCH, Json, instant, parse_object, text_at

PARALLEL_GROUPS = 4
MAX_MILLISECONDS = 86_400_000
"""Longest duration in a line that is believed."""


@dataclass(frozen=True)
class LogLine:
    """One JSON line of a function."""

    function: str
    """Name without the stack's name, for example `orders-api`."""
    at: datetime
    entry: Json

    @property
    def message(self) -> str:
        return text_at(self.entry, "message")

    @property
    def duration(self) -> timedelta:
        """The duration that the line reports, or zero."""
        value = self.entry.get("milliseconds")
        if isinstance(value, int | float) and 0 <= value <= MAX_MILLISECONDS:
            return timedelta(milliseconds=value)
        return timedelta()

    @property
    def failed(self) -> bool:
        return self.entry.get("level") in ("WARNING", "ERROR", "CRITICAL")

    @property
    def reason(self) -> str:
        """Why it failed: the last line of the exception, or the key `reason` or `codes`; may be empty."""
        if lines := text_at(self.entry, "exception").strip().splitlines():
            return lines[-1]
        return text_at(self.entry, "reason") or str(self.entry.get("codes") or "")

    def events(self) -> list[Json]:
        """Return the keys of each event that the line names: its own, or those in its lists."""
        if text_at(self.entry, "event_id"):
            return [self.entry]
        lists = (value for value in self.entry.values() if isinstance(value, list))
        return [named for values in lists for named in values if text_at(named, "event_id")]


class FunctionLogs:
    """The log groups of the stack's functions."""

    def __init__(self, target: Target) -> None:
        self._client = target.client("logs")
        prefix = f"/aws/lambda/{target.stack_name}-"
        self._groups = {
            name.removeprefix(prefix): name
            for logical_id, name in sorted(target.resources.items())
            if logical_id.endswith("LogGroup") and name.startswith(prefix)
        }

    def lines(
        self, text: str, since: datetime | None = None, functions: Collection[str] = ()
    ) -> list[LogLine]:
        """Return the JSON lines that contain the text, oldest first: of `functions`, or of all functions."""
        names = [name for name in self._groups if not functions or name in functions]
        with ThreadPoolExecutor(PARALLEL_GROUPS) as threads:
            found = threads.map(lambda name: list(self._read(name, text, since)), names)
            return sorted((line for lines in found for line in lines), key=lambda line: line.at)

    def _read(self, function: str, text: str, since: datetime | None) -> Iterator[LogLine]:
        start: Any = {"startTime": max(0, int(since.timestamp() * 1000))} if since else {}
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=self._groups[function], filterPattern=json.dumps(text), **start
        )
        for event in pages.search("events[]"):
            entry = parse_object(event["message"])
            if entry and text in event["message"]:  # not every emulator filters
                yield LogLine(function, _written_at(entry, event["timestamp"]), entry)


def _written_at(entry: Json, ingested_at: int) -> datetime:
    """Return when the line was written. CloudWatch's own time may be that of the whole invocation."""
    written = instant(text_at(entry, "timestamp"))
    return written if written > EPOCH else datetime.fromtimestamp(ingested_at / 1000, UTC)
