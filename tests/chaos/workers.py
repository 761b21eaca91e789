"""The processes of the functions, which are children of the emulator."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from infra.local.deployed_stack import STACK_NAME


class Workers:
    """The workers of the local stack with this directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()

    def kill(self, function: str) -> int:
        """Kill the workers of a function, named as in functions/. Return their number."""
        # The emulator starts `python <directory>/.../ministack-lambda-<function>-<random>/_worker.py`.
        name = f"/ministack-lambda-{STACK_NAME}-{function}-"
        killed = 0
        for process in psutil.process_iter(["cmdline"]):
            script = (process.info["cmdline"] or [""])[-1]
            if script.startswith(f"{self._directory}/") and name in script:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                killed += 1
        return killed
