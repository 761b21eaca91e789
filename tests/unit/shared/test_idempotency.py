from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.idempotency import IdempotentRequest

REQUEST = {"customerId": 1, "orderTotal": {"amount": 4}}


def test_fingerprint_is_the_same_for_equal_requests_in_any_spelling_and_has_every_field() -> None:
    reordered = {"orderTotal": {"amount": 4}, "customerId": 1}
    others: list[dict[str, Any]] = [
        *({**REQUEST, "customerId": 2}, {**REQUEST, "orderTotal": {"amount": 5}}),
        *({**REQUEST, "added": None}, {"customerId": 1}),
    ]

    one, equal, *different = (
        IdempotentRequest.of("key", "me", request) for request in (REQUEST, reordered, *others)
    )

    assert (one.key, one.fingerprint) == (equal.key, equal.fingerprint)
    assert len({request.fingerprint for request in (one, *different)}) == 5


@given(*[st.text(max_size=10)] * 4)
def test_two_callers_or_two_keys_never_share_a_key(
    key: str, caller: str, other_key: str, other_caller: str
) -> None:
    one = IdempotentRequest.of(key, caller, REQUEST)
    other = IdempotentRequest.of(other_key, other_caller, REQUEST)

    assert (one.key == other.key) is ((key, caller) == (other_key, other_caller))


def test_hashes_are_whole_sha_256() -> None:
    request = IdempotentRequest.of("key", "me", {"a": 1})

    assert request.key == hashlib.sha256(b'["me", "key"]').hexdigest()
    assert request.fingerprint == hashlib.sha256(b'{"a": 1}').hexdigest()


def test_key_expires_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.9)

    request = IdempotentRequest.of("key", "me", {})

    assert (request.made_at, request.expires_at) == (1_000_000, 1_086_400)
