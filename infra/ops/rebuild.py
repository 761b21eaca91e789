"""Drives the function that rebuilds the order history view, part by part, and shows the progress."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.ops.target import OperateError, Target, explain
from infra.terminal import say

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
        self.retention_days = 0
        """How long the outboxes keep events, by the function's last answer; 0 is for ever."""
        config = CONFIG.merge(Config(max_pool_connections=parallel + 1))
        self._lambda = target.client("lambda", config)
        self._function = target.resource("OrderHistoryRebuildFunction")
        self._stop = threading.Event()
        self._parts: dict[str, Part] = {}
        self._started, self._read_before = time.monotonic(), 0
        self._next_line = self._started + SECONDS_BETWEEN_LINES

    def run(self, parts: list[Part]) -> None:
        """Read all parts to their end, and print the progress every few seconds.

        Raises: OperateError if the function keeps failing, or if the view was deleted meanwhile.
        KeyboardInterrupt is raised when the invocations in progress have ended.
        """
        self._parts = {part["_id"]: part for part in parts}
        self._started, self._read_before = time.monotonic(), self._sum("read")
        with ThreadPoolExecutor(self._parallel) as threads:
            try:
                list(threads.map(self._read, self._parts))
            finally:
                self._stop.set()
        self._stop.clear()
        self.invoke("end")

    def summary(self) -> str:
        """Return the number of events that were read, and the speed."""
        read, unreadable = self._sum("read"), self._sum("unreadable")
        skipped = f", {unreadable:,} unreadable (see the function's log)" if unreadable else ""
        done = sum(part["state"] == "done" for part in self._parts.values())
        seconds = time.monotonic() - self._started
        rate = (read - self._read_before) / max(seconds, 0.001)
        return (
            f"{read:,} events read, {self._sum('projected'):,} projected{skipped}; "
            f"{done} of {len(self._parts)} parts done; {seconds:.1f} s, {rate:,.0f} events per second"
        )

    def invoke(self, command: str, **rest: Any) -> list[Part]:
        """Return the parts in the function's answer to drop, progress, begin, advance or end. Retry failures."""
        problem, payload = "", json.dumps({"command": command, **rest})
        for attempt in range(ATTEMPTS):
            if attempt and self._stop.wait(PAUSE_SECONDS * 2 ** (attempt - 1)):
                break
            try:
                response = self._lambda.invoke(FunctionName=self._function, Payload=payload)
            except (BotoCoreError, ClientError) as error:
                problem = explain(error)
                continue
            answer = json.loads(response["Payload"].read())
            if "FunctionError" not in response:
                self.retention_days = answer.get("retentionDays", 0)
                parts: list[Part] = answer["parts"]
                return parts
            problem = str(answer.get("errorMessage", answer))
        raise OperateError(f"{self._function} fails: {problem}")

    def _sum(self, key: str) -> int:
        return sum(part[key] for part in self._parts.values())

    def _read(self, name: str) -> None:
        try:
            while self._parts[name]["state"] != "done" and not self._stop.is_set():
                self._advance(name)
        except Exception:
            self._stop.set()
            raise

    def _advance(self, name: str) -> None:
        parts = self.invoke("advance", part=name, seconds=SECONDS_PER_INVOCATION)
        found = {part["_id"]: part for part in parts}
        if name not in found:
            raise OperateError(
                "The view was deleted during the rebuild. Run `make rebuild-history` again."
            )
        self._parts[name] = found[name]
        if time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            say(self.summary())
