"""Events that come late, in another order, and more than once; and many at once for one customer."""

from __future__ import annotations

import threading
import time

from infra.local.api_client import wait_until
from tests.chaos.aws_faults import UnorderedBus
from tests.chaos.aws_proxy import Fault
from tests.chaos.outbox import publish, written_since
from tests.chaos.scenario import Outcome, Size, clients
from tests.chaos.system import System

LATE_SECONDS = 1.0
AGAIN_SECONDS = 0.5
HOT_ORDERS = 200
HOT_CLIENTS = 16


def late_reversed_twice(system: System, size: Size) -> Outcome:
    """The bus delivers what it takes in another order than it was given, and all of it twice."""
    bus = UnorderedBus(system.events, LATE_SECONDS)
    fault = Fault("PutEvents", bus.take)
    with system.aws.inject(fault):
        placed = clients(system).place(size.orders)
        system.settle()
        wait_until(bus.has_delivered_all, bool, deadline_seconds=60, pause_seconds=LATE_SECONDS)
    system.settle()
    return Outcome(placed, fault.struck)


def all_again(system: System, size: Size) -> Outcome:
    """All events are published again and again, the last first, while they happen and when all is over."""
    start, done = time.time(), threading.Event()
    again = 0

    def publish_again() -> None:
        nonlocal again
        while not done.wait(AGAIN_SECONDS):
            again += publish(system, written_since(system, start))

    repeater = threading.Thread(target=publish_again)
    repeater.start()
    try:
        placed = clients(system).place(size.orders)
    finally:
        done.set()
        repeater.join()
    system.settle()
    before = system.snapshot()
    again += publish(system, written_since(system, start))
    system.settle()
    after = system.snapshot()
    changed = [f"{name} has changed" for name in before if before[name] != after[name]]
    return Outcome(placed, again, changed)


def hot_customer(system: System, _size: Size) -> Outcome:
    """Many orders of one customer come at once, and each has to be the next to change that customer."""
    placed = clients(system, HOT_CLIENTS).place(HOT_ORDERS, customers=1)
    system.settle()
    return Outcome(placed, placed.answers)
