from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from shared import clock
from shared.clock import format_instant, now, parse_instant


def test_instants_are_utc_with_milliseconds() -> None:
    instant = datetime(2026, 11, 4, 10, 30, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))

    assert format_instant(instant) == "2026-11-04T09:30:00.123Z"
    assert parse_instant("2026-11-04T10:30:00.123+01:00") == datetime(
        2026, 11, 4, 9, 30, 0, 123_000, tzinfo=UTC
    )


def test_now_is_utc_and_cut_to_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for microsecond in (123_000, 123_999):
        instant = datetime(2026, 11, 4, 9, 30, 0, microsecond, tzinfo=UTC)
        monkeypatch.setattr(clock, "datetime", SimpleNamespace(now=instant.astimezone))

        assert now() == instant.replace(microsecond=123_000)
        assert now().tzinfo is UTC


def test_text_without_offset_or_outside_the_calendar_is_no_instant() -> None:
    for text in ("2026-11-04T09:30:00", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"):
        with pytest.raises(ValueError, match=r"offset|calendar"):
            parse_instant(text)
