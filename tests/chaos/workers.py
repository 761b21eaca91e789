"""The processes that functions run in: children of the emulator, to be killed without notice."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from infra.local.deployed_stack import STACK_NAME


class Workers:
    """The workers of one embedded stack, known by the directory that it keeps its files in."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self.killed = 0
        """Ever."""

    def kill(self, function: str) -> int:
        """No worker of the function, named as in functions/, runs any more. Returns how many were killed."""
        pids = self._find(function)
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGKILL)
        self.killed += len(pids)
        return len(pids)

    def _find(self, function: str) -> list[int]:
        # The emulator starts each as `python <its directory>/ministack-lambda-<function>-<random>/_worker.py`.
        sign = f"{self._directory}/"
        name = f"/ministack-lambda-{STACK_NAME}-{function}-"
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
        ).stdout
        return [
            int(line.split(maxsplit=1)[0])
            for line in listed.splitlines()
            if sign in line and name in line and line.endswith("/_worker.py")
        ]
