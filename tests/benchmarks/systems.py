"""What is measured: our system and those it is compared with, each on emulators of its own, all looked at alike.

The benchmark looks into tables and views past the functions, so that looking takes nothing from what is looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from pymongo import MongoClient

from infra.local.api_client import ApiClient
from infra.local.build import PROJECT
from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.local.stack import EmbeddedStack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient

HERE = Path(__file__).parent
CUSTOMERS = 20
LIMIT = 10**9
BATCH_GET_KEYS = 100
DECIDED = frozenset({"APPROVED", "REJECTED"})


@dataclass(frozen=True)
class Design:
    """How a system keeps its data, as far as that differs."""

    name: str
    title: str
    project: Path
    customer_amount: str | None = "creditLimit"
    """The request's field that creates a customer has its limit in; None: there are no customers."""
    key_type: str = "S"
    state: str | None = "state"
    """The attribute that has an order's state; None: an order that is there is approved."""
    view: str = "peer"
    """The MongoDB database of the view."""


OURS = Design("ours", "Customers and Orders", PROJECT, key_type="N", view="order_history")
BARE = Design("bare", "bare pipeline", HERE / "bare", customer_amount=None, state=None, view="bare")
ORCHESTRATED = Design("orchestrated", "Step Functions saga", HERE / "peers/orchestrated")
DUAL_WRITE = Design("dual_write", "dual write, no outbox", HERE / "peers/dual_write")
INBOX = Design("inbox", "inbox table", HERE / "peers/inbox")
DESIGNS = (OURS, BARE, ORCHESTRATED, DUAL_WRITE, INBOX)
PEERS = (ORCHESTRATED, DUAL_WRITE, INBOX)


@dataclass
class System:
    """A design, running."""

    design: Design
    stack: EmbeddedStack
    directory: Path
    customers: list[Any] = field(default_factory=list)

    @classmethod
    @contextmanager
    def start(
        cls,
        design: Design,
        directory: Path,
        *,
        port: int = 0,
        parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[System]:
        """It runs inside the block, with some customers who may order without end."""
        with ExitStack() as contexts:
            stack = contexts.enter_context(
                EmbeddedStack.start(
                    project=design.project, directory=directory, port=port, parameters=parameters
                )
            )
            self = cls(design, stack, directory)
            contexts.callback(self._close)
            if design.customer_amount:
                self.customers = [self.create_customer(number) for number in range(CUSTOMERS)]
            yield self

    def create_customer(self, number: int) -> Any:
        """A new customer's id."""
        body = {"name": f"Customer {number}", "creditLimit": {"amount": LIMIT}}
        response = self._api.request("POST", "/customers", json=body)
        response.raise_for_status()
        return response.json()["customerId"]

    def create_order(self, number: int, customers: Sequence[Any] | None = None) -> Any:
        """The id of an accepted order of one of the customers: `number` says of which."""
        customers = self.customers if customers is None else customers
        body: Any = {"orderTotal": {"amount": 1}}
        if customers:
            body["customerId"] = customers[number % len(customers)]
        response = self._api.request("POST", "/orders", json=body)
        response.raise_for_status()
        return response.json()["orderId"]

    def decided(self, order_ids: Sequence[Any]) -> set[Any]:
        """Those of the orders whose fate is decided."""
        found: set[Any] = set()
        for start in range(0, len(order_ids), BATCH_GET_KEYS):
            keys = [
                {"orderId": {self.design.key_type: str(order_id)}}
                for order_id in order_ids[start : start + BATCH_GET_KEYS]
            ]
            request: Any = {self.tables["Orders"]: {"Keys": keys, "ConsistentRead": True}}
            answer = self.dynamodb.batch_get_item(RequestItems=request)
            for item in answer["Responses"].get(self.tables["Orders"], []):
                if self._is_decided(item):
                    text = item["orderId"][self.design.key_type]  # type: ignore[literal-required]
                    found.add(int(text) if self.design.key_type == "N" else text)
        return found

    def visible(self, order_ids: Sequence[Any]) -> set[Any]:
        """Those of the orders that the view has as decided."""
        query = {"_id": {"$in": list(order_ids)}}
        found = self._view["orders"].find(query, {"state": 1})
        return {document["_id"] for document in found if document.get("state") in DECIDED}

    def undecided(self) -> list[Any]:
        """The orders whose fate is not decided."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.tables["Orders"], ConsistentRead=True
        )
        return [
            item["orderId"][self.design.key_type]  # type: ignore[literal-required]
            for page in pages
            for item in page["Items"]
            if "expiresAt" not in item and not self._is_decided(item)
        ]

    def _is_decided(self, item: Any) -> bool:
        return self.design.state is None or item[self.design.state]["S"] in DECIDED

    @cached_property
    def tables(self) -> dict[str, str]:
        """The names of the tables, by their logical ids."""
        return self.physical_ids("AWS::DynamoDB::Table")

    def physical_ids(self, resource_type: str) -> dict[str, str]:
        """The names of the stack's resources of a type, by their logical ids."""
        cloudformation = self.stack.deployment.stack.cloudformation
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == resource_type
        }

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        client: DynamoDBClient = self.client("dynamodb")
        return client

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        client: CloudWatchLogsClient = self.client("logs")
        return client

    @cached_property
    def functions(self) -> LambdaClient:
        client: LambdaClient = self.client("lambda")
        return client

    def client(self, service: Any) -> Any:
        """A client of the emulator's, as root."""
        url = self.stack.aws_endpoint_url
        return aws_session().client(service, endpoint_url=url, config=CLIENT_CONFIG)

    @cached_property
    def _api(self) -> ApiClient:
        return ApiClient(self.stack.base_url)

    @cached_property
    def _mongodb(self) -> MongoClient[Any]:
        return MongoClient(self.stack.mongodb_uri)

    @property
    def _view(self) -> Any:
        return self._mongodb[self.design.view]

    def _close(self) -> None:
        self._api.__exit__(None, None, None)
        self._mongodb.close()


class Systems:
    """The systems that run, each started when it is first asked for."""

    def __init__(self, directory: Path, show: Callable[[str], None]) -> None:
        self._directory = directory
        self._show = show
        self._contexts = ExitStack()
        self._running: dict[str, System] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """None of them runs."""
        with self._lock:
            self._running.clear()
            self._contexts.close()

    def __getitem__(self, design: Design) -> System:
        with self._lock:
            if design.name not in self._running:
                self._show(f"starting: {design.title}")
                started = System.start(design, self._directory / design.name)
                self._running[design.name] = self._contexts.enter_context(started)
            return self._running[design.name]
