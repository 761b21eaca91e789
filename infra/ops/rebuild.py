"""Drives the function that rebuilds the order history view, part by part, and shows the progress."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.ops.target import OperateError, Target, explain
from infra.terminal import say

FUNCTION = "OrderHistoryRebuildFunction"
SECONDS_PER_INVOCATION = 5
"""How long one invocation reads pages, and how long an interrupt has to wait for it."""
CONFIG = Config(read_timeout=90, retries={"total_max_attempts": 3, "mode": "standard"})
"""The read timeout is above the function's time limit of 60 s."""
ATTEMPTS = 5
PAUSE_SECONDS = 1.0
"""Before the second attempt, doubled before each later one."""
SECONDS_BETWEEN_LINES = 5.0

Part = dict[str, Any]


class HistoryRebuild:
    """Invokes the rebuild function until each part is done. The progress is kept in the view."""

    def __init__(self, target: Target, parallel: int) -> None:
        self._parallel = parallel
        config = CONFIG.merge(Config(max_pool_connections=parallel + 1))
        self._lambda = target.client("lambda", config)
        self._function = target.resource(FUNCTION)
        self._stop = threading.Event()
        self._parts: dict[str, Part] = {}
        self._started, self._read_before = time.monotonic(), 0

    def drop(self) -> None:
        """Delete the view and the progress of a rebuild."""
        self._invoke(command="drop")

    def unfinished(self) -> list[Part]:
        """Return the parts of a rebuild that was begun and not finished."""
        return self._invoke(command="progress")

    def begin(self, segments: int) -> list[Part]:
        """Begin a rebuild, and forget an unfinished one."""
        return self._invoke(command="begin", segments=segments)

    def run(self, parts: list[Part]) -> None:
        """Read all parts to their end, and print the progress every few seconds.

        Raises: OperateError if the function keeps failing, or if the view was deleted meanwhile.
        KeyboardInterrupt is raised when the invocations in progress have ended.
        """
        self._parts = {part["_id"]: part for part in parts}
        self._started, self._read_before = time.monotonic(), self._sum("read")
        with ThreadPoolExecutor(self._parallel) as threads:
            running = [threads.submit(self._read, part) for part in parts]
            try:
                while wait(running, SECONDS_BETWEEN_LINES, FIRST_EXCEPTION).not_done:
                    if any(part.done() and part.exception() for part in running):
                        break
                    say(self.summary())
            finally:
                self._stop.set()
        for part in running:
            part.result()
        self._invoke(command="end")

    def summary(self) -> str:
        """Return what was read, and how fast."""
        read, unreadable = self._sum("read"), self._sum("unreadable")
        skipped = f", {unreadable:,} unreadable (see the function's log)" if unreadable else ""
        done = sum(part["state"] == "done" for part in self._parts.values())
        seconds = time.monotonic() - self._started
        rate = (read - self._read_before) / max(seconds, 0.001)
        return (
            f"{read:,} events read, {self._sum('projected'):,} projected{skipped}; "
            f"{done} of {len(self._parts)} parts done; {seconds:.1f} s, {rate:,.0f} events per second"
        )

    def _sum(self, key: str) -> int:
        return sum(part[key] for part in self._parts.values())

    def _read(self, part: Part) -> None:
        name = part["_id"]
        while part["state"] != "done" and not self._stop.is_set():
            parts = self._invoke(command="advance", part=name, seconds=SECONDS_PER_INVOCATION)
            if name not in (found := {p["_id"]: p for p in parts}):
                raise OperateError(
                    "The view was deleted during the rebuild. Run `make rebuild-history` again."
                )
            self._parts[name] = part = found[name]

    def _invoke(self, **command: Any) -> list[Part]:
        """Return the parts in the function's answer. Failed invocations are retried."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt and self._stop.wait(PAUSE_SECONDS * 2 ** (attempt - 1)):
                break
            try:
                answer = self._lambda.invoke(
                    FunctionName=self._function, Payload=json.dumps(command)
                )
            except (BotoCoreError, ClientError) as error:
                problem = explain(error)
                continue
            payload = json.loads(answer["Payload"].read())
            if "FunctionError" not in answer:
                parts: list[Part] = payload["parts"]
                return parts
            problem = str(payload.get("errorMessage", payload))
        raise OperateError(f"{self._function} fails: {problem}")
