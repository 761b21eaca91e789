"""Processor time of the processes of a running system, by what they do, and the processes of its functions."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from infra.local.deployed_stack import STACK_NAME
from tests.benchmarks.systems import System

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
GROUPS = ("emulator", "MongoDB", "API", "subscribers", "projection", "relays")
WORKER = f"/ministack-lambda-{STACK_NAME}-"


def workers(system: System) -> dict[int, str]:
    """Return the processes of the system's functions: the function's name by pid."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for line in listed.splitlines():
        if f"{system.directory.resolve()}/" in line and line.endswith("/_worker.py"):
            found[int(line.split(maxsplit=1)[0])] = line.partition(WORKER)[2].rpartition("-")[0]
    return found


def group_of(function: str) -> str:
    """Return the group of a function in the tables."""
    if "relay" in function:
        return "relays"
    if "projection" in function:
        return "projection"
    return "subscribers" if "subscriber" in function else "API"


def cpu_milliseconds(system: System) -> dict[tuple[int, str], float] | None:
    """Return the processor time of each process so far, by pid and group. None where /proc does not exist."""
    if not Path("/proc/self/stat").exists():
        return None
    groups = {process.pid: GROUPS[n] for n, process in enumerate(system.stack.processes)}
    groups |= {pid: group_of(name) for pid, name in workers(system).items()}
    found = {}
    for pid, group in groups.items():
        with suppress(OSError):  # the process has just ended
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])  # utime and stime
            found[pid, group] = ticks * 1000 / TICKS_PER_SECOND
    return found


def cpu_between(
    before: dict[tuple[int, str], float], after: dict[tuple[int, str], float]
) -> dict[str, float]:
    """Return the milliseconds by group of the processes that existed before: the others spent theirs on starting."""
    spent = dict.fromkeys(GROUPS, 0.0)
    for (pid, group), milliseconds in before.items():
        spent[group] += after.get((pid, group), milliseconds) - milliseconds
    return spent
