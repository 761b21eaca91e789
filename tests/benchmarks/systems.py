"""The systems that are measured: ours, ours at an earlier commit, and the peers. Each runs on emulators of its own.

The benchmark reads tables and views directly, so that looking costs the measured functions nothing.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx
from pymongo import MongoClient

from infra.local.api_client import ApiClient
from infra.local.build import PROJECT
from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.local.stack import EmbeddedStack

CUSTOMERS = 20
LIMIT = 10**9
BATCH_GET_KEYS = 100
REQUEST_TIMEOUT_SECONDS = 90.0
DECIDED = frozenset({"APPROVED", "REJECTED"})
BASELINE_COMMIT = "9fc5dcc"
PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Design:
    """A system to measure. `parameters` are those of its template."""

    name: str
    title: str
    lacks: str = ""
    """What it does less than ours, for the tables."""
    project: Path = PEERS
    parameters: Mapping[str, str] = field(default_factory=dict)


def _peer(name: str, title: str, lacks: str) -> Design:
    common = "Idempotency-Key, JWT, metrics, cancellation, validation of events, dead letters with reasons, search of names, erasure"
    lacks = f"{lacks}; {common}" if lacks else common
    return Design(name, title, lacks, parameters={"Peer": name})


OURS = Design("ours", "Customers and Orders", project=PROJECT)
BASELINE = Design(
    "baseline",
    f"ours at {BASELINE_COMMIT}",
    "batches, search of names, erasure, deadline of PENDING orders",
    project=Path(),
)
BARE = _peer("bare", "bare boto3 with batches", "")
INBOX = _peer("inbox", "inbox table", "batches: one message at a time; unknown customers")
DUAL_WRITE = _peer(
    "dual_write",
    "dual write",
    "atomic state and event; batches: one message at a time; unknown customers",
)
STATE_MACHINE = _peer(
    "state_machine",
    "Step Functions (standard)",
    "choreography; PENDING orders and available credit in the view",
)
PIPELINES = (OURS, BASELINE, BARE, INBOX, DUAL_WRITE)
"""The designs with the same hops, whose times can be compared."""
DESIGNS = (*PIPELINES, STATE_MACHINE)


@dataclass
class System:
    """A design that runs."""

    design: Design
    stack: EmbeddedStack
    directory: Path
    customers: list[int] = field(default_factory=list)
    first_order_seconds: float = 0.0
    """From the POST of the first order after the start until it is decided."""

    @classmethod
    @contextmanager
    def start(cls, design: Design, directory: Path) -> Iterator[Self]:
        """Run the system inside the block, with customers who have unlimited credit."""
        with ExitStack() as contexts:
            started = EmbeddedStack.start(
                project=design.project, directory=directory, parameters=design.parameters
            )
            self = cls(design, contexts.enter_context(started), directory)
            contexts.callback(self._close)
            self.customers = [self.create_customer(0)]
            self.first_order_seconds = self._time_of_one_order()
            self.customers += [self.create_customer(n) for n in range(1, CUSTOMERS)]
            yield self

    def create_customer(self, number: int) -> int:
        body = {"name": f"Customer {number}", "creditLimit": {"amount": LIMIT}}
        response = self._api.request("POST", "/customers", json=body)
        response.raise_for_status()
        return int(response.json()["customerId"])

    def create_order(self, number: int, customers: Sequence[int] | None = None) -> int:
        """Create an order of the customer that `number` selects. Return the order's id."""
        customers = self.customers if customers is None else customers
        body = {
            "orderTotal": {"amount": 1},
            "customerId": customers[number % len(customers)],
        }
        response = self._api.request("POST", "/orders", json=body)
        if response.is_error:
            answer = f"{self.design.title} answered {response.status_code}: {response.text}"
            raise httpx.HTTPStatusError(answer, request=response.request, response=response)
        return int(response.json()["orderId"])

    def _time_of_one_order(self) -> float:
        started = time.monotonic()
        order_id = self.create_order(0)
        while not self.decided([order_id]):
            time.sleep(0.01)
        return time.monotonic() - started

    def decided(self, order_ids: Sequence[int]) -> set[int]:
        """Return those of the orders that are approved or rejected."""
        found: set[int] = set()
        for start in range(0, len(order_ids), BATCH_GET_KEYS):
            keys = [{"orderId": {"N": str(i)}} for i in order_ids[start : start + BATCH_GET_KEYS]]
            request = {self.tables["Orders"]: {"Keys": keys, "ConsistentRead": True}}
            answer = self.dynamodb.batch_get_item(RequestItems=request)
            for item in answer["Responses"].get(self.tables["Orders"], []):
                if item["state"]["S"] in DECIDED:
                    found.add(int(item["orderId"]["N"]))
        return found

    def visible(self, order_ids: Sequence[int]) -> set[int]:
        """Return those of the orders that the view shows as approved or rejected."""
        query = {"_id": {"$in": list(order_ids)}}
        found = self.view["orders"].find(query, {"state": 1})
        return {document["_id"] for document in found if document.get("state") in DECIDED}

    def undecided(self) -> int:
        """Return the number of PENDING orders."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.tables["Orders"], ConsistentRead=True
        )
        items = [item for page in pages for item in page["Items"]]
        return sum(item.get("state", {}).get("S") == "PENDING" for item in items)

    @cached_property
    def tables(self) -> dict[str, str]:
        """The names of the tables by logical id."""
        return self.physical_ids("AWS::DynamoDB::Table")

    def physical_ids(self, resource_type: str) -> dict[str, str]:
        """Return the names of the stack's resources of a type by logical id."""
        cloudformation = self.stack.deployment.stack.cloudformation
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == resource_type
        }

    def set_endpoint(self, url: str) -> None:
        """Make all functions reach AWS at the URL. Their processes are restarted."""
        functions = self.client("lambda")
        for name in self.physical_ids("AWS::Lambda::Function").values():
            found = functions.get_function_configuration(FunctionName=name)
            variables = found["Environment"]["Variables"] | {"AWS_ENDPOINT_URL": url}
            functions.update_function_configuration(
                FunctionName=name, Environment={"Variables": variables}
            )

    @cached_property
    def dynamodb(self) -> Any:
        return self.client("dynamodb")

    @cached_property
    def logs(self) -> Any:
        return self.client("logs")

    def client(self, service: Any) -> Any:
        """Return a client of the emulator with root's permissions."""
        url = self.stack.aws_endpoint_url
        return aws_session().client(service, endpoint_url=url, config=CLIENT_CONFIG)

    @cached_property
    def _api(self) -> ApiClient:
        return ApiClient(self.stack.base_url, timeout_seconds=REQUEST_TIMEOUT_SECONDS)

    @cached_property
    def _mongodb(self) -> MongoClient[Any]:
        return MongoClient(self.stack.mongodb_uri)

    @property
    def view(self) -> Any:
        return self._mongodb.get_default_database()

    def _close(self) -> None:
        self._api.__exit__(None, None, None)
        self._mongodb.close()


