"""Each function by itself: how long a fresh interpreter takes to make it ready, and what one invocation computes.

Every function runs as the emulator runs it, on the emulator's interpreter with the built layers, but against a stub
that answers at once: only the function is measured. A figure is taken together with what it is compared with, in
turns, and only their difference or ratio means something on another machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from infra.local import emulators
from infra.local.build import HOST, PROJECT, Build
from infra.local.deployed_stack import STACK_NAME
from infra.local.deployment import RUNTIME
from infra.local.emulators import Directories
from infra.local.processes import free_port, stop
from tests.benchmarks.stub import StubOfAws
from tests.benchmarks.systems import System
from tests.chaos.workers import Workers

HERE = Path(__file__).parent
EVENTS = PROJECT / "events"


@dataclass(frozen=True)
class Measured:
    """A function, an event for it, and what does the same work in bare boto3 (`bare_work.py`)."""

    logical_id: str
    event: str
    same_work: str
    variables: tuple[str, ...] = ()

    @property
    def is_api(self) -> bool:
        return "Api" in self.logical_id


FUNCTIONS = (
    Measured("CustomersApiFunction", "customers_api_create.json", "create_customer"),
    Measured("OrdersApiFunction", "orders_api_create.json", "create_order"),
    Measured("OrderHistoryApiFunction", "order_history_api_order.json", "get_history"),
    Measured("CustomersSubscriberFunction", "customers_subscriber_batch.json", "reserve_credit"),
    Measured("OrdersSubscriberFunction", "orders_subscriber_batch.json", "approve_order"),
    Measured("OrderHistoryProjectionFunction", "order_history_projection_batch.json", "project"),
    Measured("OrdersOutboxRelayFunction", "outbox_relay_batch.json", "relay"),
)
VARIABLES = {
    "CUSTOMERS_TABLE": "Customers",
    "CUSTOMERS_OUTBOX_TABLE": "CustomersOutbox",
    "ORDERS_TABLE": "Orders",
    "ORDERS_OUTBOX_TABLE": "OrdersOutbox",
    "EVENT_BUS_NAME": "bus",
    "DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:1/dead-letters",
}


@dataclass(frozen=True)
class Start:
    """Milliseconds in a fresh interpreter, and above what boto3 with its client takes, in the same run."""

    init_ms: float
    """Importing the handler."""
    init_above_boto3_ms: float
    first_above_boto3_ms: float
    """Importing it and answering the first event, above boto3 making a call of its own."""


@dataclass(frozen=True)
class Warm:
    """Milliseconds of processor per invocation."""

    ours_ms: float
    bare_ms: float
    ratio: float


@dataclass
class Workbench:
    """The built functions, and what they are run against."""

    build: Build
    stub: StubOfAws
    mongodb_uri: str

    @classmethod
    @contextmanager
    def ready(cls) -> Iterator[Workbench]:
        build = Build(RUNTIME, HOST)
        with tempfile.TemporaryDirectory() as directory, StubOfAws.running() as stub:
            directories = Directories(Path(directory) / "mongodb")
            with build.exclusive():
                build.run(directories.logs)
            port = free_port()
            mongodb = emulators.start_mongodb(port, directories)
            try:
                emulators.wait_until_ready(mongodb)
                yield cls(build, stub, emulators.mongodb_uri(port))
            finally:
                stop([mongodb])

    def start(self, function: Measured, repetitions: int) -> Start:
        """The medians of as many pairs of fresh interpreters."""
        init, above, first_above = [], [], []
        for _ in range(repetitions):
            ours = self._run(function, "start")
            boto3 = self._run(function, "boto3")
            init.append(ours["init_ms"])
            above.append(ours["init_ms"] - boto3["init_ms"])
            first_above.append(ours["first_ms"] - boto3["first_ms"])
        return Start(median(init), median(above), median(first_above))

    def warm(self, function: Measured, rounds: int) -> Warm:
        """Our handler and the same work in bare boto3 in one process, in turns."""
        found = self._run(function, "warm", str(rounds))
        ours, bare = median(found["ours_ms"]), median(found["bare_ms"])
        pairs = zip(found["ours_ms"], found["bare_ms"], strict=True)
        return Warm(ours, bare, median(a / b for a, b in pairs))

    def profile(self, function: Measured) -> list[tuple[str, float]]:
        """Where our handler's time goes: (package, share of the whole), the largest first."""
        return [(name, share) for name, share in self._run(function, "profile")["shares"]]

    def layer_megabytes(self) -> dict[str, float]:
        """Of each layer, unzipped."""
        return {
            layer: sum(
                f.stat().st_size for f in (self.build.artifacts / layer).rglob("*") if f.is_file()
            )
            / 1e6
            for layer in ("DependenciesLayer", "CommonLayer")
        }

    def largest_packages(self) -> list[tuple[str, float]]:
        """What the layer of dependencies is made of, in megabytes, the largest first."""
        root = self.build.artifacts / "DependenciesLayer/python"
        sizes = {
            entry.name: sum(f.stat().st_size for f in entry.rglob("*") if f.is_file()) / 1e6
            for entry in root.iterdir()
            if entry.is_dir()
        }
        return sorted(sizes.items(), key=lambda item: -item[1])

    def _run(self, function: Measured, mode: str, *arguments: str) -> Any:
        artifacts = self.build.artifacts
        properties = self.build.template()["Resources"][function.logical_id]["Properties"]
        path = [
            str(artifacts / function.logical_id),
            str(artifacts / "CommonLayer/python"),
            str(artifacts / "DependenciesLayer/python"),
        ]
        environment = {
            name: os.environ[name] for name in emulators.INHERITED_VARIABLES if name in os.environ
        } | {
            **VARIABLES,
            "PYTHONPATH": os.pathsep.join(path),
            "AWS_ENDPOINT_URL": self.stub.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "MONGODB_URI": self.mongodb_uri,
            "POWERTOOLS_SERVICE_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
        }
        command = [
            _interpreter(),
            str(HERE / "invoker.py"),
            mode,
            properties["Handler"],
            str(EVENTS / function.event),
            function.same_work,
            *arguments,
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{function.logical_id}, {mode}:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1])


