"""The system under test: a local stack with a proxy in front of AWS and one in front of MongoDB."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

from infra.local.api_client import ApiClient, wait_until
from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.local.emulators import mongodb_uri
from infra.local.processes import free_port
from infra.local.stack import EmbeddedStack
from infra.ops.audit import queue_depths
from infra.ops.dead_letters import SUFFIX, DeadLetterQueues
from infra.ops.target import Target, queue_depth
from tests.chaos.aws_proxy import AwsProxy
from tests.chaos.clients import Placed, place
from tests.chaos.event_loop import EventLoop
from tests.chaos.mongodb_proxy import MongoDbProxy
from tests.chaos.workers import Workers
from tests.model.histories import with_recent_orders
from tests.template import subscriptions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef
    from mypy_boto3_sqs import SQSClient

Item = dict[str, Any]

SUBSCRIBERS = tuple(subscriptions())
OUTBOXES = ("CustomersOutbox", "OrdersOutbox")
TABLES = ("Customers", "Orders", *OUTBOXES)
VIEW = ("customers", "orders", "names", "customerTerms")
VISIBILITY_SECONDS = 15
"""Visibility timeout of the queues. Shorter than in the template, but not shorter than the functions' timeout."""
WARM_UP_ORDERS = 16
SETTLE_SECONDS = 150.0
PAUSE_SECONDS = 0.5
BUS_ENTRIES = 10
"""Maximum number of entries in PutEvents."""


class NotSettledError(Exception):
    """Messages, PENDING orders or unpublished events are left after the deadline."""


