"""Goal 6: what one event costs a customer who has few orders, and one who has many.

The repositories and the view run here, in this process, on an emulator of DynamoDB and a MongoDB server that hold that
many orders; a proxy counts the calls and the bytes of the one, the driver tells of the commands to the other.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bson import encode
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from customers import service as customers_service
from customers.repository import CustomerRepository
from infra.local import emulators
from infra.local.deployed_stack import CLIENT_CONFIG, CREDENTIALS, REGION, aws_session
from infra.local.emulators import Directories
from infra.local.processes import free_port, stop
from messaging.domain_event import Cause
from order_history.projection import OrderSnapshot
from order_history.view import OrderHistoryView
from orders import service as orders_service
from orders.events import OrderState
from orders.repository import OrderRepository
from shared.clock import now
from shared.money import Money
from tests.benchmarks.calls import Call, CountingProxy, item_bytes, request_units
from tests.chaos.event_loop import EventLoop
from tests.integration.tables import create_tables

SIZES = (10, 1_000, 100_000)
SHORT_SIZES = (10, 1_000, 10_000)
EVENTS = 7
"""So many are measured at each size, after one that is not."""
FIRST_ORDER = 10**14
"""All ids have as many digits, so that an item is not larger for being later."""
Show = Callable[[str], None]


@dataclass
class Cost:
    """Of one event, or one query: the most of those measured, but for the milliseconds, of which the least."""

    calls: int = 0
    bytes: int = 0
    """Sent to the databases for an event; received from them for a query."""
    units: float = 0.0
    milliseconds: float = 0.0


class _Commands(CommandListener):
    """Counts the commands to MongoDB, and their bytes."""

    def __init__(self) -> None:
        self.count = self.sent = self.received = 0

    def started(self, event: Any) -> None:
        self.count += 1
        self.sent += len(encode({k: v for k, v in event.command.items() if k != "lsid"}))

    def succeeded(self, event: Any) -> None:
        self.received += len(encode(event.reply))

    def failed(self, event: Any) -> None:
        """Was counted when it started."""


@dataclass
class Databases:
    """DynamoDB and MongoDB, and how to fill and watch them."""

    proxy: CountingProxy
    commands: _Commands
    view: OrderHistoryView
    mongodb: MongoClient[Any]
    dynamodb: Any
    customers: CustomerRepository
    orders: OrderRepository
    _number: Iterator[int] = field(default_factory=lambda: itertools.count(FIRST_ORDER))

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Databases]:
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
                with _environment(proxy.url):
                    url = f"http://127.0.0.1:{port}"
                    dynamodb = aws_session().client(
                        "dynamodb", endpoint_url=url, config=CLIENT_CONFIG
                    )
                    create_tables(dynamodb)
                    commands = _Commands()
                    uri = emulators.mongodb_uri(mongodb_port)
                    with (
                        MongoClient[Any](uri, event_listeners=[commands]) as watched,
                        MongoClient[Any](uri) as mongodb,
                    ):
                        view = OrderHistoryView(watched)
                        view.ensure_indexes()
                        yield cls(
                            proxy,
                            commands,
                            view,
                            mongodb,
                            dynamodb,
                            CustomerRepository("Customers", "CustomersOutbox"),
                            OrderRepository("Orders", "OrdersOutbox"),
                        )
            finally:
                stop(processes)

    def fill(self, customer_id: int, orders: int) -> None:
        """The customer has as many orders, all APPROVED, in Customers and in the view."""
        limit = Money(10**13)
        self.dynamodb.put_item(
            TableName="Customers",
            Item={
                "customerId": {"N": str(customer_id)},
                "sk": {"S": "CUSTOMER"},
                "itemType": {"S": "Customer"},
                "listedCustomerId": {"N": str(customer_id)},
                "name": {"S": "Jane Doe"},
                "creditLimitCents": {"N": str(limit.cents)},
                "reservedCreditCents": {"N": "1000000000000"},
                "version": {"N": "1000000000"},
            },
        )
        self.view.put_customer(customer_id, "Jane Doe", limit)
        self.view.put_available_credit(customer_id, limit, 1)
        numbers = [next(self._number) for _ in range(orders)]
        for start in range(0, orders, 25):
            reservations: Any = [
                {
                    "PutRequest": {
                        "Item": {
                            "customerId": {"N": str(customer_id)},
                            "sk": {"S": f"RESERVATION#{number}"},
                            "itemType": {"S": "Reservation"},
                            "reservedCents": {"N": "100"},
                        }
                    }
                }
                for number in numbers[start : start + 25]
            ]
            self.dynamodb.batch_write_item(RequestItems={"Customers": reservations})
        # The latest go through the view's own code; it makes the same of all before, which are copied.
        latest = numbers[-100:]
        for number in latest:
            self.view.put_order(_snapshot(number, customer_id, 2, OrderState.APPROVED))
        collection = self.mongodb.get_default_database()["orders"]
        pattern = collection.find_one({"_id": latest[0]})
        assert pattern is not None
        copies = [_renumbered(pattern, latest[0], number) for number in numbers[:-100]]
        for start in range(0, len(copies), 5_000):
            collection.insert_many(copies[start : start + 5_000])

    def cost_of_event(self, customer_id: int) -> Cost:
        """Of one order, from its creation to the view: three changes, three events, each projected."""
        cost = Cost()
        milliseconds = []
        for measured in range(EVENTS + 1):
            self._forget()
            started = time.perf_counter()
            cause = Cause("correlation", f"event-{next(self._number)}")
            order_id = orders_service.create_order(
                self.orders, customer_id, Money(100), Cause("correlation")
            )
            customers_service.reserve_credit(
                self.customers, customer_id, order_id, Money(100), cause
            )
            orders_service.note_credit_reserved(self.orders, order_id, cause)
            self.view.put_order(_snapshot(order_id, customer_id, 1, OrderState.PENDING))
            self.view.put_available_credit(customer_id, Money(10**12), 10**9 + next(self._number))
            self.view.put_order(_snapshot(order_id, customer_id, 2, OrderState.APPROVED))
            elapsed = (time.perf_counter() - started) * 1000
            if measured:
                milliseconds.append(elapsed)
                cost.calls = max(cost.calls, len(self.proxy.calls) + self.commands.count)
                cost.bytes = max(cost.bytes, self.proxy.bytes_sent + self.commands.sent)
                cost.units = max(cost.units, sum(sum(_units(call)) for call in self.proxy.calls))
        cost.milliseconds = min(milliseconds)
        return cost

    def cost_of_query(self, customer_id: int) -> Cost:
        """Of the first page of the customer's history, of all orders and of those in one state."""
        cost = Cost()
        milliseconds = []
        for _ in range(EVENTS):
            self._forget(calls=False)
            started = time.perf_counter()
            self.view.find_customer(customer_id)
            self.view.find_orders(customer_id, OrderState.APPROVED, 10, None)
            self.view.find_orders(customer_id, None, 10, None)
            milliseconds.append((time.perf_counter() - started) * 1000)
            cost.calls = max(cost.calls, self.commands.count)
            cost.bytes = max(cost.bytes, self.commands.received)
        cost.milliseconds = min(milliseconds)
        return cost

    def _forget(self, *, calls: bool = True) -> None:
        if calls:
            self.proxy.calls.clear()
        self.proxy.bytes_sent = 0
        self.commands.count = self.commands.sent = self.commands.received = 0


