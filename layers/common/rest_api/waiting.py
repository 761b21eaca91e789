"""Waiting for a result within a request: the preference `wait` of RFC 7240, and the version that a reader has seen.

The function waits itself: it reads again and again, with growing pauses.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated, Protocol, TypeVar

from aws_lambda_powertools.event_handler.openapi.params import Header, Query
from pydantic import BeforeValidator, Field

from rest_api.fields import in_digits
from shared.errors import NotYetError
from shared.identifiers import MAX_ID

T = TypeVar("T")


class Versioned(Protocol):
    """A customer or an order as the view has it."""

    @property
    def version(self) -> int: ...


V = TypeVar("V", bound=Versioned)

MAX_SECONDS = 10
"""Longest wait. With a last read that fails, it ends before the functions' time limit of 20 seconds (`Timeout` in
template.yaml), and API Gateway's of 29 seconds."""
RETRY_AFTER_SECONDS = 1
VIEW_SECONDS = 5
"""How long a request with minVersion waits for the view if it has no preference."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, PAUSE_GROWTH = 0.05, 0.5, 1.5

Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description=f"`wait=N` (RFC 7240): wait up to N seconds for the result, at most {MAX_SECONDS}.",
    ),
]
MinVersion = Annotated[
    int | None,
    Field(ge=1, le=MAX_ID),
    BeforeValidator(in_digits),
    Query(
        alias="minVersion",
        description="Wait until the view has this version: the number in the `ETag` of a write or read of the services.",
    ),
]


class ViewBehindError(NotYetError):
    """The view has the customer or order, but not the requested version."""


def preferred_seconds(prefer: str | None) -> int | None:
    """Return the bounded `wait` in a Prefer header. Return None if it has none or an invalid one, which is ignored."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":  # only the first one counts
            seconds = re.fullmatch(r'\s*("?)([0-9]{1,20})\1\s*', value, re.ASCII)
            return min(int(seconds[2]), MAX_SECONDS) if seconds else None
    return None


def wait_for(look: Callable[[], T], is_done: Callable[[T], bool], seconds: float) -> T:
    """Call `look` until `is_done` accepts its result or the seconds are over. Return the last result."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while True:
        seen, left = look(), deadline - time.monotonic()
        if left <= 0 or is_done(seen):
            return seen
        time.sleep(min(pause, left))
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
