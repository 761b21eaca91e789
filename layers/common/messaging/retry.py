"""Retries of commands that conflict with other writers (optimistic locking).

Separate from the outbox, so that the projection does not import a DynamoDB client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity

from telemetry import metrics
from telemetry.metrics import Metric

P = ParamSpec("P")
R = TypeVar("R")

MAX_ATTEMPTS = 20
MAX_SECONDS = 4
"""How long one command is retried. Less than what a subscriber reserves for it (subscriber.py)."""


class WriteConflictError(Exception):
    """Another writer changed the same items. Nothing was written: reload and retry."""


def retry_on_conflict(command: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `command(*args, **kwargs)` and retry it on WriteConflictError, with full jitter.

    Raises: WriteConflictError after MAX_ATTEMPTS attempts or MAX_SECONDS; SQS then redelivers the message.
    """
    # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(WriteConflictError),
        # The backoff is capped so that waiting writers do not starve.
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.25),
        stop=tenacity.stop_after_attempt(MAX_ATTEMPTS) | tenacity.stop_after_delay(MAX_SECONDS),
        before_sleep=lambda _: metrics.count(Metric.CONFLICTS_RETRIED),
        reraise=True,
    )
    return retrying(command, *args, **kwargs)
