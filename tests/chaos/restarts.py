"""The emulator ends by SIGKILL and by SIGTERM. Its data is lost; the end is noticed, and a restart is clean."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import httpx

from infra.local.api_client import ApiClient, wait_until
from infra.local.processes import free_port
from infra.local.stack import EmbeddedStack
from infra.ops.audit import audit
from tests.chaos.clients import Placed, place
from tests.chaos.verdict import Verdict

ORDERS = 10
PATIENCE_SECONDS = 60.0
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


def emulator_ended(directory: Path) -> Verdict:
    """Create orders, end the emulator, and start an empty stack in the same directory, for each signal."""
    launch = partial(
        EmbeddedStack.launch,
        port=free_port(),
        mongodb_port=free_port(),
        directory=directory,
    )
    findings: list[str] = []
    orders = lost = 0
    stack = launch()
    try:
        for number in SIGNALS:
            placed = place(stack.base_url, ORDERS, customers=2, clients=2, cancel_share=0)
            orders += len(placed.orders)
            undecided = _undecided(stack, placed)
            lost += len(undecided)
            (ministack,) = (process for process in stack.processes if process.name == "MiniStack")
            os.kill(ministack.pid, number)
            wait_until(ministack.is_running, lambda running: not running, PATIENCE_SECONDS)
            findings += undecided + _still_running(stack)
            stack = launch()
            with ApiClient(stack.base_url) as api:
                in_view = api.request("GET", "/customers/count").json()
                if in_view or [*api.customers(), *api.orders()]:
                    findings.append("the new stack is not empty")
    finally:
        stack.stop()
    return Verdict(len(SIGNALS), orders, lost, 0, 0, findings)


def _undecided(stack: EmbeddedStack, placed: Placed) -> list[str]:
    """Wait until all orders are decided and in the view. Return what the audit finds otherwise."""

    def look() -> tuple[int, list[str]]:
        found = audit(api)
        return len(placed.orders) - sum(found.orders_by_state.values()), found.findings

    with ApiClient(stack.base_url) as api:
        try:
            wait_until(look, lambda seen: seen == (0, []), PATIENCE_SECONDS, pause_seconds=0.5)
        except TimeoutError as error:
            return [str(error)]
    return []


def _still_running(stack: EmbeddedStack) -> list[str]:
    """Return why a user could believe that the stack still runs."""
    found = []
    if stack.is_running() or [process.name for process in stack.ended()] != ["MiniStack"]:
        found.append("the runner does not report that the emulator ended")
    try:
        httpx.get(f"{stack.base_url}/customers", trust_env=False)
    except httpx.TransportError:
        return found
    return [*found, "the API answers although the emulator ended"]
