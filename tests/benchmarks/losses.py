"""Goal 2, the other number: how many orders are lost when the function that accepts them is killed.

It is killed right after what it was accepted with is stored, which is where a dual write has yet to tell of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx

from tests.benchmarks.calls import CountingProxy
from tests.benchmarks.systems import BARE, DUAL_WRITE, INBOX, ORCHESTRATED, OURS, System
from tests.chaos.aws_faults import worker_killed
from tests.chaos.aws_proxy import Fault
from tests.chaos.workers import Workers

STORES_WITH = {
    OURS.name: "TransactWriteItems",
    BARE.name: "PutItem",
    DUAL_WRITE.name: "PutItem",
    INBOX.name: "TransactWriteItems",
    ORCHESTRATED.name: "StartExecution",
}
"""The call with which each accepts an order."""
PATIENCE_SECONDS = 10.0
"""How long none of the undecided orders may move before they are lost."""


@dataclass(frozen=True)
class Losses:
    """Of orders that were stored: how many kills there were, and how many orders nobody will ever decide."""

    kills: int
    lost: int


def under_kills(system: System, proxy: CountingProxy, kills: int) -> Losses:
    fault = Fault(
        STORES_WITH[system.design.name],
        worker_killed(Workers(system.directory), "orders-api"),
        limit=kills,
    )
    with proxy.inject(fault):
        while fault.struck < kills:
            try:
                system.create_order(fault.struck)
            except httpx.HTTPError:  # as the client of a function that has died sees it
                continue
    return Losses(fault.struck, _undecided_for_good(system))


def _undecided_for_good(system: System) -> int:
    left, since = len(system.undecided()), time.monotonic()
    while left and time.monotonic() < since + PATIENCE_SECONDS:
        time.sleep(0.5)
        if (now := len(system.undecided())) != left:
            left, since = now, time.monotonic()
    return left
