"""The stand-in of DynamoDB behaves as moto does: equal results and contents for equal commands."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from messaging.dynamodb import ConditionFailedError, Database, Write
from messaging.retry import WriteConflictError
from shared.errors import IdempotencyKeyReusedError
from tests.integration.conftest import aws, dynamodb  # noqa: F401, fixtures
from tests.integration.tables import items
from tests.model.stores import MemoryTables
from tests.model.system import System

TABLES = ("Customers", "CustomersOutbox", "Orders", "OrdersOutbox")
"""Both services write to one database here, so that moto and the stand-in are compared table by table."""


class Recorder:
    """A database that performs each command on the stand-in and on moto, and compares the results."""

    def __init__(self, memory: MemoryTables) -> None:
        self._memory, self._real = memory, Database()
        self.compared = 0

    def get(self, *args: Any) -> Any:
        return self._same("get", *args)

    def get_all(self, table: str, keys: Any) -> Any:
        return self._same("get_all", table, list(keys))

    def write(self, writes: Any) -> None:
        self._same("write", writes)

    def _same(self, name: str, *args: Any) -> Any:
        outcomes: list[Any] = []
        for database in (self._memory, self._real):
            try:
                outcomes.append(getattr(database, name)(*args))
            except ConditionFailedError as error:
                outcomes.append(error)
        self.compared += 1
        expected, found = outcomes
        if isinstance(expected, Exception):
            assert isinstance(expected, ConditionFailedError)
            assert isinstance(found, ConditionFailedError), found
            assert [(id(w), _json(i)) for w, i in expected.failed] == [
                (id(w), _json(i)) for w, i in found.failed
            ]
            raise expected
        assert not isinstance(found, Exception), found
        if name == "get_all":  # DynamoDB keeps no order
            assert sorted(map(_json, expected)) == sorted(map(_json, found))
        else:
            assert expected == found
        return expected


def _json(item: Any) -> str:
    return json.dumps(item, sort_keys=True)


@pytest.mark.usefixtures("dynamodb")
def test_random_requests_and_batches_have_equal_results(dynamodb: Any) -> None:  # noqa: F811
    system, chance = System(), random.Random(3)
    databases = []
    for repository in (system.customer_repository, system.order_repository):
        database: Any = Recorder(repository._database)  # type: ignore[arg-type]
        databases.append(database)
        repository._database = repository.outbox._database = database
    with system.deterministic():
        for number in range(60):
            system.next_id = number + 1
            try:
                if number % 12 == 0:
                    system.create_customer("Jane", 900, f"customer {number}")
                elif number % 5:
                    system.create_order(
                        chance.choice((1, 13, 999)), chance.randint(1, 500), f"key {number % 40}"
                    )
                else:
                    system.cancel_order(chance.randint(1, number + 1), f"cancel {number}")
            except (IdempotencyKeyReusedError, WriteConflictError):
                pass  # refused by both
            for name, source in (("Customers", "Orders"), ("Orders", "Customers")):
                wanted = system.subscriptions[name]
                events = [
                    b for _, b in system.published(source) if json.loads(b)["detail-type"] in wanted
                ]
                if events:
                    system.deliver(name, chance.choices(events, k=4))
    for table in TABLES:
        store = system.customers if table.startswith("Customers") else system.orders
        assert sorted(map(_json, store.all(table))) == sorted(map(_json, items(dynamodb, table)))
        assert store.all(table)
    assert all(database.compared > 50 for database in databases)


@pytest.mark.parametrize("make", [MemoryTables, Database])
def test_too_large_transaction_is_refused(make: Callable[[], Any]) -> None:
    write: Any = Write("Orders", None, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="101 items"):
        make().write([write] * 101)
