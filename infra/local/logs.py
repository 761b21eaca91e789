"""Read the functions' logs and print each JSON line as one short line."""

import json
import re
from datetime import datetime
from typing import Any

from infra.local.deployed_stack import DeployedStack
from infra.terminal import clean_lines

# How far a query overlaps the previous one.
OVERLAP_MILLISECONDS = 5_000
# The platform's lines around each invocation, and metrics (layers/common/telemetry), which CloudWatch reads.
PLATFORM_LINES = ("INIT_START ", "START ", "END ", "REPORT ", '{"_aws"')
# Keys that are shortened (events), or that every line has.
OMITTED_KEYS = re.compile("level|message|timestamp|service|xray_trace_id|events|_aws")


class FunctionLogs:
    """Reads the log groups of the stack's functions. Each line is returned once."""

    def __init__(self, stack: DeployedStack, since_milliseconds: int) -> None:
        self._client = stack.client("logs")
        self._prefix = f"/aws/lambda/{stack.name}-"
        self._first = self._since = since_milliseconds
        self._seen: set[tuple[str, str, str]] = set()

    def read(self) -> list[str]:
        """Return the lines since the last call, oldest first."""
        start, new = max(self._first, self._since - OVERLAP_MILLISECONDS), []
        groups = self._client.describe_log_groups(logGroupNamePrefix=self._prefix)["logGroups"]
        pages = self._client.get_paginator("filter_log_events")
        for name in (group["logGroupName"] for group in groups):
            for event in pages.paginate(logGroupName=name, startTime=start).search("events[]"):
                # MiniStack's events have no id. It writes one complete stream per invocation.
                key = name, event["logStreamName"], event.get("eventId", event["message"])
                line = _line(name.removeprefix(self._prefix), event)
                if key not in self._seen and line:
                    new.append((event["timestamp"], line))
                self._seen.add(key)
        new.sort(key=lambda entry: entry[0])
        if new:
            self._since = new[-1][0]
        return [line for _, line in new]


def _line(function: str, event: dict[str, Any]) -> str | None:
    message = event["message"].rstrip()
    if not message or message.startswith(PLATFORM_LINES):
        return None
    time = datetime.fromtimestamp(event["timestamp"] / 1000).astimezone().strftime("%H:%M:%S")
    text = _short(message)
    return f"{time} {function:<25}{clean_lines(text)}" if text else None


def _short(message: str) -> str | None:
    try:
        entry: Any = json.loads(message)
    except ValueError:
        return message
    if not isinstance(entry, dict) or "message" not in entry:
        return message
    if "/assets/" in f"{entry.get('path')}{entry.get('route')}" and entry.get("level") == "INFO":
        return None  # a page of the console loads about ten of them
    metrics = _metric_names(entry)
    details = [
        f"{key}={value}"
        for key, value in entry.items()
        if not OMITTED_KEYS.fullmatch(key) and key not in metrics and value != 0
    ]
    return " ".join([f"{entry.get('level', '')!s:<8}{entry['message']}", *_events(entry), *details])


def _metric_names(entry: dict[str, Any]) -> set[str]:
    """Return the keys of the line's metrics (EMF), which are for CloudWatch."""
    try:
        directives = entry["_aws"]["CloudWatchMetrics"]
        return {metric["Name"] for d in directives for metric in d["Metrics"]}
    except (KeyError, TypeError):
        return set()


def _events(entry: dict[str, Any]) -> list[str]:
    """Return `OrderCreated(1)->CustomerCreditReserved` for each event of the line, with the order's id."""
    events = entry.get("events")
    described = []
    for event in events if isinstance(events, list) else []:
        if isinstance(event, dict):
            answer = f"->{event['published']}" if event.get("published") else ""
            subject = event.get("order_id", event.get("customer_id", ""))
            described.append(f"{event.get('event_type')}({subject}){answer}")
    return described
