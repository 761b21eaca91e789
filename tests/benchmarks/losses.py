"""Orders lost under kills: the function that accepts orders is killed right after it stored one.

A dual write has not published the order's event at that moment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx

from tests.benchmarks.calls import CountingProxy
from tests.benchmarks.systems import BARE, BASELINE, DUAL_WRITE, INBOX, OURS, STATE_MACHINE, System
from tests.chaos.aws_faults import worker_killed
from tests.chaos.aws_proxy import Fault
from tests.chaos.workers import Workers

STORES_WITH = {
    OURS.name: "TransactWriteItems",
    BASELINE.name: "TransactWriteItems",
    BARE.name: "TransactWriteItems",
    INBOX.name: "TransactWriteItems",
    DUAL_WRITE.name: "PutItem",
    STATE_MACHINE.name: "StartExecution",
}
"""The call with which each accepts an order."""
PATIENCE_SECONDS = 6.0
"""Undecided orders are lost if none of them is decided for so long."""


@dataclass(frozen=True)
class Losses:
    """The number of kills, and of stored orders that stay PENDING."""

    kills: int
    lost: int


def under_kills(system: System, proxy: CountingProxy, kills: int) -> Losses:
    """Kill the function that accepts orders `kills` times, each after it stored an order."""
    fault = Fault(
        STORES_WITH[system.design.name],
        worker_killed(Workers(system.directory), "orders-api"),
        limit=kills,
    )
    with proxy.inject(fault):
        while fault.struck < kills:
            try:
                system.create_order(fault.struck)
            except httpx.HTTPError:  # the client's view of a killed function
                continue
    return Losses(fault.struck, _lost(system))


def _lost(system: System) -> int:
    left, since = system.undecided(), time.monotonic()
    while left and time.monotonic() < since + PATIENCE_SECONDS:
        time.sleep(0.5)
        if (now := system.undecided()) != left:
            left, since = now, time.monotonic()
    return left
