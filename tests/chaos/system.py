"""The system under fault: an embedded stack of its own, with something that can fail on each of its seams."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

from infra.local.api_client import ApiClient
from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.local.emulators import mongodb_uri
from infra.local.processes import free_port
from infra.local.stack import EmbeddedStack, Step
from infra.ops.audit import queue_depths
from infra.ops.dead_letters import SUFFIX, DeadLetterQueues
from infra.ops.target import Target
from tests.chaos.aws_proxy import AwsProxy
from tests.chaos.clients import Clients
from tests.chaos.event_loop import EventLoop
from tests.chaos.mongodb_proxy import MongoDbProxy
from tests.chaos.witness import Witness
from tests.chaos.workers import Workers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient

Item = dict[str, Any]
Show = Callable[[str], None]

SUBSCRIBERS = ("customers-subscriber", "orders-subscriber", "order-history-projection")
OUTBOXES = ("CustomersOutbox", "OrdersOutbox")
TABLES = ("Customers", "Orders", *OUTBOXES)
# A message that was not handled comes again so late; the template says 60, which would take us hours.
# Not less than a function may take, or a message would be handled twice at the same time.
VISIBILITY_SECONDS = 15
WARM_UP_CLIENTS = 8
WARM_UP_ORDERS = 16
SETTLE_SECONDS = 150.0
LOOK_SECONDS = 0.5


class NotSettledError(Exception):
    """The system did not come to rest in time."""


@dataclass
class System:
    """What scenarios do faults to, and what they look at it with: past the proxies, which only the functions use."""

    stack: EmbeddedStack
    aws: AwsProxy
    mongodb: MongoDbProxy
    workers: Workers
    witness: Witness
    api: ApiClient
    sqs: SQSClient
    dynamodb: DynamoDBClient
    events: EventBridgeClient
    dead_letters: DeadLetterQueues
    show: Show

    @classmethod
    @contextmanager
    def start(cls, directory: Path, show: Show, step: Step) -> Iterator[System]:
        """The system runs inside the block, and nothing of it after."""
        with ExitStack() as contexts:
            loop = contexts.enter_context(EventLoop.running())
            port, mongodb_port = free_port(), free_port()
            aws, mongodb = AwsProxy(loop, port), MongoDbProxy(loop, mongodb_port)
            functions_see = {"AwsEndpointUrl": aws.url, "MongoDbUri": mongodb_uri(mongodb.port)}
            stack = contexts.enter_context(
                EmbeddedStack.start(
                    port=port,
                    mongodb_port=mongodb_port,
                    directory=directory,
                    parameters=functions_see,
                    step=step,
                )
            )
            session, url = aws_session(), stack.aws_endpoint_url
            sqs = session.client("sqs", endpoint_url=url, config=CLIENT_CONFIG)
            dynamodb = session.client("dynamodb", endpoint_url=url, config=CLIENT_CONFIG)
            events = session.client("events", endpoint_url=url, config=CLIENT_CONFIG)
            self = cls(
                stack=stack,
                aws=aws,
                mongodb=mongodb,
                workers=Workers(directory),
                witness=contexts.enter_context(Witness.watching(sqs, events)),
                api=contexts.enter_context(ApiClient(stack.base_url)),
                sqs=sqs,
                dynamodb=dynamodb,
                events=events,
                dead_letters=DeadLetterQueues(Target.of("embedded", port, url, STACK_NAME)),
                show=show,
            )
            for name in SUBSCRIBERS:
                self.set_redelivery(name, VISIBILITY_SECONDS)
            with step("Waiting until every function has started"):
                Clients(stack.base_url, WARM_UP_CLIENTS, show).place(WARM_UP_ORDERS)
                self.settle()
            yield self

    def queue_url(self, name: str) -> str:
        """Of the stack's queue that is called so, after the stack's name."""
        return self.sqs.get_queue_url(QueueName=f"{STACK_NAME}-{name}")["QueueUrl"]

    def set_redelivery(self, queue: str, seconds: int, receives: int | None = None) -> None:
        """Redeliver the queue's failed messages after `seconds`, and dead-letter them after `receives`."""
        url = self.queue_url(queue)
        attributes: Any = {"VisibilityTimeout": str(seconds)}
        if receives is not None:
            answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
            policy = json.loads(answer["Attributes"]["RedrivePolicy"])
            attributes["RedrivePolicy"] = json.dumps(policy | {"maxReceiveCount": receives})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)

    def queued(self) -> int:
        """How many messages wait, or are being handled; those in dead-letter queues do neither."""
        depths = queue_depths(self.sqs, STACK_NAME)
        return sum(depth for name, depth in depths.items() if not name.endswith(SUFFIX))

    def dead_letter_depths(self) -> dict[str, int]:
        """How many letters there are in each dead-letter queue that has some."""
        depths = queue_depths(self.sqs, STACK_NAME)
        return {name: depth for name, depth in depths.items() if name.endswith(SUFFIX) and depth}

    def items(self, table: str, **arguments: Any) -> Iterator[Item]:
        """All items of the table, in DynamoDB's JSON."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=f"{STACK_NAME}-{table}", ConsistentRead=True, **arguments
        )
        for page in pages:
            yield from page["Items"]

    def pending(self) -> int:
        """How many orders are PENDING."""
        waiting = self.items(
            "Orders",
            FilterExpression="#state = :pending",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":pending": {"S": "PENDING"}},
            ProjectionExpression="orderId",
        )
        return sum(1 for _ in waiting)

    def unpublished(self) -> set[str]:
        """The ids of the events in the outboxes that the bus has not seen."""
        written = {
            item["eventId"]["S"]
            for outbox in OUTBOXES
            for item in self.items(outbox, ProjectionExpression="eventId")
        }
        return written - self.witness.seen.keys()

    def settle(self, deadline_seconds: float = SETTLE_SECONDS) -> None:
        """Every order is decided, every event published and every queue empty.

        Raises: NotSettledError, with what is left, if that takes longer.
        """
        deadline = time.monotonic() + deadline_seconds
        while left := self._left_to_do():
            self.show(f"waiting for {left}")
            if time.monotonic() > deadline:
                dead = self.dead_letter_depths()
                raise NotSettledError(
                    f"after {deadline_seconds:.0f} s there are still {left}; dead letters: {dead}"
                )
            time.sleep(LOOK_SECONDS)

    def _left_to_do(self) -> str:
        if queued := self.queued():
            return f"{queued} messages"
        if pending := self.pending():
            return f"{pending} orders to be decided"
        if unpublished := len(self.unpublished()):
            return f"{unpublished} events to be published"
        # Looked at last, because what was left before may have led to more.
        return f"{queued} messages" if (queued := self.queued()) else ""

    def snapshot(self) -> dict[str, list[str]]:
        """All that is in the tables and in the view: equal snapshots mean that nothing has changed."""
        found = {table: list(self.items(table)) for table in TABLES}
        with MongoClient[Item](self.stack.mongodb_uri) as client:
            view = client.get_default_database()
            found |= {f"view {name}": list(view[name].find()) for name in ("customers", "orders")}
        for order in found["view orders"]:
            for event in order.get("events", {}).values():
                event.pop("deliveries", None)  # counts every delivery
        return {
            name: sorted(json.dumps(item, sort_keys=True, default=str) for item in items)
            for name, items in found.items()
        }
