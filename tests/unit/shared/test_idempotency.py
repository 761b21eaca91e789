from __future__ import annotations

from shared.idempotency import IdempotentRequest


def test_equal_requests_have_equal_fingerprints_in_any_order_of_fields() -> None:
    one = IdempotentRequest.of("key", "jane", {"name": "Jane", "creditLimit": {"a": 1, "b": 2}})
    other = IdempotentRequest.of("key", "jane", {"creditLimit": {"b": 2, "a": 1}, "name": "Jane"})

    assert (one.key, one.fingerprint) == (other.key, other.fingerprint)
    assert len(one.key) == len(one.fingerprint) == 64


def test_any_other_value_has_another_fingerprint() -> None:
    requests: list[dict[str, object]] = [
        {"n": 1},
        {"n": 2},
        {"n": "1"},
        {"n": None},
        {},
        {"n": 1, "m": None},
        {"n": [1]},
    ]
    fingerprints = {
        IdempotentRequest.of("key", "jane", request).fingerprint for request in requests
    }

    assert len(fingerprints) == len(requests)


def test_keys_are_scoped_by_caller() -> None:
    pairs = [("key", "jane"), ("key", "john"), ("ey", "janek"), ("keyjane", ""), ("", "keyjane")]

    assert len({IdempotentRequest.of(*pair, {}).key for pair in pairs}) == len(pairs)


def test_key_expires_after_a_day() -> None:
    assert IdempotentRequest("key", "fingerprint", made_at=1_000_000).expires_at == 1_086_400
