"""A clock for code that waits: no test sleeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest


class Clock:
    """Stands in for the module `time`. Something may happen while the code sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.plan: dict[float, Callable[[], object]] = {}
        """What happens, by the time in seconds."""

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        for at in [at for at in self.plan if at <= self.now]:
            self.plan.pop(at)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of requests that wait."""
    clock = Clock()
    monkeypatch.setattr("rest_api.waiting.time", clock)
    return clock
