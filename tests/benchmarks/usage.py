"""Processor time of the processes of a running system, by their purpose."""

from __future__ import annotations

from contextlib import suppress

import psutil

from infra.local.deployed_stack import STACK_NAME
from tests.benchmarks.systems import System

EMULATOR, MONGODB = "emulator", "MongoDB"
GROUPS = (EMULATOR, MONGODB, "API", "subscribers", "projection", "relays")
WORKER = f"/ministack-lambda-{STACK_NAME}-"
CpuSeconds = dict[tuple[int, str], float]
"""By pid and group."""


def workers(system: System) -> dict[int, str]:
    """Return the processes of the system's functions: the function's name by pid."""
    found = {}
    for process in psutil.Process(system.stack.processes[0].pid).children():
        with suppress(psutil.Error):  # it has just ended
            command = " ".join(process.cmdline())
            if WORKER in command:
                found[process.pid] = command.partition(WORKER)[2].rpartition("-")[0]
    return found


def group_of(function: str) -> str:
    """Return the group of a function in the tables."""
    if "relay" in function:
        return "relays"
    if "projection" in function:
        return "projection"
    return "subscribers" if "subscriber" in function else "API"


def cpu_seconds(system: System) -> CpuSeconds:
    """Return the processor time of each process so far."""
    emulator, mongodb = system.stack.processes
    groups = {emulator.pid: EMULATOR, mongodb.pid: MONGODB}
    groups |= {pid: group_of(name) for pid, name in workers(system).items()}
    found = {}
    for pid, group in groups.items():
        with suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            found[pid, group] = times.user + times.system
    return found


def cpu_between(before: CpuSeconds, after: CpuSeconds) -> dict[str, float]:
    """Return the seconds by group of the processes that existed before: the others spent theirs on starting."""
    spent = dict.fromkeys(GROUPS, 0.0)
    for (pid, group), seconds in before.items():
        spent[group] += after.get((pid, group), seconds) - seconds
    return spent