class Systems:
    """The systems that run. Each is started when it is first asked for."""

    def __init__(self, directory: Path, show: Callable[[str], None]) -> None:
        self._directory = directory
        self._show = show
        self._running: dict[str, tuple[System, ExitStack]] = {}
        self.baseline_source = directory / "baseline-source"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def stop_all(self) -> None:
        """Stop the systems, since even idle ones take processor time, and delete their data."""
        with ExitStack() as stopped:
            for system, context in self._running.values():
                stopped.callback(shutil.rmtree, system.directory)
                stopped.enter_context(context)
        self._running.clear()

    def __getitem__(self, design: Design) -> System:
        if design.name not in self._running:
            self._show(f"starting: {design.title}")
            directory = self._directory / design.name
            if design is BASELINE:
                check_out(BASELINE_COMMIT, self.baseline_source)
                design = replace(design, project=self.baseline_source)
            context = ExitStack()
            self._running[design.name] = (
                context.enter_context(System.start(design, directory)),
                context,
            )
        return self._running[design.name][0]


def has_commit(commit: str) -> bool:
    """Return whether the repository has the commit. A shallow clone may lack it."""
    command = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, check=False).returncode == 0


def check_out(commit: str, directory: Path) -> None:
    """Write the files of the commit to the directory."""
    command = ["git", "archive", "--format=tar", commit]
    archive = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="data")