@cache
def _interpreter() -> str:
    """The emulators' Python, which has the boto3 that Lambda's would have, and nothing else of ours."""
    ours = Path(sys.prefix)
    default = ours.with_name(ours.name.replace(".venv", ".venv-emulators", 1))
    return str(Path(os.environ.get("EMULATORS_VENV", default)).resolve() / "bin/python")


@dataclass(frozen=True)
class InEmulator:
    """Milliseconds of an invocation, the emulator's own included."""

    cold: float
    warm: float


def in_emulator(system: System, function: Measured) -> InEmulator:
    """A function whose processes were killed, and the same once it runs. Nothing is changed by the events."""
    name = system.physical_ids("AWS::Lambda::Function")[function.logical_id]
    payload = '{"Records": []}'
    if function.is_api:
        payload = (EVENTS / function.event.replace("create", "list")).read_text()

    def invoke() -> float:
        started = time.perf_counter()
        answer = system.functions.invoke(FunctionName=name, Payload=payload)
        if "FunctionError" in answer:
            raise RuntimeError(f"{name}: {answer['Payload'].read()!r}")
        return (time.perf_counter() - started) * 1000

    workers = Workers(system.directory)
    colds = []
    for _ in range(3):
        workers.kill(name.removeprefix(f"{STACK_NAME}-"))
        try:
            colds.append(invoke())
        except RuntimeError:  # it was given to the process that has just died
            colds.append(invoke())
    return InEmulator(median(colds), median(invoke() for _ in range(5)))


Show = Callable[[str], None]


def starts(workbench: Workbench, repetitions: int, show: Show) -> dict[str, Start]:
    found = {}
    for function in FUNCTIONS:
        show(f"cold start: {function.logical_id}")
        found[function.logical_id] = workbench.start(function, repetitions)
    return found


def warms(workbench: Workbench, rounds: int, show: Show) -> dict[str, Warm]:
    found = {}
    for function in FUNCTIONS:
        show(f"warm: {function.logical_id}")
        found[function.logical_id] = workbench.warm(function, rounds)
    return found
