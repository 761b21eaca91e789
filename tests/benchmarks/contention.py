"""A hot customer: many orders of one customer, against as many orders of as many customers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.calls import log_lines
from tests.benchmarks.speed import CLIENTS, at_once, wait_until_all
from tests.benchmarks.systems import System

DEADLINE_SECONDS = 240.0
"""A message that the queue retries is delivered again after a minute."""


@dataclass(frozen=True)
class Contention:
    one_customer: float
    """Orders decided per second, the median of the rounds."""
    many_customers: float
    retried: int
    """Messages that were reported as failed, so that the queue had to redeliver them."""


def measure(system: System, orders: int, rounds: int, show: Callable[[str], None]) -> Contention:
    """Measure both in turns."""
    started = time.time()
    with ThreadPoolExecutor(CLIENTS) as pool:
        many = list(pool.map(system.create_customer, range(orders)))
    rates: dict[int, list[float]] = {1: [], orders: []}
    for _ in range(rounds):
        for count, found in rates.items():
            show(f"{orders} orders of {count} customer{'s'[: count > 1]}")
            begin = time.perf_counter()
            ids = at_once(system, orders, many[:count])
            wait_until_all(system.decided, ids, deadline_seconds=DEADLINE_SECONDS)
            found.append(orders / (time.perf_counter() - begin))
            wait_until_all(system.visible, ids, deadline_seconds=DEADLINE_SECONDS)
    return Contention(median(rates[1]), median(rates[orders]), _retried(system, started))


def _retried(system: System, since: float) -> int:
    retried = 0
    for name in system.physical_ids("AWS::Lambda::Function").values():
        if name.endswith("-subscriber"):
            for line in log_lines(system, name, since):
                if line.startswith("{") and '"batch handled"' in line:
                    retried += json.loads(line).get("failed", 0)
    return retried
