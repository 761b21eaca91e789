"""The cost of one order and of one query for customers with few and with many orders.

The services and the view run in this process against an emulator of DynamoDB and a MongoDB server that hold that many
orders. A proxy counts calls and bytes of DynamoDB, the driver reports the commands to MongoDB.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bson import encode
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

import customers.service
import orders.service
from customers.events import CustomerCreditReserved
from customers.repository import CustomerRepository
from infra.local import emulators
from infra.local.deployed_stack import CLIENT_CONFIG, CREDENTIALS, REGION, aws_session
from infra.local.emulators import Directories
from infra.local.processes import free_port, stop
from messaging.domain_event import Cause
from messaging.dynamodb import Database
from messaging.envelope import DomainEventEnvelope
from messaging.participant import SagaParticipant
from messaging.subscriber import Delivery
from order_history.connection import ViewConnection
from order_history.queries import OrderHistoryQueries
from order_history.view import RECENT_ORDERS, OrderHistoryView
from orders.events import OrderCreated, OrderState
from orders.repository import OrderRepository
from shared.money import Money
from tests.benchmarks.calls import Call, CountingProxy, item_bytes, request_units
from tests.chaos.event_loop import EventLoop
from tests.integration.tables import create_tables

SIZES = (10, 1_000, 100_000)
SHORT_SIZES = (10, 1_000, 10_000)
MEASURED = 16
"""Orders measured at each size, after one that is not. Their events evict old orders twice: see order_history.view."""
PAGE = 10
FIRST_ID = 10**14
"""All ids have as many digits, so that no item is larger because it is newer."""
LIMIT = Money(10**13)


@dataclass
class Cost:
    """The cost of one order or query, on average."""

    calls: float = 0
    bytes: float = 0
    """Sent to the databases for an order, received from MongoDB for a query."""
    units: float = 0.0


@dataclass(frozen=True)
class Growth:
    """The costs by the number of orders that the customer has."""

    orders: dict[int, Cost]
    queries: dict[int, Cost]
    item_bytes: int
    """Of all items that one order leaves in DynamoDB."""


class Commands(CommandListener):
    """Counts the commands to MongoDB and their bytes."""

    def __init__(self) -> None:
        self.count = self.sent = self.received = 0

    def started(self, event: Any) -> None:
        self.count += 1
        self.sent += len(encode({k: v for k, v in event.command.items() if k != "lsid"}))

    def succeeded(self, event: Any) -> None:
        self.received += len(encode(event.reply))

    def failed(self, event: Any) -> None:
        """Counted when it started."""


class Databases:
    """DynamoDB and MongoDB with the code that uses them."""

    def __init__(self, proxy: CountingProxy, dynamodb: Any, uri: str, commands: Commands) -> None:
        self.proxy = proxy
        self._dynamodb = dynamodb
        self._commands = commands
        self._mongodb = MongoClient[Any](uri).get_default_database()
        watched = ViewConnection(uri, event_listeners=[commands])
        self._view = OrderHistoryView(watched)
        self._view.ensure_indexes()
        self._queries = OrderHistoryQueries(watched)
        self._orders = OrderRepository("Orders", "OrdersOutbox", database=Database())
        self._customers = CustomerRepository("Customers", "CustomersOutbox", database=Database())
        self._credit = SagaParticipant(self._customers)
        self._credit.on(OrderCreated)(customers.service.reserve_credit)
        self._ids = itertools.count(FIRST_ID)

    def fill(self, count: int) -> int:
        """Store a customer with `count` approved orders in Customers and in the view. Return the customer's id."""
        new_id = partial(next, self._ids)
        with patch("customers.service.new_id", new_id), patch("orders.service.new_id", new_id):
            created = customers.service.create_customer(
                self._customers, "Jane Doe", LIMIT, Cause("correlation")
            )
            customer_id = created.id
            self._project(created.event)
            numbers = [next(self._ids) for _ in range(max(count - PAGE, 0))]
            for _ in range(min(count, PAGE)):
                pattern = self._order(customer_id)
        for start in range(0, len(numbers), 25):
            reservations = [
                {
                    "customerId": {"N": str(customer_id)},
                    "sk": {"S": f"RESERVATION#{number}"},
                    "itemType": {"S": "Reservation"},
                    "reservedCents": {"N": "100"},
                }
                for number in numbers[start : start + 25]
            ]
            puts = [{"PutRequest": {"Item": item}} for item in reservations]
            self._dynamodb.batch_write_item(RequestItems={"Customers": puts})
        document = self._mongodb["orders"].find_one({"_id": pattern})
        stored: Any = self._mongodb["customers"].find_one({"_id": customer_id})
        entry = stored["orders"][str(pattern)]
        copies = [_renumbered(document, pattern, number) for number in numbers]
        for start in range(0, len(copies), 5_000):
            self._mongodb["orders"].insert_many(copies[start : start + 5_000])
        # As many recent orders as the view keeps; it evicts the oldest of them.
        recent = {f"orders.{number}": entry for number in numbers[-RECENT_ORDERS:]}
        if recent:
            self._mongodb["customers"].update_one({"_id": customer_id}, {"$set": recent})
        return customer_id

    def cost_of_order(self, customer_id: int) -> Cost:
        """Return the cost of one order from its creation to the view: three changes, three events."""
        new_id = partial(next, self._ids)
        with patch("orders.service.new_id", new_id):
            self._order(customer_id)
            self._reset()
            for _ in range(MEASURED):
                self._order(customer_id)
        units = sum(sum(request_units(call, lambda _: 1)) for call in self.proxy.calls)
        calls = len(self.proxy.calls) + self._commands.count
        sent = self.proxy.bytes_sent + self._commands.sent
        return Cost(calls / MEASURED, sent / MEASURED, units / MEASURED)

    def cost_of_query(self, customer_id: int) -> Cost:
        """Return the cost of the first page of the customer's orders: all of them, and those in one state."""
        self._reset()
        self._queries.find_history(customer_id, None, PAGE, None)
        self._queries.find_history(customer_id, OrderState.APPROVED, PAGE, None)
        return Cost(self._commands.count, self._commands.received)

    def _order(self, customer_id: int) -> int:
        """Create an order, decide it and project its events one by one. Return its id."""
        decisions: SagaParticipant[Any] = SagaParticipant(self._orders)
        decisions.on(CustomerCreditReserved)(orders.service.approve_order)
        created = orders.service.create_order(
            self._orders, customer_id, Money(100), Cause("correlation")
        )
        self._project(created.event)
        event = created.event
        for participant in (self._credit, decisions):
            (handled,) = participant.handle([Delivery(event, ("m",))], lambda: 60.0)
            event = handled.published
            self._project(event)
        return int(created.id)

    def _project(self, envelope: DomainEventEnvelope | None) -> None:
        assert envelope is not None
        self._view.handle([Delivery(envelope, ("m",))], lambda: 60.0)

    def _reset(self) -> None:
        self.proxy.calls.clear()
        self.proxy.bytes_sent = 0
        self._commands.count = self._commands.sent = self._commands.received = 0


