"""Each function by itself: its cold start in a fresh interpreter, and the processor time of one warm invocation.

Functions run on the emulator's interpreter with the built layers, against a stub that answers at once. Each figure is
taken in turns with its counterpart: boto3 with a client and a call, and the bare peer's handler for the same event.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, Self

from infra.local import emulators
from infra.local.build import HOST, PROJECT, Build
from infra.local.deployment import RUNTIME
from infra.local.emulators import Directories
from infra.local.processes import free_port, stop
from tests.benchmarks.stub import StubOfAws

HERE = Path(__file__).parent
LAYERS = ("Common", "Dependencies", "Api", "MongoDb")
EVENTS = PROJECT / "events"


@dataclass(frozen=True)
class Measured:
    """A function, an event for it, and the bare peer's handler of the same event."""

    logical_id: str
    event: str
    bare: str

    @property
    def is_api(self) -> bool:
        return "Api" in self.logical_id

    @property
    def uses_boto3(self) -> bool:
        return not self.bare.startswith("peer.history.")

    @property
    def most_milliseconds(self) -> float | None:
        """How much more processor time than bare boto3 it may take; None if its goal is a multiple."""
        if self.is_api:
            return 1.0
        return None if self.uses_boto3 else 0.5


FUNCTIONS = (
    Measured("CustomersApiFunction", "customers_api_create.json", "peer.api.create_customer"),
    Measured("OrdersApiFunction", "orders_api_create.json", "peer.api.create_order"),
    Measured("OrderHistoryApiFunction", "order_history_api_order.json", "peer.history.get_order"),
    Measured(
        "CustomersSubscriberFunction", "customers_subscriber_batch.json", "peer.bare.customers"
    ),
    Measured("OrdersSubscriberFunction", "orders_subscriber_batch.json", "peer.bare.orders"),
    Measured(
        "OrderHistoryProjectionFunction",
        "order_history_projection_batch.json",
        "peer.history.project",
    ),
    Measured("OrdersOutboxRelayFunction", "orders_outbox_relay_batch.json", "peer.api.relay"),
)
VARIABLES = {
    "CUSTOMERS_TABLE": "Customers",
    "CUSTOMERS_OUTBOX_TABLE": "CustomersOutbox",
    "CUSTOMERS_IDEMPOTENCY_TABLE": "CustomersIdempotency",
    "ORDERS_TABLE": "Orders",
    "ORDERS_OUTBOX_TABLE": "OrdersOutbox",
    "ORDERS_IDEMPOTENCY_TABLE": "OrdersIdempotency",
    "EVENT_BUS_NAME": "bus",
    "DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:1/dead-letters",
    "POWERTOOLS_SERVICE_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@dataclass(frozen=True)
class Start:
    """Milliseconds in a fresh interpreter above those of boto3, or of all libraries of an API. Both are their fastest."""

    init: float
    """To import the handler, against importing boto3 and making a client."""
    first: float
    """To the answer to the first event, against boto3's first call."""


@dataclass(frozen=True)
class Warm:
    """Milliseconds of processor per invocation."""

    ours: float
    bare: float
    ratio: float
    """The median of the rounds' ratios."""
    tuned: Warm | None = None
    """The same, if boto3's clients have our settings."""

    @classmethod
    def of(cls, found: Any) -> Self:
        """Summarize the rounds."""
        pairs = zip(found["ours_ms"], found["bare_ms"], strict=True)
        ratio = median(ours / bare for ours, bare in pairs)
        return cls(median(found["ours_ms"]), median(found["bare_ms"]), ratio)


@dataclass(frozen=True)
class Layers:
    """Megabytes of the layers that a function loads."""

    total: float
    bytecode: float


@dataclass
class Workbench:
    """The built functions and the services that they are run against."""

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
        """Compare the fastest of fresh interpreters, which are started in turns. Others were disturbed."""
        runs: dict[str, list[Any]] = {"start": [], "libraries" if function.is_api else "boto3": []}
        for _ in range(repetitions):
            for mode, found in runs.items():
                found.append(self._run(function, mode))
        ours, others = (
            {name: min(run[name] for run in found) for name in ("init_ms", "first_ms")}
            for found in runs.values()
        )
        return Start(ours["init_ms"] - others["init_ms"], ours["first_ms"] - others["first_ms"])

    def warm(self, function: Measured, rounds: int) -> Warm:
        """Measure our handler and the bare one in one process, in turns."""
        warm = Warm.of(self._run(function, "warm", str(rounds)))
        if function.uses_boto3:
            tuned = self._run(function, "warm", str(rounds // 3), TUNED="1")
            return replace(warm, tuned=Warm.of(tuned))
        return warm

    def layers(self, function: Measured) -> Layers:
        """Return the unzipped sizes of the layers that the function loads."""
        template = self.build.template()
        properties = template["Resources"][function.logical_id]["Properties"]
        layers = [*template["Globals"]["Function"]["Layers"], *properties.get("Layers", [])]
        names = [reference["Ref"] for reference in layers if "Ref" in reference]
        files = [f for name in names for f in (self.build.artifacts / name).rglob("*")]
        sizes = {file: file.stat().st_size / 1e6 for file in files if file.is_file()}
        bytecode = sum(size for file, size in sizes.items() if file.suffix == ".pyc")
        return Layers(sum(sizes.values()), bytecode)

    def _run(self, function: Measured, mode: str, *arguments: str, **variables: str) -> Any:
        artifacts = self.build.artifacts
        properties = self.build.template()["Resources"][function.logical_id]["Properties"]
        path = [
            str((artifacts / properties["CodeUri"]).resolve()),
            *(str(artifacts / f"{name}Layer/python") for name in LAYERS),
            str(HERE / "peers/functions"),
        ]
        inherited = {n: os.environ[n] for n in emulators.INHERITED_VARIABLES if n in os.environ}
        environment = {
            **inherited,
            **VARIABLES,
            **variables,
            "PYTHONPATH": os.pathsep.join(path),
            "AWS_ENDPOINT_URL": self.stub.url,
            "MONGODB_URI": self.mongodb_uri,
        }
        command = [
            _interpreter(),
            str(HERE / "invoker.py"),
            mode,
            properties["Handler"],
            str(EVENTS / function.event),
            function.bare,
            *arguments,
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{function.logical_id}, {mode}:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1])


@cache
def _interpreter() -> str:
    """Return the emulators' Python, which has Lambda's boto3 and none of our packages."""
    ours = Path(sys.prefix)
    default = ours.with_name(ours.name.replace(".venv", ".venv-emulators", 1))
    return str(Path(os.environ.get("EMULATORS_VENV", default)).resolve() / "bin/python")
