"""Ids of customers and orders: time-ordered integers that JavaScript represents exactly."""

from __future__ import annotations

import secrets
import time

MAX_ID = 2**63 - 1
"""The largest id accepted in requests and events. Generated ids stay below 2**53."""

_EPOCH_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
_RANDOM_BITS = 12


def new_id() -> int:
    """Return an id below 2**53 (until the year 2094): 41 bits of milliseconds since 2025, then 12 random bits.

    Two ids may collide, so an insert must carry the condition that the id is unused.
    """
    milliseconds = time.time_ns() // 1_000_000 - _EPOCH_MS
    return (milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