@contextmanager
def databases() -> Iterator[Databases]:
    """Run empty databases inside the block."""
    with tempfile.TemporaryDirectory() as directory, EventLoop.running() as loop:
        directories = Directories(Path(directory))
        port, mongodb_port = free_port(), free_port()
        processes = [
            emulators.start_ministack(port, directories),
            emulators.start_mongodb(mongodb_port, directories),
        ]
        try:
            for process in processes:
                emulators.wait_until_ready(process)
            proxy = CountingProxy(loop, port)
            url = f"http://127.0.0.1:{port}"
            dynamodb = aws_session().client("dynamodb", endpoint_url=url, config=CLIENT_CONFIG)
            create_tables(dynamodb)
            environment = {
                "AWS_ENDPOINT_URL": proxy.url,
                "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
                "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
                "AWS_DEFAULT_REGION": REGION,
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            }
            with patch.dict(os.environ, environment):
                uri = emulators.mongodb_uri(mongodb_port)
                yield Databases(proxy, dynamodb, uri, Commands())
        finally:
            stop(processes)


def measure(sizes: tuple[int, ...], show: Callable[[str], None]) -> Growth:
    """Measure a customer of each size."""
    of_orders, of_queries = {}, {}
    with databases() as running:
        for size in sizes:
            show(f"growth: a customer with {size:,} orders")
            customer_id = running.fill(size)
            of_orders[size] = running.cost_of_order(customer_id)
            left_behind = bytes_left_behind(running.proxy.calls)
            of_queries[size] = running.cost_of_query(customer_id)
    return Growth(of_orders, of_queries, left_behind)


def bytes_left_behind(calls: list[Call]) -> int:
    """Return the bytes of the items that the transactions of one order put, except the customer's own item."""
    sizes: dict[str, int] = {}
    for call in calls:
        for action in call.request.get("TransactItems", []):
            put = action.get("Put")
            if put and put["Item"].get("sk", {}).get("S") != "CUSTOMER":
                keys = [put["Item"][k] for k in ("orderId", "sk", "eventId") if k in put["Item"]]
                sizes[f"{put['TableName']} {keys}"] = item_bytes(put["Item"])
    return sum(sizes.values()) // MEASURED


def is_flat(values: dict[int, float], tolerance: float) -> bool:
    """Return whether no value is more than `tolerance` (0.1: a tenth) above that of the smallest size."""
    if len(values) < 2:
        raise ValueError("growth needs two sizes")
    return all(value <= values[min(values)] * (1 + tolerance) for value in values.values())


def _renumbered(document: Any, old: int, new: int) -> Any:
    """Return a copy of an order's document as the order `new`."""
    keys = ("customerKey", "stateKey")
    renamed = {key: document[key].replace(f"{old:019}", f"{new:019}") for key in keys}
    return {**document, "_id": new, **renamed}
