"""What all scenarios are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.aws_proxy import Fault
from tests.chaos.clients import Clients, Placed
from tests.chaos.system import System

CLIENTS = 8


@dataclass(frozen=True)
class Size:
    """How much there is of each scenario."""

    orders: int
    mongodb_down_seconds: float


FULL = Size(orders=150, mongodb_down_seconds=30)
SHORT = Size(orders=40, mongodb_down_seconds=8)


@dataclass
class Outcome:
    """What the clients were promised, how often the fault struck, and what was not as it should be."""

    placed: Placed
    struck: int
    findings: list[str] = field(default_factory=list)


Scenario = Callable[[System, Size], Outcome]


def clients(system: System, count: int = CLIENTS) -> Clients:
    """So many clients of the system's API."""
    return Clients(system.stack.base_url, count, system.show)


def under(system: System, size: Size, *faults: Fault) -> Outcome:
    """Orders are placed, and all that they lead to is done, while the faults strike."""
    with system.aws.inject(*faults):
        placed = clients(system).place(size.orders)
        system.settle()
    return Outcome(placed, sum(fault.struck for fault in faults))


def wait(system: System, for_what: str, seconds: float) -> None:
    """The time has passed, and the user was told what for."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        system.show(f"{for_what} in {left:.0f} s")
        time.sleep(min(left, 1))
