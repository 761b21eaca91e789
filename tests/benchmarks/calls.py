"""Goal 3, first half: everything that one order makes AWS do, counted while orders go through a running system.

The functions' own calls are counted by a proxy before the emulator, a state machine's by its execution history,
invocations and what they log by the logs, deliveries by the rules that the events match.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.processes import free_port
from tests.benchmarks.speed import wait_until_all
from tests.benchmarks.systems import Design, System
from tests.chaos.aws_proxy import AwsProxy, Upstream
from tests.chaos.event_loop import EventLoop
from tests.chaos.http import Request, Response

WRITE_UNIT_BYTES, READ_UNIT_BYTES = 1024, 4096
QUIET_SECONDS = 2.0
WARM_UP_ORDERS = 3
REPORT = re.compile(r"^REPORT .*\bDuration: ([\d.]+) ms")
Item = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request to AWS, and its answer if it was not refused."""

    operation: str
    request: Item
    response: Item


@dataclass
class Invocations:
    count: int = 0
    milliseconds: float = 0
    """All together, as the emulator reports them."""
    log_bytes: int = 0
    """Lambda's own START, END and REPORT included."""


@dataclass
class Counted:
    """What some orders made AWS do."""

    orders: int
    calls: Counter[str] = field(default_factory=Counter)
    write_units: float = 0
    read_units: float = 0
    events: int = 0
    messages: int = 0
    """Sent to queues."""
    receives: int = 0
    """Batches received from queues, and deleted."""
    state_changes: int = 0
    calls_of_machines: int = 0
    """Of the calls those that state machines made, for which no function waits."""
    bytes_sent: int = 0
    cpu_seconds: float | None = None
    """Of the functions' processes; None where the system does not tell."""
    invocations: dict[str, Invocations] = field(default_factory=dict)
    """By function."""

    @property
    def sqs_requests(self) -> int:
        return self.messages + 2 * self.receives

    def per_order(self, value: float) -> float:
        return value / self.orders


class CountingProxy(AwsProxy):
    """Passes everything on, and remembers it."""

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
def seen_through(
    design: Design, directory: Path, loop: EventLoop
) -> Iterator[tuple[System, CountingProxy]]:
    """The system runs inside the block, and all of its functions reach AWS by the proxy."""
    port = free_port()
    proxy = CountingProxy(loop, port)
    parameters = {"AwsEndpointUrl": proxy.url}
    with System.start(design, directory, port=port, parameters=parameters) as system:
        for number in range(WARM_UP_ORDERS):
            wait_until_all(system.visible, [system.create_order(number)])
        yield system, proxy