@dataclass
class System:
    """The stack, its proxies, and clients that bypass the proxies."""

    stack: EmbeddedStack
    aws: AwsProxy
    mongodb: MongoDbProxy
    workers: Workers
    api: ApiClient
    sqs: SQSClient
    dynamodb: DynamoDBClient
    events: EventBridgeClient
    functions: LambdaClient

    @classmethod
    @contextmanager
    def start(cls, directory: Path) -> Iterator[System]:
        """Run the system during the block, with every function warm."""
        with ExitStack() as contexts:
            loop = contexts.enter_context(EventLoop.running())
            port, mongodb_port = free_port(), free_port()
            aws, mongodb = AwsProxy(loop, port), MongoDbProxy(loop, mongodb_port)
            stack = contexts.enter_context(
                EmbeddedStack.start(
                    port=port,
                    mongodb_port=mongodb_port,
                    directory=directory,
                    parameters={
                        "AwsEndpointUrl": aws.url,
                        "MongoDbUri": mongodb_uri(mongodb.port),
                        "ResumePendingOrders": "on",
                        "PendingOrderDeadlineSeconds": "86400",  # the schedule resumes nothing
                    },
                )
            )
            client: Any = partial(
                aws_session().client, endpoint_url=stack.aws_endpoint_url, config=CLIENT_CONFIG
            )
            self = cls(
                stack=stack,
                aws=aws,
                mongodb=mongodb,
                workers=Workers(directory),
                api=contexts.enter_context(ApiClient(stack.base_url)),
                sqs=client("sqs"),
                dynamodb=client("dynamodb"),
                events=client("events"),
                functions=client("lambda"),
            )
            for name in SUBSCRIBERS:
                self.set_redelivery(name, VISIBILITY_SECONDS)
            self.place(WARM_UP_ORDERS)
            self.settle()
            yield self

    def place(self, orders: int, customers: int = 5, **options: Any) -> Placed:
        """Create orders by concurrent clients and cancel some of them."""
        return place(self.stack.base_url, orders, customers, **options)

    def dead_letters(self) -> DeadLetterQueues:
        return DeadLetterQueues(Target.of("embedded", 0, self.stack.aws_endpoint_url, STACK_NAME))

    def queue_url(self, name: str) -> str:
        """Return the URL of the queue with this name after the stack's name."""
        return self.sqs.get_queue_url(QueueName=f"{STACK_NAME}-{name}")["QueueUrl"]

    def set_redelivery(self, queue: str, seconds: int, receives: int | None = None) -> None:
        """Redeliver failed messages after `seconds`. Send them to the dead-letter queue after `receives`."""
        url = self.queue_url(queue)
        attributes: Any = {"VisibilityTimeout": str(seconds)}
        if receives is not None:
            answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
            policy = json.loads(answer["Attributes"]["RedrivePolicy"])
            attributes["RedrivePolicy"] = json.dumps(policy | {"maxReceiveCount": receives})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)

    @contextmanager
    def stopped(self, subscriber: str) -> Iterator[None]:
        """Deliver no messages to the subscriber during the block."""
        uuid = self.mapping(subscriber)["UUID"]
        self.functions.update_event_source_mapping(UUID=uuid, Enabled=False)
        try:
            yield
        finally:
            self.functions.update_event_source_mapping(UUID=uuid, Enabled=True)

    def mapping(self, subscriber: str) -> EventSourceMappingConfigurationTypeDef:
        """Return the event source mapping of the subscriber."""
        name = f"{STACK_NAME}-{subscriber}"
        answer = self.functions.list_event_source_mappings(FunctionName=name)
        (mapping,) = answer["EventSourceMappings"]
        return mapping

    def lose(self, queue: str, messages: int, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Delete the queue's messages when there are at least so many. Return their number."""
        url = self.queue_url(queue)

        def waiting() -> int:
            meanwhile()
            return queue_depth(self.sqs, url)

        found = wait_until(waiting, lambda n: n >= messages, SETTLE_SECONDS, PAUSE_SECONDS)
        self.sqs.purge_queue(QueueUrl=url)
        return found

    @contextmanager
    def overdue_at_once(self) -> Iterator[Callable[[], None]]:
        """Let PENDING orders be overdue at once. Give the block a function that resumes them, as the schedule does."""
        name = f"{STACK_NAME}-orders-deadline"
        configuration = self.functions.get_function_configuration(FunctionName=name)
        variables = configuration["Environment"]["Variables"]
        change = partial(self.functions.update_function_configuration, FunctionName=name)

        def resume() -> None:
            self.functions.invoke(FunctionName=name)

        change(Environment={"Variables": variables | {"PENDING_ORDER_DEADLINE_SECONDS": "0"}})
        try:
            yield resume
        finally:
            change(Environment={"Variables": variables})

    def queued(self) -> int:
        """Return the number of messages in the queues, in flight included, dead letters excluded."""
        depths = queue_depths(self.sqs, STACK_NAME)
        return sum(depth for name, depth in depths.items() if not name.endswith(SUFFIX))

    def dead_letter_depths(self) -> dict[str, int]:
        """Return the number of dead letters of each queue that has some."""
        depths = queue_depths(self.sqs, STACK_NAME)
        return {name: depth for name, depth in depths.items() if name.endswith(SUFFIX) and depth}

    def items(self, table: str) -> Iterator[Item]:
        """Yield all items of the table as DynamoDB's JSON."""
        pages = self.dynamodb.get_paginator("scan")
        found = pages.paginate(TableName=f"{STACK_NAME}-{table}", ConsistentRead=True)
        yield from found.search("Items[]")

    def view(self) -> dict[str, list[Item]]:
        """Return all documents of the view by collection."""
        with MongoClient[Item](self.stack.mongodb_uri) as client:
            database = client.get_default_database()
            return {name: list(database[name].find()) for name in VIEW}

    def pending(self) -> int:
        """Return the number of PENDING orders."""
        return sum(order["state"]["S"] == "PENDING" for order in self.items("Orders"))

    def _missing_in_view(self) -> int:
        """Return the number of outbox items that the relays did not publish or the view did not handle yet."""
        view = self.view()
        handled = {event_id for order in view["orders"] for event_id in order.get("events", {})}
        customers = {str(document["_id"]) for document in view["names"]}
        return sum(
            item["eventId"]["S"] not in handled
            and not (
                item["eventType"]["S"] == "CustomerCreated"
                and item["aggregateId"]["S"] in customers
            )
            for outbox in OUTBOXES
            for item in self.items(outbox)
        )

    def settle(self) -> None:
        """Wait until every order is decided, every event is in the view and every queue is empty.

        Raises: NotSettledError after SETTLE_SECONDS.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while left := self.left_to_do():
            if time.monotonic() > deadline:
                dead = self.dead_letter_depths()
                raise NotSettledError(
                    f"{left} are left after {SETTLE_SECONDS:.0f} s; dead letters: {dead}"
                )
            time.sleep(PAUSE_SECONDS)

    def left_to_do(self) -> str:
        """Return what the system still has to do, or an empty text."""
        if queued := self.queued():
            return f"{queued} messages"
        if pending := self.pending():
            return f"{pending} PENDING orders"
        if missing := self._missing_in_view():
            return f"{missing} events that are not in the view"
        # Again, because the orders and events of a moment ago may have led to messages.
        return f"{queued} messages" if (queued := self.queued()) else ""

    def written_since(self, timestamp: float) -> list[Item]:
        """Return the outbox items since the Unix time, newest first."""
        since = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
        written = (item for outbox in OUTBOXES for item in self.items(outbox))
        recent = [item for item in written if item["occurredAt"]["S"] >= since]
        return sorted(recent, key=lambda item: str(item["occurredAt"]["S"]), reverse=True)

    def publish(self, items: Iterable[Item]) -> int:
        """Republish outbox items in this order. Return their number."""
        entries: list[Any] = [
            {
                "EventBusName": STACK_NAME,
                "Source": item["source"]["S"],
                "DetailType": item["eventType"]["S"],
                "Detail": item["detail"]["S"],
            }
            for item in items
        ]
        for start in range(0, len(entries), BUS_ENTRIES):
            self.events.put_events(Entries=entries[start : start + BUS_ENTRIES])
        return len(entries)

    def snapshot(self) -> dict[str, list[str]]:
        """Return the contents of the tables and of the view, without the counts of deliveries and evicted orders."""
        view = self.view()
        view["customers"] = [with_recent_orders(customer) for customer in view["customers"]]
        for order in view["orders"]:
            for event in order.get("events", {}).values():
                event.pop("deliveries", None)
        contents = {table: list(self.items(table)) for table in TABLES} | view
        return {
            name: sorted(json.dumps(item, sort_keys=True, default=str) for item in items)
            for name, items in contents.items()
        }
