"""The order history view made anew: the rebuild function, invoked part by part until all have been read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.ops.target import OperateError, Target

FUNCTION = "OrderHistoryRebuildFunction"
SECONDS_PER_INVOCATION = 5
"""So often there is something to show, and so long it takes to stop; longer, where a page takes longer."""
# Above the function's time limit.
CONFIG = Config(read_timeout=90, retries={"total_max_attempts": 3, "mode": "standard"})
ATTEMPTS = 5
PAUSE_SECONDS = 1.0

Part = dict[str, Any]
Show = Callable[[Part], None]


class HistoryRebuild:
    """Drives the stack's rebuild function. How far it has come is in the view, not here."""

    def __init__(self, target: Target, parallel: int) -> None:
        self._parallel = parallel
        config = Config(max_pool_connections=parallel + 1)
        self._lambda = target.client("lambda", CONFIG.merge(config))
        self._dynamodb = target.client("dynamodb")
        self._function = target.resource(FUNCTION)
        self._tables = {s: target.resource(f"{s}Outbox") for s in ("Customers", "Orders")}
        self._stop = threading.Event()

    def estimates(self) -> dict[str, int]:
        """How many events are in each outbox, by its service. DynamoDB counts them every six hours or so."""
        return {
            service: self._dynamodb.describe_table(TableName=table)["Table"]["ItemCount"]
            for service, table in self._tables.items()
        }

    def drop(self) -> None:
        """The view is empty, and knows of no rebuild."""
        self._invoke(command="drop")

    def unfinished(self) -> list[Part]:
        """The parts of a rebuild that was begun and has not ended; none if there is no such thing."""
        return self._invoke(command="progress")

    def begin(self, segments: int) -> list[Part]:
        """A new rebuild has begun; what was left of another is forgotten."""
        return self._invoke(command="begin", segments=segments)

    def run(self, parts: list[Part], show: Show) -> None:
        """All parts are read to their end; `show` is told of each step of each.

        Raises: OperateError if one fails again and again, or if the view was lost meanwhile;
        KeyboardInterrupt when the invocations under way have ended.
        """
        with ThreadPoolExecutor(self._parallel) as threads:
            running = [threads.submit(self._read, part, show) for part in parts]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
        for part in running:
            part.result()
        self._invoke(command="end")

    def _read(self, part: Part, show: Show) -> None:
        show(part)
        while part["state"] != "done" and not self._stop.is_set():
            parts = self._invoke(
                command="advance", part=part["_id"], seconds=SECONDS_PER_INVOCATION
            )
            current = next((p for p in parts if p["_id"] == part["_id"]), None)
            if current is None:
                raise OperateError(
                    "The view was lost meanwhile: `make rebuild-history` starts anew."
                )
            part = current
            show(part)

    def _invoke(self, **command: Any) -> list[Part]:
        """The parts as the function has answered with. It is asked again a few times when it fails."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt and self._stop.wait(PAUSE_SECONDS * 2**attempt):
                break
            try:
                answer = self._lambda.invoke(
                    FunctionName=self._function, Payload=json.dumps(command)
                )
            except (BotoCoreError, ClientError) as error:
                problem = str(error)
                continue
            payload = json.loads(answer["Payload"].read())
            if "FunctionError" not in answer:
                parts: list[Part] = payload["parts"]
                return parts
            problem = str(payload.get("errorMessage", payload))
        raise OperateError(f"{self._function} fails: {problem}")


class Rate:
    """Events per second since it was made."""

    def __init__(self, already_read: int) -> None:
        self._started = time.monotonic()
        self._already_read = already_read

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._started

    def of(self, read: int) -> float:
        """Events per second, when so many were read in all."""
        return (read - self._already_read) / max(self.seconds, 0.001)
