"""Latency, throughput and processor time of the systems with the same hops, taken in turns in one run."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from tests.benchmarks.systems import Design, System, Systems
from tests.benchmarks.usage import GROUPS, cpu_between, cpu_seconds, workers

WARM_UP_ORDERS = 120
"""The first burst costs the emulator twice the processor time."""
WARM_UPS = 3
"""At most. A system is warm when a burst of orders starts no process any more."""
CLIENTS = 8
POLL_SECONDS = 0.01
DEADLINE_SECONDS = 90.0
LOADS = ("idle", "half", "full")


@dataclass(frozen=True)
class Sizes:
    """The number of orders of each system in each of `rounds` rounds."""

    rounds: int = 5
    idle: int = 8
    burst: int = 100
    full: int = 24
    half: int = 14


@dataclass
class Speed:
    """The measurements of one system: seconds per order, and for each round orders per second and CPU."""

    approved: dict[str, list[float]] = field(default_factory=lambda: {load: [] for load in LOADS})
    visible: dict[str, list[float]] = field(default_factory=lambda: {load: [] for load in LOADS})
    accepted_rates: list[float] = field(default_factory=list)
    decided_rates: list[float] = field(default_factory=list)
    cpu_rounds: list[dict[str, float]] = field(default_factory=list)
    """CPU milliseconds per decided order by group of processes."""

    @property
    def accepted(self) -> float:
        return median(self.accepted_rates)

    @property
    def decided(self) -> float:
        return median(self.decided_rates)

    @property
    def cpu(self) -> dict[str, float]:
        """The median of the rounds by group."""
        return {group: median(r[group] for r in self.cpu_rounds) for group in GROUPS}

    def total_cpu(self) -> list[float]:
        """Return each round's CPU milliseconds per decided order of all groups."""
        return [sum(found.values()) for found in self.cpu_rounds]


def ratio_of_rounds(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the rounds' ratios: both figures of a round meet the same phase of the machine."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` percent of the values do not exceed, interpolated."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def measure(
    systems: Systems, designs: Sequence[Design], sizes: Sizes, show: Callable[[str], None]
) -> dict[str, Speed]:
    """Measure the designs in turns, so that a disturbance meets all of them. Return their speeds by name."""
    running = [systems[design] for design in designs]
    speeds = {system.design.name: Speed() for system in running}
    for system in running:
        show(f"warming up: {system.design.title}")
        warm_up(system)
    for number in range(sizes.rounds):
        show(f"round {number + 1} of {sizes.rounds}")
        turns = [(s, speeds[s.design.name]) for s in running[:: 1 if number % 2 == 0 else -1]]
        for system, speed in turns:
            clients(system, sizes.idle, 1, speed, "idle")
        for system, speed in turns:
            burst(system, sizes.burst, speed)
        for system, speed in turns:
            clients(system, sizes.full, CLIENTS, speed, "full")
    rate = min(speed.decided for speed in speeds.values()) / 2
    for number in range(sizes.rounds):
        show(f"{rate:.0f} orders per second, round {number + 1} of {sizes.rounds}")
        for system in running[:: 1 if number % 2 == 0 else -1]:
            at_rate(system, sizes.half, rate, speeds[system.design.name])
    return speeds


def warm_up(system: System) -> None:
    """Create orders until no more processes start."""
    for _ in range(WARM_UPS):
        before = workers(system).keys()
        wait_until_all(system.visible, at_once(system, WARM_UP_ORDERS))
        if workers(system).keys() == before:
            return


def burst(system: System, orders: int, speed: Speed) -> None:
    """Let all clients send orders without waiting. Note the rates and, until all are visible, the CPU."""
    before = cpu_seconds(system)
    started = time.perf_counter()
    ids = at_once(system, orders)
    speed.accepted_rates.append(orders / (time.perf_counter() - started))
    wait_until_all(system.decided, ids, 0.05)
    speed.decided_rates.append(orders / (time.perf_counter() - started))
    wait_until_all(system.visible, ids, 0.05)
    spent = cpu_between(before, cpu_seconds(system))
    speed.cpu_rounds.append({group: s * 1000 / orders for group, s in spent.items()})


def clients(system: System, orders: int, count: int, speed: Speed, load: str) -> None:
    """Let each client send its next order when its last one is decided."""
    with Watch(system) as watch, ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda n: watch.decided.wait_for(watch.create_order(n)), range(orders)))
        watch.note(speed, load)


def at_rate(system: System, orders: int, per_second: float, speed: Speed) -> None:
    """Send orders at a rate that does not depend on how fast they are decided."""
    with Watch(system) as watch, ThreadPoolExecutor(orders) as pool:
        begin = time.perf_counter()

        def place(number: int) -> None:
            time.sleep(max(0.0, begin + number / per_second - time.perf_counter()))
            watch.create_order(number)

        list(pool.map(place, range(orders)))
        watch.note(speed, "half")


def at_once(system: System, orders: int, customers: Sequence[int] | None = None) -> list[int]:
    """Create the orders with all clients as fast as they are accepted. Return their ids."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(lambda number: system.create_order(number, customers), range(orders)))


def wait_until_all(
    look: Callable[[Sequence[int]], set[int]],
    ids: Sequence[int],
    pause: float = 0.05,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> None:
    """Wait until all of the orders are seen. Raises: TimeoutError."""
    deadline = time.monotonic() + deadline_seconds
    left = list(ids)
    while True:
        seen = look(left)
        left = [order_id for order_id in left if order_id not in seen]
        if not left:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(left)} orders are still missing, for example {left[0]}")
        time.sleep(pause)


class _Arrivals:
    """The times at which orders were first seen in some state."""

    def __init__(self, look: Callable[[Sequence[int]], set[int]]) -> None:
        self._look = look
        self._condition = threading.Condition()
        self._waiting: set[int] = set()
        self._seen: dict[int, float] = {}

    def add(self, order_id: int) -> None:
        with self._condition:
            self._waiting.add(order_id)

    def look(self) -> None:
        with self._condition:
            waiting = list(self._waiting)
        found = self._look(waiting) if waiting else set()
        now = time.perf_counter()
        with self._condition:
            self._seen |= dict.fromkeys(found, now)
            self._waiting -= found
            self._condition.notify_all()

    def wait_for(self, order_id: int) -> float:
        """Return when the order was seen. Raises: TimeoutError."""
        with self._condition:
            if not self._condition.wait_for(lambda: order_id in self._seen, DEADLINE_SECONDS):
                raise TimeoutError(f"order {order_id} is still missing")
            return self._seen[order_id]


class Watch:
    """Creates orders, and looks for all of them every 10 ms in a thread of its own."""

    def __init__(self, system: System) -> None:
        self.decided = _Arrivals(system.decided)
        self.visible = _Arrivals(system.visible)
        self._system = system
        self._started: dict[int, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def create_order(self, number: int) -> int:
        started = time.perf_counter()
        order_id = self._system.create_order(number)
        self._started[order_id] = started
        self.decided.add(order_id)
        self.visible.add(order_id)
        return order_id

    def note(self, speed: Speed, load: str) -> None:
        """Wait until all orders are decided and visible, and add the seconds of each to `speed`."""
        for order_id, started in self._started.items():
            speed.approved[load].append(self.decided.wait_for(order_id) - started)
            speed.visible[load].append(self.visible.wait_for(order_id) - started)

    def _run(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self.decided.look()
            self.visible.look()
