"""Calls to AWS and their request units, counted by a proxy between a system's functions and the emulator.

Calls of a state machine happen inside the emulator: they follow from the history of its executions. Invocations and
logs follow from the log groups, deliveries from the rules that the events match.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.speed import wait_until_all
from tests.benchmarks.systems import System
from tests.benchmarks.usage import EMULATOR, MONGODB, cpu_between, cpu_seconds
from tests.chaos.aws_proxy import AwsProxy, Upstream
from tests.chaos.event_loop import EventLoop
from tests.chaos.http import Request, Response

WRITE_UNIT_BYTES, READ_UNIT_BYTES = 1024, 4096
QUIET_SECONDS = 1.5
WARM_UP_ORDERS = 6
STATES = {
    "RecordOrder": ("PutItem", 1),
    "ReserveCredit": ("TransactWriteItems", 4),
    "Approve": ("UpdateItem", 1),
}
"""The calls of the state machine (peers/template.yaml) with their write units: all items are below 1 KB."""
Item = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request to AWS and its answer, `{}` if it failed without one."""

    operation: str
    request: Item
    response: Item


@dataclass
class Counted:
    """The work that some orders caused, all of them together."""

    orders: int
    calls: Counter[str] = field(default_factory=Counter)
    write_units: float = 0
    read_units: float = 0
    events: int = 0
    messages: int = 0
    """Sent to queues."""
    receives: int = 0
    """Batches received from queues."""
    state_changes: int = 0
    cpu_seconds: float = 0
    """Of the functions' processes."""
    invocations: Counter[str] = field(default_factory=Counter)
    """By function."""
    log_bytes: int = 0
    """Including START, END and REPORT of Lambda, unless the template leaves them out."""

    @property
    def sqs_requests(self) -> int:
        return self.messages + 2 * self.receives

    def per_order(self, value: float) -> float:
        return value / self.orders


PLATFORM_LINES = ("START ", "END ", "REPORT ")


class CountingProxy(AwsProxy):
    """Forwards all requests and records them."""

    def __init__(self, loop: EventLoop, target_port: int) -> None:
        super().__init__(loop, target_port)
        self.calls: list[Call] = []
        self.bytes_sent = 0

    async def _answer(self, request: Request, upstream: Upstream) -> Response | None:
        response = await super()._answer(request, upstream)
        if request.operation:
            answer = response.json if response is not None and response.body else {}
            self.calls.append(Call(request.operation, request.json, answer))
            self.bytes_sent += len(request.body)
        return response


@contextmanager
def counted_calls(system: System, loop: EventLoop) -> Iterator[CountingProxy]:
    """Let all functions of the system reach AWS through the proxy inside the block."""
    proxy = CountingProxy(loop, urlsplit(system.stack.aws_endpoint_url).port or 80)
    system.set_endpoint(proxy.url)
    try:
        for number in range(WARM_UP_ORDERS):
            wait_until_all(system.visible, [system.create_order(number)])
        yield proxy
    finally:
        system.set_endpoint(system.stack.aws_endpoint_url)


def count(system: System, proxy: CountingProxy, place: Callable[[], Sequence[int]]) -> Counted:
    """Count the work that the orders of `place` cause until nothing is left to do."""
    wait_until_quiet(proxy)
    proxy.calls.clear()
    started = time.time()
    before = cpu_seconds(system)
    ids = place()
    wait_until_all(system.decided, ids)
    wait_until_all(system.visible, ids)
    wait_until_quiet(proxy)
    counted = Counted(len(ids))
    spent = cpu_between(before, cpu_seconds(system))
    counted.cpu_seconds = sum(spent.values()) - spent[EMULATOR] - spent[MONGODB]
    rules = _rules(system)
    for call in proxy.calls:
        counted.calls[call.operation] += 1
        writes, reads = request_units(call, lambda write: _stored_bytes(system, write))
        counted.write_units += writes
        counted.read_units += reads
        if call.operation == "PutEvents":
            entries = call.request["Entries"]
            counted.events += len(entries)
            counted.messages += sum(matches(rule, entry) for entry in entries for rule in rules)
    _count_executions(system, started, counted)
    _count_invocations(system, started, counted)
    return counted


