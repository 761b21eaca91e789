"""How long the outboxes keep an event, and from when on an event is too old to be handled.

A subscriber recognizes a redelivered event by its own answer in the outbox. So it handles an event only while that
answer, which is younger than the event, cannot have expired.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

MARGIN = timedelta(days=1)
"""An event is too old this much before its answer can expire. The clocks involved differ by seconds at most."""


@dataclass(frozen=True)
class Retention:
    """The retention of the outboxes of a stack."""

    days: int = 0
    """0 is for ever."""

    @classmethod
    def from_environment(cls) -> Self:
        """Return the retention in OUTBOX_RETENTION_DAYS."""
        return cls(int(os.environ.get("OUTBOX_RETENTION_DAYS", "0")))

    def expires_at(self, occurred_at: datetime) -> int | None:
        """Return the Unix time, in seconds, from which DynamoDB may delete an event; None for never."""
        expiry = occurred_at + timedelta(days=self.days)
        return int(expiry.timestamp()) if self.days else None

    def is_too_old(self, occurred_at: datetime, now: datetime) -> bool:
        """Return whether the answer to an event may have expired already."""
        return self.days > 0 and now - occurred_at > timedelta(days=self.days) - MARGIN


FOR_EVER = Retention()