@dataclass(frozen=True)
class Growth:
    """By the number of orders that the customer has."""

    events: dict[int, Cost]
    queries: dict[int, Cost]
    item_bytes: dict[str, int]
    """Of each item that an order leaves behind."""


def measure(sizes: tuple[int, ...], show: Show) -> Growth:
    events, queries = {}, {}
    with Databases.running() as databases:
        for index, size in enumerate(sizes):
            customer_id = FIRST_ORDER + index
            show(f"growth: a customer with {size:,} orders")
            databases.fill(customer_id, size)
            events[size] = databases.cost_of_event(customer_id)
            queries[size] = databases.cost_of_query(customer_id)
        left_behind = items_of_one_order(databases.proxy.calls)
    return Growth(events, queries, left_behind)


@dataclass(frozen=True)
class TableSize:
    """By calculation: what the tables of so many orders hold and cost, and what one order costs in them."""

    orders: int
    gigabytes: float
    usd_per_month: float
    units_per_order: float
    partitions: int


PARTITION_GIGABYTES = 10
ITEM_OVERHEAD_BYTES = 100
"""Of each item, for what DynamoDB keeps beside it: counted for storage, not for request units.
Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html"""


def table_sizes(
    items_per_order: dict[str, int], units_per_order: float, usd_per_gb_month: float
) -> list[TableSize]:
    """For 10^3 to 10^6 orders, given the bytes of each item that an order leaves behind."""
    bytes_per_order = sum(size + ITEM_OVERHEAD_BYTES for size in items_per_order.values())
    sizes = []
    for exponent in range(3, 7):
        gigabytes = 10**exponent * bytes_per_order / 1e9
        sizes.append(
            TableSize(
                10**exponent,
                gigabytes,
                gigabytes * usd_per_gb_month,
                units_per_order,  # keyed access: an item's neighbours are not looked at
                max(1, -int(-gigabytes // PARTITION_GIGABYTES)),
            )
        )
    return sizes


def items_of_one_order(calls: list[Call]) -> dict[str, int]:
    """The bytes of each item that the transactions of one order put, by table and sort key; the last put counts."""
    sizes: dict[str, int] = {}
    for call in calls:
        for action in call.request.get("TransactItems", []):
            put = action.get("Put")
            if put and put["Item"].get("sk", {}).get("S") != "CUSTOMER":
                keys = [put["Item"][k] for k in ("orderId", "sk", "eventId") if k in put["Item"]]
                sizes[f"{put['TableName']} {keys}"] = item_bytes(put["Item"])
    return sizes


def _units(call: Call) -> tuple[float, float]:
    return request_units(call, lambda _: 1)


def _snapshot(number: int, customer_id: int, version: int, state: OrderState) -> OrderSnapshot:
    instant = now()
    return OrderSnapshot(
        order_id=number,
        customer_id=customer_id,
        order_total=Money(100),
        state=state,
        rejection_reason=None,
        created_at=instant,
        version=version,
        changed_at=instant,
    )


def _renumbered(document: Any, old: int, new: int) -> Any:
    """A copy of an order's document, as if it were of the order `new`."""
    keys = ("customerKey", "stateKey")
    renamed = {key: document[key].replace(f"{old:019}", f"{new:019}") for key in keys}
    return {**document, "_id": new, **renamed}


@contextmanager
def _environment(endpoint_url: str) -> Iterator[None]:
    """The repositories, which read it, find the emulator."""
    wanted = {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
