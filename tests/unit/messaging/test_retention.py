"""The retention of the outboxes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messaging.retention import Retention

AT = datetime(2026, 11, 26, 12, 0, 0, 123_000, tzinfo=UTC)


def test_event_expires_after_the_days_in_the_environment_and_never_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Retention.from_environment().expires_at(AT) is None
    for days, expected in (("0", None), ("30", 1_798_286_400), ("365", 1_827_230_400)):
        monkeypatch.setenv("OUTBOX_RETENTION_DAYS", days)
        assert Retention.from_environment().expires_at(AT) == expected


def test_event_is_too_old_a_day_before_its_answer_can_expire() -> None:
    almost, a_millisecond = timedelta(days=29), timedelta(milliseconds=1)

    assert not Retention(30).is_too_old(AT, AT + almost)
    assert Retention(30).is_too_old(AT, AT + almost + a_millisecond)
    assert not Retention(30).is_too_old(AT, AT - almost), "a clock that is behind"
    assert Retention(1).is_too_old(AT, AT + a_millisecond)
    assert not Retention(0).is_too_old(AT, AT + timedelta(days=10_000))