def _workers(system: System) -> list[tuple[int, str]]:
    """The pid, and the command with its environment, of each process of the system's functions."""
    listed = subprocess.run(
        ["ps", "-A", "eww", "-o", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout
    directory = f"{system.directory.resolve()}/"
    return [
        (int(line.split(maxsplit=1)[0]), line)
        for line in listed.splitlines()
        if directory in line and "/_worker.py" in line
    ]


def _cpu_seconds(system: System) -> dict[int, float] | None:
    """What each process of the system's functions has computed so far; None where there is no /proc."""
    found = {}
    if not Path("/proc/self/schedstat").exists():
        return None
    for pid, _ in _workers(system):
        with suppress(OSError):  # it has just ended
            tasks = Path(f"/proc/{pid}/task").iterdir()
            # The first number is the nanoseconds on a processor.
            found[pid] = sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
    return found


def _cpu_between(before: dict[int, float], after: dict[int, float]) -> float:
    """Of those processes that there were before: what others computed, they computed to start."""
    return sum(after.get(pid, seconds) - seconds for pid, seconds in before.items())


def count(
    system: System,
    proxy: CountingProxy,
    orders: int,
    place: Callable[[], Sequence[Any]],
) -> Counted:
    """What the orders that `place` creates, `orders` of them, make AWS do until all is quiet again."""
    _wait_until_quiet(proxy)
    proxy.calls.clear()
    proxy.bytes_sent = 0
    started = time.time()
    cpu_before = _cpu_seconds(system)
    ids = place()
    wait_until_all(system.decided, ids)
    wait_until_all(system.visible, ids)
    _wait_until_quiet(proxy)
    counted = Counted(orders, bytes_sent=proxy.bytes_sent)
    if cpu_before is not None:
        counted.cpu_seconds = _cpu_between(cpu_before, _cpu_seconds(system) or {})
    of_machines = _calls_of_state_machines(system, started, counted)
    counted.calls_of_machines = len(of_machines)
    calls = [*proxy.calls, *of_machines]
    rules = _rules(system)
    for call in calls:
        counted.calls[call.operation] += 1
        writes, reads = request_units(call, lambda key: _size_in_table(system, key))
        counted.write_units += writes
        counted.read_units += reads
        if call.operation == "PutEvents":
            counted.events += len(call.request["Entries"])
            counted.messages += sum(
                matches(rule, entry) for entry in call.request["Entries"] for rule in rules
            )
    counted.invocations = _invocations(system, started)
    consumers = _queue_consumers(system)
    counted.receives = sum(
        found.count for name, found in counted.invocations.items() if name in consumers
    )
    return counted


def request_units(call: Call, stored_bytes: Callable[[Item], int]) -> tuple[float, float]:
    """The write and read request units that the call takes.

    `stored_bytes` says how large the item is that an update or a deletion, which have but its key, is about.
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
            item = call.response.get("Item", {})
            return 0, read_units(item_bytes(item), consistent=request.get("ConsistentRead", False))
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
    """The item's size, as DynamoDB counts it.

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
    """Whether a rule's pattern, of lists of sources and of types, takes the event."""
    facts = {"source": entry["Source"], "detail-type": entry["DetailType"]}
    return all(facts[name] in values for name, values in pattern.items())


def _rules(system: System) -> list[Item]:
    events = system.client("events")
    (bus,) = system.physical_ids("AWS::Events::EventBus").values()
    return [
        json.loads(rule["EventPattern"]) for rule in events.list_rules(EventBusName=bus)["Rules"]
    ]


def _queue_consumers(system: System) -> set[str]:
    mappings = system.functions.list_event_source_mappings()["EventSourceMappings"]
    return {
        mapping["FunctionArn"].rpartition(":")[2]
        for mapping in mappings
        if ":sqs:" in mapping["EventSourceArn"]
    }


def _invocations(system: System, since: float) -> dict[str, Invocations]:
    found = {}
    for name in system.physical_ids("AWS::Lambda::Function").values():
        invocations = Invocations()
        group = f"/aws/lambda/{name}"
        if not system.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            continue  # it was never invoked
        pages = system.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=int(since * 1000)
        )
        for page in pages:
            for event in page["events"]:
                invocations.log_bytes += len(event["message"].encode())
                if report := REPORT.match(event["message"]):
                    invocations.count += 1
                    invocations.milliseconds += float(report[1])
        if invocations.count:
            found[name] = invocations
    return found


def _calls_of_state_machines(system: System, since: float, counted: Counted) -> list[Call]:
    """The calls that executions started since made; the state changes are counted on the way."""
    calls = []
    states = system.client("stepfunctions")
    for arn in system.physical_ids("AWS::StepFunctions::StateMachine").values():
        definition = json.loads(states.describe_state_machine(stateMachineArn=arn)["definition"])
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=arn)
        executions = [execution for page in pages for execution in page["executions"]]
        for execution in executions:
            if execution["startDate"].timestamp() < since:
                continue
            history = states.get_paginator("get_execution_history").paginate(
                executionArn=execution["executionArn"]
            )
            for page in history:
                for event in page["events"]:
                    if details := event.get("stateEnteredEventDetails"):
                        counted.state_changes += 1
                        state = definition["States"][details["name"]]
                        if state["Type"] == "Task":
                            calls.append(_call_of_task(state, json.loads(details["input"])))
    return calls


def _call_of_task(state: Item, state_input: Item) -> Call:
    operation = state["Resource"].rpartition(":")[2]
    operation = operation[:1].upper() + operation[1:]
    return Call(operation, resolved(state["Parameters"], state_input), {})


def resolved(parameters: Any, state_input: Item) -> Any:
    """A task's parameters with the values of the input put in, as far as our state machine uses paths."""
    if isinstance(parameters, list):
        return [resolved(value, state_input) for value in parameters]
    if not isinstance(parameters, dict):
        return parameters
    return {
        name.removesuffix(".$"): _at(value, state_input)
        if name.endswith(".$")
        else resolved(value, state_input)
        for name, value in parameters.items()
    }


def _at(path: str, state_input: Item) -> Any:
    if text := re.fullmatch(r"States\.Format\('(.*)', \$\.(\w+)\)", path):
        return text[1].format(state_input[text[2]])
    return state_input[path.removeprefix("$.")]


def _size_in_table(system: System, write: Item) -> int:
    found = system.dynamodb.get_item(
        TableName=write["TableName"], Key=write["Key"], ConsistentRead=True
    )
    return item_bytes(found.get("Item", {}))


def _wait_until_quiet(proxy: CountingProxy) -> None:
    """Nothing was asked for a while."""
    while True:
        before = len(proxy.calls)
        time.sleep(QUIET_SECONDS)
        if len(proxy.calls) == before:
            return
