"""The emulator itself ends, by SIGKILL and by SIGTERM. It keeps nothing; what counts is that this is plain to see."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from infra.local.api_client import ApiClient, wait_until
from infra.local.processes import free_port
from infra.local.stack import EmbeddedStack, Step
from infra.ops.audit import audit
from tests.chaos.clients import Clients, Placed
from tests.chaos.system import Show
from tests.chaos.verdict import Verdict

ORDERS = 10
PATIENCE_SECONDS = 60.0
ENDS = (signal.SIGKILL, signal.SIGTERM)


def emulator_ended(directory: Path, show: Show, step: Step) -> Verdict:
    """Orders are placed and decided, the emulator ends, and `make up` starts a system that knows nothing of them."""
    port, mongodb_port = free_port(), free_port()
    findings: list[str] = []
    orders = lost = 0

    def launch() -> EmbeddedStack:
        # It has to clear away what is left of the last.
        return EmbeddedStack.launch(
            port=port, mongodb_port=mongodb_port, directory=directory, step=step
        )

    stack = launch()
    try:
        for end in ENDS:
            placed = Clients(stack.base_url, 2, show).place(ORDERS, customers=2, cancel_share=0)
            findings += _undecided(stack, placed)
            orders += len(placed.orders)
            lost += len(findings)
            _end(stack, end)
            findings += _unnoticed(stack)
            stack = launch()
            findings += _left_over(stack)
    finally:
        stack.stop()
    return Verdict(len(ENDS), orders, lost, 0, 0, tuple(findings))


def _undecided(stack: EmbeddedStack, placed: Placed) -> list[str]:
    """What the audit finds when all orders should be decided and in the view."""

    def look() -> tuple[int, list[str]]:
        found = audit(api)
        return len(placed.orders) - sum(found.orders_by_state.values()), found.findings

    with ApiClient(stack.base_url) as api:
        try:
            wait_until(look, lambda seen: seen == (0, []), PATIENCE_SECONDS, pause_seconds=0.5)
        except TimeoutError as error:
            return [str(error)]
    return []


def _end(stack: EmbeddedStack, number: signal.Signals) -> None:
    (ministack,) = (process for process in stack.processes if process.name == "MiniStack")
    os.kill(ministack.pid, number)
    wait_until(ministack.is_running, lambda running: not running, PATIENCE_SECONDS)


def _unnoticed(stack: EmbeddedStack) -> list[str]:
    """What a user might take for a system that runs."""
    found = []
    if stack.is_running() or [process.name for process in stack.ended()] != ["MiniStack"]:
        found.append("the runner has not noticed that the emulator ended")
    try:
        httpx.get(f"{stack.base_url}/customers", trust_env=False)
    except httpx.TransportError:  # refused, or cut off by the end itself
        return found
    return [*found, "the API answers, and the emulator has ended"]


def _left_over(stack: EmbeddedStack) -> list[str]:
    """What a new system knows of the one before."""
    with ApiClient(stack.base_url) as api:
        known = [*api.customers(), *api.orders()]
        in_view = api.request("GET", "/customers/count").json()
    return ["the new system is not empty"] if known or in_view else []