def request_units(call: Call, stored_bytes: Callable[[Item], int]) -> tuple[float, float]:
    """Return the write and read request units of the call.

    `stored_bytes` returns the size of the stored item of an update or a deletion, whose request has only the key.
    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
    """
    request = call.request
    match call.operation:
        case "PutItem":
            return write_units(item_bytes(request["Item"])), 0
        case "UpdateItem" | "DeleteItem":
            return write_units(stored_bytes(request)), 0
        case "TransactWriteItems":
            units = 0
            for action in request["TransactItems"]:
                ((kind, write),) = action.items()
                size = item_bytes(write["Item"]) if kind == "Put" else stored_bytes(write)
                units += 2 * write_units(size)
            return units, 0
        case "GetItem":
            size = item_bytes(call.response.get("Item", {}))
            return 0, read_units(size, consistent=request.get("ConsistentRead", False))
        case "BatchGetItem":
            units_read = 0.0
            for table, wanted in request["RequestItems"].items():
                consistent = wanted.get("ConsistentRead", False)
                items = call.response.get("Responses", {}).get(table, [])
                missing = len(wanted["Keys"]) - len(items)
                sizes = [item_bytes(item) for item in items] + [0] * missing
                units_read += sum(read_units(size, consistent=consistent) for size in sizes)
            return 0, units_read
    return 0, 0


def write_units(size: int) -> int:
    return max(1, math.ceil(size / WRITE_UNIT_BYTES))


def read_units(size: int, *, consistent: bool) -> float:
    return max(1, math.ceil(size / READ_UNIT_BYTES)) * (1.0 if consistent else 0.5)


def item_bytes(item: Item) -> int:
    """Return the item's size as DynamoDB counts it.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Item) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            digits = content.lstrip("-").replace(".", "").strip("0")
            return math.ceil(len(digits) / 2) + 1
        case "M":
            return 3 + sum(1 + len(k.encode()) + _value_bytes(v) for k, v in content.items())
        case "L":
            return 3 + sum(1 + _value_bytes(v) for v in content)
        case "NULL" | "BOOL":
            return 1
    return len(json.dumps(content))


def matches(pattern: Item, entry: Item) -> bool:
    """Return whether a rule's pattern, of lists of sources and of types, matches the event."""
    values = {"source": entry["Source"], "detail-type": entry["DetailType"]}
    return all(values[name] in wanted for name, wanted in pattern.items())


def _rules(system: System) -> list[Item]:
    events = system.client("events")
    (bus,) = system.physical_ids("AWS::Events::EventBus").values()
    return [
        json.loads(rule["EventPattern"]) for rule in events.list_rules(EventBusName=bus)["Rules"]
    ]


def log_lines(system: System, function: str, since: float) -> Iterator[str]:
    """Yield what the function logged since the time, which includes the lines of Lambda."""
    group = f"/aws/lambda/{function}"
    if not system.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return  # never invoked
    pages = system.logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=int(since * 1000)
    )
    for page in pages:
        for event in page["events"]:
            yield event["message"]


def _count_invocations(system: System, since: float, counted: Counted) -> None:
    template = (system.design.project / "template.yaml").read_text()
    leaves_out = "SystemLogLevel: WARN" in template
    mappings = system.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    consumers = {
        mapping["FunctionArn"].rpartition(":")[2]
        for mapping in mappings
        if ":sqs:" in mapping["EventSourceArn"]
    }
    for name in system.physical_ids("AWS::Lambda::Function").values():
        for line in log_lines(system, name, since):
            # The emulator writes the lines of Lambda whatever the template says.
            if not (leaves_out and line.startswith(PLATFORM_LINES)):
                counted.log_bytes += len(line.encode())
            if line.startswith("REPORT "):
                counted.invocations[name] += 1
                counted.receives += name in consumers


def _count_executions(system: System, since: float, counted: Counted) -> None:
    """Add the state changes and the calls of the executions that started since the time."""
    states = system.client("stepfunctions")
    for arn in system.physical_ids("AWS::StepFunctions::StateMachine").values():
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=arn)
        for execution in (e for page in pages for e in page["executions"]):
            if execution["startDate"].timestamp() < since:
                continue
            history = states.get_paginator("get_execution_history").paginate(
                executionArn=execution["executionArn"]
            )
            for event in (e for page in history for e in page["events"]):
                if entered := event.get("stateEnteredEventDetails"):
                    counted.state_changes += 1
                    if entered["name"] in STATES:
                        operation, units = STATES[entered["name"]]
                        counted.calls[operation] += 1
                        counted.write_units += units
                    elif entered["name"].startswith("Publish"):
                        counted.calls["PutEvents"] += 1
                        counted.events += 1
                        counted.messages += 1  # to the view's queue


def _stored_bytes(system: System, write: Item) -> int:
    found = system.dynamodb.get_item(
        TableName=write["TableName"], Key=write["Key"], ConsistentRead=True
    )
    return item_bytes(found.get("Item", {}))


def wait_until_quiet(proxy: CountingProxy) -> None:
    """Wait until no call was made for a while."""
    while True:
        before = len(proxy.calls)
        time.sleep(QUIET_SECONDS)
        if len(proxy.calls) == before:
            return
