"""What the functions have logged, one short line for each of their JSON lines."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.terminal import clean_lines

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import FilteredLogEventTypeDef

LOG_GROUP_PREFIX = f"/aws/lambda/{STACK_NAME}-"
# How far back, in milliseconds, a look overlaps the one before.
OVERLAP_MILLISECONDS = 5_000
# Printed by Lambda around each invocation; and metrics (layers/common/metrics.py), which are for CloudWatch to read.
PLATFORM_LINES = ("INIT_START ", "START ", "END ", "REPORT ", '{"_aws"')
# What Powertools adds to each line, and a reader at a terminal can do without.
COMMON_KEYS = frozenset(
    {
        "level",
        "location",
        "message",
        "timestamp",
        "service",
        "cold_start",
        "function_name",
        "function_memory_size",
        "function_arn",
        "function_request_id",
        "xray_trace_id",
        "events",  # of a relay: the ids of each
    }
)


class FunctionLogs:
    """Reads the log groups of the functions, each line once."""

    def __init__(self, endpoint_url: str) -> None:
        self._client = aws_session().client("logs", endpoint_url=endpoint_url, config=CLIENT_CONFIG)
        self._since = 0
        self._seen: set[tuple[str, str, str]] = set()

    def read(self) -> list[str]:
        """The lines logged since the last call, oldest first."""
        new: list[tuple[int, str]] = []
        for group in self._groups():
            events = self._client.filter_log_events(
                logGroupName=group, startTime=max(0, self._since - OVERLAP_MILLISECONDS)
            )["events"]
            unseen = [event for event in events if _key(group, event) not in self._seen]
            self._seen.update(_key(group, event) for event in unseen)
            function = group.removeprefix(LOG_GROUP_PREFIX)
            new.extend(
                (event["timestamp"], line) for event in unseen if (line := _line(function, event))
            )
        new.sort(key=lambda entry: entry[0])
        if new:
            self._since = new[-1][0]
        return [line for _, line in new]

    def _groups(self) -> list[str]:
        groups = self._client.describe_log_groups(logGroupNamePrefix=LOG_GROUP_PREFIX)["logGroups"]
        return [group["logGroupName"] for group in groups]


def _key(group: str, event: "FilteredLogEventTypeDef") -> tuple[str, str, str]:
    # MiniStack's events have no id, and need none: it writes a stream for each invocation, at its end and whole.
    return group, event["logStreamName"], event.get("eventId", "")


def _line(function: str, event: "FilteredLogEventTypeDef") -> str | None:
    message = event["message"].rstrip()
    if not message or message.startswith(PLATFORM_LINES):
        return None
    time = datetime.fromtimestamp(event["timestamp"] / 1000).astimezone().strftime("%H:%M:%S")
    return f"{time} {function:<25}{clean_lines(_short(message))}"


def _short(message: str) -> str:
    try:
        entry: Any = json.loads(message)
    except ValueError:
        return message
    if not isinstance(entry, dict) or "message" not in entry:
        return message
    details = [f"{key}={value}" for key, value in entry.items() if key not in COMMON_KEYS]
    return " ".join([f"{entry.get('level', '')!s:<8}{entry['message']}", *details])
