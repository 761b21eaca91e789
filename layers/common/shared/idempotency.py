"""The Idempotency-Key of a create request.

Source: IETF draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIFETIME_SECONDS = 24 * 60 * 60


class RequestAlreadyHandledError(Exception):
    """The same request with the same key has created `aggregate_id` already."""

    def __init__(self, aggregate_id: int) -> None:
        self.aggregate_id = aggregate_id


@dataclass(frozen=True)
class IdempotentRequest:
    """A create request with a key under which it creates at most one aggregate."""

    key: str
    """Hex SHA-256 of the caller and the Idempotency-Key. Two callers never share a key."""
    fingerprint: str
    """Hex SHA-256 of the request: equal for equal requests, however they were spelled."""
    made_at: int
    """Unix time, in seconds."""

    @classmethod
    def of(cls, key: str, caller: str, request: Mapping[str, Any]) -> IdempotentRequest:
        """Describe `request`, the whole request model as JSON, sent by `caller` with the header value `key`."""
        return cls(_sha256([caller, key]), _sha256(request), int(time.time()))

    @property
    def expires_at(self) -> int:
        """Unix time, in seconds, from which the key may be used for another request."""
        return self.made_at + LIFETIME_SECONDS


@dataclass(frozen=True)
class Created:
    """The outcome of a create request."""

    id: int
    event: Any = None
    """The published DomainEventEnvelope; None if the request had been handled before."""
    version: int = 1
    """The version that the aggregate was created with."""


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
