"""What the functions have logged of one correlation."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.ops.target import Target

GROUPS_AT_ONCE = 4


@dataclass(frozen=True)
class LogLine:
    """One JSON line of a function."""

    function: str
    """Without the stack's name: `orders-api`."""
    at: datetime
    entry: dict[str, Any]

    @property
    def message(self) -> str:
        """What it says."""
        return str(self.entry.get("message", ""))

    @property
    def duration(self) -> timedelta:
        """What was done took so long when the line was written."""
        return timedelta(milliseconds=float(self.entry.get("milliseconds", 0)))

    @property
    def reason(self) -> str:
        """Why something failed; empty if nothing did."""
        name, text = self.entry.get("exception_name"), self.entry.get("exception")
        if not name:
            return str(self.entry.get("reason", ""))
        return str(text).strip().splitlines()[-1] if text else str(name)

    def events(self) -> list[dict[str, Any]]:
        """What it says of events: a subscriber's line of one, a relay's of all that it has published."""
        if "event_id" in self.entry:
            return [self.entry]
        listed = self.entry.get("events")
        return [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []


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
        """All lines that name the correlation, oldest first; only those of `functions`, if any are named."""
        groups = [
            group
            for group in self._groups
            if not functions or group.removeprefix(self._prefix) in functions
        ]
        with ThreadPoolExecutor(GROUPS_AT_ONCE) as threads:
            found = threads.map(
                lambda group: list(self._read(group, correlation_id, since)), groups
            )
            lines = [line for lines in found for line in lines]
        return sorted(lines, key=lambda line: line.at)

    def _read(self, group: str, text: str, since: datetime | None) -> Iterator[LogLine]:
        start: Any = {"startTime": int(since.timestamp() * 1000)} if since else {}
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=f'"{text}"', **start
        )
        function = group.removeprefix(self._prefix)
        for page in pages:
            for event in page["events"]:
                entry = _parse(event["message"])
                if entry and text in event["message"]:  # not every emulator filters
                    yield LogLine(function, _instant(entry, event["timestamp"]), entry)


def _parse(message: str) -> dict[str, Any]:
    try:
        entry = json.loads(message)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _instant(entry: dict[str, Any], ingested_at: int) -> datetime:
    """When the line was written; CloudWatch's own time may be that of the whole invocation."""
    try:
        return datetime.strptime(entry["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z").astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return datetime.fromtimestamp(ingested_at / 1000, UTC)
