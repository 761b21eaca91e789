"""Instants: UTC, in whole milliseconds, written as ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current instant, truncated to milliseconds: the precision of events and of the view."""
    instant = datetime.now(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def format_instant(instant: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds, for example `2026-11-26T02:07:28.123Z`. The texts sort by time."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """Parse ISO 8601 with an offset from UTC.

    Raises: ValueError if `text` is anything else, or an instant that UTC cannot represent.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("no offset from UTC")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the calendar") from error
