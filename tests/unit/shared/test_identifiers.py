from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

import pytest

from shared.identifiers import MAX_ID, new_id


def at(monkeypatch: pytest.MonkeyPatch, instant: datetime) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: int(instant.timestamp() * 1000) * 1_000_000)


def test_ids_are_exact_in_javascript(monkeypatch: pytest.MonkeyPatch) -> None:
    for year in (2025, 2026, 2094):
        at(monkeypatch, datetime(year, 1, 1, 0, 0, 1, tzinfo=UTC))
        assert all(0 < new_id() < 2**53 <= MAX_ID for _ in range(1000))


def test_id_is_the_milliseconds_since_2025_and_twelve_random_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secrets, "randbits", lambda bits: 2**bits - 1)
    monkeypatch.setattr(time, "time_ns", lambda: 1_735_689_600_007_999_999)

    assert new_id() == 7 * 4096 + 4095
    assert MAX_ID == 9_223_372_036_854_775_807


def test_ids_of_one_millisecond_differ_by_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, datetime(2026, 11, 4, tzinfo=UTC))

    assert len({new_id() for _ in range(1000)}) > 500
