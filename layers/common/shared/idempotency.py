"""The Idempotency-Key of a create request.

Source: IETF draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import IdempotencyKeyReusedError

LIFETIME_SECONDS = 24 * 60 * 60


class RequestAlreadyHandledError(Exception):
    """The same request with the same key has created `aggregate_id` already."""

    def __init__(self, aggregate_id: int) -> None:
        super().__init__(aggregate_id)
        self.aggregate_id = aggregate_id


@dataclass(frozen=True)
class IdempotentRequest:
    """A create request and the key under which it must create one aggregate at most."""

    key: str
    fingerprint: str
    """Hex SHA-256 of what was asked for: equal for equal requests, however they were spelled."""
    made_at: int
    """Unix time, in seconds."""

    @classmethod
    def of(cls, key: str, request: Mapping[str, int | str]) -> IdempotentRequest:
        canonical = json.dumps(request, sort_keys=True).encode()
        return cls(key, hashlib.sha256(canonical).hexdigest(), int(time.time()))

    @property
    def expires_at(self) -> int:
        """Unix time, in seconds, from which the key may be used anew."""
        return self.made_at + LIFETIME_SECONDS

    @property
    def item_number(self) -> int:
        """The number under which the key is stored in a table whose key is a number: negative, so no aggregate's.

        120 bits of the key's SHA-256: DynamoDB numbers hold 38 digits, and 120 bits do not collide.
        """
        return -1 - int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:15])

    def used_before(self, fingerprint: str, aggregate_id: int) -> Exception:
        """What it means that the key is taken, by a request with `fingerprint` that created `aggregate_id`."""
        if fingerprint == self.fingerprint:
            return RequestAlreadyHandledError(aggregate_id)
        return IdempotencyKeyReusedError(
            "This Idempotency-Key was used before, with a different request."
        )
