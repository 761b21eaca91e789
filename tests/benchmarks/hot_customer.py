"""Goal 7: the same orders of one customer, of ten, and of so many that hardly two are of the same one."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.benchmarks.calls import CountingProxy
from tests.benchmarks.speed import CLIENTS, wait_until_all
from tests.benchmarks.systems import System

CUSTOMERS = (1, 10, 1_000)
TRANSACTIONS_PER_ORDER = 3
DEADLINE_SECONDS = 180.0
"""What could not be written for long enough comes again from the queue, a minute later."""


@dataclass(frozen=True)
class Contention:
    """Of the orders of so many customers."""

    decided_per_second: float
    transactions_per_order: float
    """Three, and those that were tried again."""
    conflicts_per_order: float
    """Transactions that were cancelled because of others."""

    @property
    def retries_per_order(self) -> float:
        return self.transactions_per_order - TRANSACTIONS_PER_ORDER


def measure(
    system: System, proxy: CountingProxy, orders: int, show: Callable[[str], None]
) -> dict[int, Contention]:
    """By the number of customers. Of a thousand, those who get an order are created."""
    found = {}
    for customers in CUSTOMERS:
        show(f"{orders} orders of {customers:,} customers")
        with ThreadPoolExecutor(CLIENTS) as pool:
            ids = list(pool.map(system.create_customer, range(min(customers, orders))))
            time.sleep(1)  # what their creation leads to is done
            proxy.calls.clear()
            started = time.perf_counter()
            placed = list(
                pool.map(lambda number, ids=ids: system.create_order(number, ids), range(orders))
            )
        wait_until_all(system.decided, placed, deadline_seconds=DEADLINE_SECONDS)
        seconds = time.perf_counter() - started
        transactions = [c for c in proxy.calls if c.operation == "TransactWriteItems"]
        conflicts = sum("TransactionCanceled" in str(c.response) for c in transactions)
        found[customers] = Contention(
            orders / seconds, len(transactions) / orders, conflicts / orders
        )
        wait_until_all(system.visible, placed)
    return found
