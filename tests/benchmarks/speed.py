"""Goals 1 and 2: what an order takes, beside a bare pipeline of the same hops and beside the peers, all in one run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

from tests.benchmarks.systems import Design, System, Systems

WARM_UP_ORDERS = 24
CLIENTS = 8
POLL_SECONDS = 0.002
WATCH_SECONDS = 0.01
DEADLINE_SECONDS = 90.0


@dataclass(frozen=True)
class Sizes:
    """How many orders each system is given, altogether."""

    rounds: int
    idle_orders: int
    burst_orders: int
    full_orders: int
    half_orders: int


NORMAL = Sizes(rounds=2, idle_orders=50, burst_orders=120, full_orders=80, half_orders=50)


def _lists() -> dict[str, list[float]]:
    return {"idle": [], "half": [], "full": []}


@dataclass
class Speed:
    """Seconds of each order: one at a time; with as many as clients at a time; at half of our throughput."""

    post: list[float] = field(default_factory=list)
    approved: dict[str, list[float]] = field(default_factory=_lists)
    visible: dict[str, list[float]] = field(default_factory=_lists)
    accepted_per_second: list[float] = field(default_factory=list)
    decided_per_second: list[float] = field(default_factory=list)

    @property
    def accepted(self) -> float:
        return sum(self.accepted_per_second) / len(self.accepted_per_second)

    @property
    def decided(self) -> float:
        return sum(self.decided_per_second) / len(self.decided_per_second)


def measure(
    systems: Systems, designs: Sequence[Design], sizes: Sizes, show: Callable[[str], None]
) -> dict[str, Speed]:
    """The designs' speeds by their names. They take turns, so that what disturbs one disturbs the next as well."""
    running = [systems[design] for design in designs]
    speeds = {system.design.name: Speed() for system in running}
    for system in running:
        show(f"warming up: {system.design.title}")
        ids = at_once(system, WARM_UP_ORDERS)
        wait_until_all(system.visible, ids)
    # Turns go forth and back, so that nobody always comes after the same neighbour.
    turns = [running if turn % 2 == 0 else running[::-1] for turn in range(sizes.rounds)]
    for turn in turns:
        for system in turn:
            show(f"one at a time: {system.design.title}")
            one_at_a_time(system, sizes.idle_orders // sizes.rounds, speeds[system.design.name])
        for system in turn:
            show(f"as many as can be: {system.design.title}")
            burst(system, sizes.burst_orders // sizes.rounds, speeds[system.design.name])
        for system in turn:
            show(f"{CLIENTS} at a time: {system.design.title}")
            orders = sizes.full_orders // sizes.rounds
            waiting_clients(system, orders, speeds[system.design.name])
    rate = speeds[designs[0].name].decided / 2
    for turn in turns:
        for system in turn:
            show(f"{rate:.1f} orders per second: {system.design.title}")
            orders = sizes.half_orders // sizes.rounds
            at_rate(system, orders, rate, speeds[system.design.name])
    return speeds


def one_at_a_time(system: System, orders: int, speed: Speed) -> None:
    for number in range(orders):
        started = time.perf_counter()
        order_id = system.create_order(number)
        speed.post.append(time.perf_counter() - started)
        wait_until_all(system.decided, [order_id], POLL_SECONDS)
        speed.approved["idle"].append(time.perf_counter() - started)
        wait_until_all(system.visible, [order_id], POLL_SECONDS)
        speed.visible["idle"].append(time.perf_counter() - started)


def burst(system: System, orders: int, speed: Speed) -> None:
    """All clients send orders as fast as they are accepted; then all orders are decided."""
    started = time.perf_counter()
    ids = at_once(system, orders)
    speed.accepted_per_second.append(orders / (time.perf_counter() - started))
    wait_until_all(system.decided, ids, 0.05)
    speed.decided_per_second.append(orders / (time.perf_counter() - started))
    wait_until_all(system.visible, ids, 0.05)


def waiting_clients(system: System, orders: int, speed: Speed) -> None:
    """Each client sends its next order when its last one is decided."""
    with Watch(system) as watch, ThreadPoolExecutor(CLIENTS) as pool:

        def place(number: int) -> None:
            watch.decided.wait_for(watch.create_order(number))

        list(pool.map(place, range(orders)))
        watch.note(speed, "full")


def at_rate(system: System, orders: int, per_second: float, speed: Speed) -> None:
    """Orders come at a rate, whatever becomes of those before."""
    with Watch(system) as watch, ThreadPoolExecutor(orders) as pool:
        begin = time.perf_counter()

        def place(number: int) -> None:
            due = begin + number / per_second
            time.sleep(max(0.0, due - time.perf_counter()))
            watch.create_order(number)

        list(pool.map(place, range(orders)))
        watch.note(speed, "half")


def at_once(system: System, orders: int) -> list[Any]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(system.create_order, range(orders)))


def wait_until_all(
    look: Callable[[Sequence[Any]], set[Any]],
    ids: Sequence[Any],
    pause: float = 0.05,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> None:
    """All of the orders are seen. Raises: TimeoutError."""
    deadline = time.monotonic() + deadline_seconds
    left = list(ids)
    while True:
        seen = look(left)
        left = [order_id for order_id in left if order_id not in seen]
        if not left:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(left)} orders are still not there, as {left[0]}")
        time.sleep(pause)


class _Arrivals:
    """When orders were first seen to have got somewhere."""

    def __init__(self, look: Callable[[Sequence[Any]], set[Any]]) -> None:
        self._look = look
        self._condition = threading.Condition()
        self._waiting: set[Any] = set()
        self._seen: dict[Any, float] = {}

    def add(self, order_id: Any) -> None:
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

    def wait_for(self, order_id: Any) -> float:
        """When it got there. Raises: TimeoutError."""
        with self._condition:
            if not self._condition.wait_for(lambda: order_id in self._seen, DEADLINE_SECONDS):
                raise TimeoutError(f"order {order_id} is still not there")
            return self._seen[order_id]


class Watch:
    """Creates orders, and looks for all of them at once in a thread of its own."""

    def __init__(self, system: System) -> None:
        self.decided = _Arrivals(system.decided)
        self.visible = _Arrivals(system.visible)
        self._system = system
        self._started: dict[Any, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def create_order(self, number: int) -> Any:
        started = time.perf_counter()
        order_id = self._system.create_order(number)
        self._started[order_id] = started
        self.decided.add(order_id)
        self.visible.add(order_id)
        return order_id

    def note(self, speed: Speed, load: str) -> None:
        """All orders are decided and visible, and `speed` has how long that took, each."""
        for order_id, started in self._started.items():
            speed.approved[load].append(self.decided.wait_for(order_id) - started)
            speed.visible[load].append(self.visible.wait_for(order_id) - started)

    def _run(self) -> None:
        while not self._stopped.wait(WATCH_SECONDS):
            self.decided.look()
            self.visible.look()
