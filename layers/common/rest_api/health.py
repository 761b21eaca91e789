"""Checks of the parts of a system, within a time limit and not repeated for each request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Self

from aws_lambda_powertools import Logger

from rest_api.fields import WireModel

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse

TIME_LIMIT_SECONDS = 2
"""Time limit of all checks together. A part that has not answered by then is down."""
_LIFETIME_SECONDS = 10
"""How long a result is reused. With the time limit, it bounds the time that requests can hold this function."""

logger = Logger(child=True)

Checks = Mapping[str, Sequence[Callable[[], None]]]
"""The checks of each part. A check raises an error if the part is down."""


class PartState(StrEnum):
    UP = "up"
    DOWN = "down"


class PartsResponse(WireModel):
    customers: PartState
    orders: PartState
    order_history: PartState


class HealthResponse(WireModel):
    status: PartState
    version: str
    parts: PartsResponse

    @property
    def is_up(self) -> bool:
        return self.status is PartState.UP

    @classmethod
    def of(cls, states: Mapping[str, PartState], version: str) -> Self:
        is_up = all(state is PartState.UP for state in states.values())
        status = PartState.UP if is_up else PartState.DOWN
        return cls(status=status, version=version, parts=PartsResponse(**states))


def documented(description: str) -> OpenAPIResponse:
    """Return the OpenAPI response with a health report."""
    return {"description": description, "content": {"application/json": {"model": HealthResponse}}}


class Health:
    """The states of the parts, at most _LIFETIME_SECONDS old."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._threads = ThreadPoolExecutor(max_workers=sum(map(len, checks.values())))
        self._running: dict[str, list[Future[None]]] = {}
        self._states: dict[str, PartState] = {}
        self._expires_at = 0.0

    def states(self) -> dict[str, PartState]:
        """Return the state of each part, within TIME_LIMIT_SECONDS."""
        if time.monotonic() >= self._expires_at:
            self._states = self._check_all()
            self._expires_at = time.monotonic() + _LIFETIME_SECONDS
        return self._states

    def _check_all(self) -> dict[str, PartState]:
        for part, checks in self._checks.items():
            # A check that still hangs is not started a second time.
            if all(check.done() for check in self._running.get(part, [])):
                self._running[part] = [self._threads.submit(check) for check in checks]
        wait(chain.from_iterable(self._running.values()), timeout=TIME_LIMIT_SECONDS)
        states = {}
        for part, running in self._running.items():
            reasons = [reason for check in running if (reason := _reason(check))]
            states[part] = PartState.DOWN if reasons else PartState.UP
            if reasons:
                logger.error("part is down", extra={"part": part, "reasons": reasons})
        return states


def _reason(check: Future[None]) -> str | None:
    if not check.done():
        return f"no answer within {TIME_LIMIT_SECONDS} seconds"
    error = check.exception()
    return None if error is None else f"{type(error).__name__}: {error}"[:300]
