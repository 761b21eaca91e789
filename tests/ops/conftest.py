"""A local stack to operate, and the commands as their user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from infra.local.api_client import ApiClient, wait_until
from infra.local.deployed_stack import STACK_NAME
from infra.local.stack import EmbeddedStack
from infra.ops import __main__ as ops
from infra.ops.audit import audit, queue_depths
from infra.ops.target import Target
from tests.commands import run_here
from tests.model.histories import with_recent_orders

SETTLE_SECONDS = 90
TABLES = ("Customers", "Orders", "CustomersOutbox", "OrdersOutbox")
Documents = dict[str, dict[int, Any]]


@dataclass(frozen=True)
class Operated:
    """The stack under test, with its users' API and its operator's commands."""

    stack: EmbeddedStack
    api: ApiClient
    target: Target

    def run(self, *command: str, **environment: str) -> CompletedProcess[str]:
        """Run `make COMMAND` with misleading variables in the user's shell."""
        misleading = dict.fromkeys(
            ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"), "http://127.0.0.1:1"
        )
        port = self.stack.aws_endpoint_url.rsplit(":", 1)[1]
        variables = {**misleading, "AWS_PROFILE": "missing", "PORT": port, **environment}
        return run_here(ops, *command, environment=variables)

    @property
    def sqs(self) -> Any:
        return self.target.sqs

    @property
    def functions(self) -> Any:
        return self.target.client("lambda")

    @contextmanager
    def stopped(self, function: str) -> Iterator[None]:
        """Disable the event source mapping of the function until the end of the block."""
        name = self.target.resource(function)
        answer = self.functions.list_event_source_mappings(FunctionName=name)
        (uuid,) = (mapping["UUID"] for mapping in answer["EventSourceMappings"])
        self.functions.update_event_source_mapping(UUID=uuid, Enabled=False)
        try:
            yield
        finally:
            self.functions.update_event_source_mapping(UUID=uuid, Enabled=True)

    def settle(self) -> None:
        """Wait until every order is decided and every queue but the dead-letter queues is empty."""

        def left() -> tuple[int, int]:
            depths = queue_depths(self.sqs, STACK_NAME)
            waiting = sum(n for name, n in depths.items() if not name.endswith("-dead-letters"))
            return waiting, sum(order["orderState"] == "PENDING" for order in self.api.orders())

        wait_until(left, lambda seen: seen == (0, 0), SETTLE_SECONDS, pause_seconds=0.5)

    def audit_is_clean(self) -> bool:
        """Return whether the services agree when the view has every event."""
        self.settle()
        return not wait_until(
            lambda: audit(self.api).findings, lambda findings: not findings, 30, pause_seconds=0.5
        )

    def items(self) -> dict[str, list[str]]:
        """Return all items of the tables."""
        pages = self.target.client("dynamodb").get_paginator("scan")
        return {
            table: sorted(
                json.dumps(item, sort_keys=True)
                for page in pages.paginate(TableName=self.target.resource(table))
                for item in page["Items"]
            )
            for table in TABLES
        }

    def view(self) -> Documents:
        """Return the view's documents by id, without the marks of deliveries and rebuilds."""
        with self.mongodb() as database:
            return {
                name: {document["_id"]: comparable(document) for document in database[name].find()}
                for name in ("customers", "orders", "customerTerms")
            }

    @contextmanager
    def mongodb(self) -> Iterator[Database[dict[str, Any]]]:
        """Give the block the view's database."""
        with MongoClient[dict[str, Any]](self.stack.mongodb_uri) as client:
            yield client.get_default_database()


def comparable(value: Any) -> Any:
    """Return the document with the latest orders only, and without the times at which events were projected."""
    if not isinstance(value, dict):
        return value
    found = {k: comparable(v) for k, v in value.items() if k not in ("deliveries", "rebuiltAt")}
    return with_recent_orders(found)


@pytest.fixture(scope="session")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    # No order is overdue unless a test says so: the schedule does not interfere with tests of stuck orders.
    deadline = {"ResumePendingOrders": "on", "PendingOrderDeadlineSeconds": "86400"}
    directory = tmp_path_factory.mktemp("stack")
    with (
        EmbeddedStack.start(directory=directory, parameters=deadline) as stack,
        ApiClient(stack.base_url) as api,
    ):
        target = Target.of("embedded", 0, stack.aws_endpoint_url, STACK_NAME)
        yield Operated(stack, api, target)


@pytest.fixture
def a_customer(operated: Operated) -> Callable[[], int]:
    """Return a function that creates a customer with a credit limit of 100."""
    return lambda: operated.api.create_customer("Jane Doe", 100)
