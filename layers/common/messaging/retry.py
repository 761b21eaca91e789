"""What may come in a command's way: others who write the same, and an earlier delivery of the same message.

Apart from the outbox, so that a subscriber that has none imports no client of DynamoDB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tenacity

from telemetry import metrics
from telemetry.metrics import Metric


class ConcurrentUpdateError(Exception):
    """Somebody else was writing the same items; nothing was written. Load anew and try again."""


class EventAlreadyPublishedError(Exception):
    """The event's id is in the outbox: what it answers was handled before. Nothing was written."""


R = TypeVar("R")


def retry_on_conflict(command: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """What `command(*args, **kwargs)` returns, tried anew (up to 20 times, within some 4 seconds) while others write.

    Raises: ConcurrentUpdateError when they still do; a message is then left to its queue to bring again.
    """
    # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ConcurrentUpdateError),
        # A longer pause would let those who have just come win against those who have lost all along.
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.25),
        stop=tenacity.stop_after_attempt(20) | tenacity.stop_after_delay(4),
        before_sleep=lambda _: metrics.count(Metric.CONFLICTS_RETRIED),
        reraise=True,
    )
    return retrying(command, *args, **kwargs)
