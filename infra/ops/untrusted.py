"""Read values of any shape: a message, a log line or an item may hold anything."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
EPOCH = datetime.fromtimestamp(0, UTC)


def parse_object(text: object) -> Json:
    """Return the JSON object in the text, or an empty one if it holds none."""
    try:
        parsed = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def value_at(value: Any, *path: str) -> Any:
    """Return the value under the keys, or None if a key is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *path: str) -> str:
    """Return the string or number under the keys, or an empty string if there is neither."""
    found = value_at(value, *path)
    return str(found) if isinstance(found, str | int | float) else ""


def id_at(value: Any, *path: str) -> int | None:
    """Return the positive 63-bit integer under the keys, or None."""
    found = value_at(value, *path)
    return found if type(found) is int and 0 < found < 2**63 else None


def instant(text: object) -> datetime:
    """Return the instant that the ISO 8601 text names, or 1970 if it names none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return EPOCH
