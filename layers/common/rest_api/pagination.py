"""Pages of lists: `limit`, and an opaque `nextToken` that holds the id or another position of a page's last item."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import BeforeValidator, Field

from rest_api.fields import in_digits
from shared.errors import InvalidRequestError
from shared.identifiers import MAX_ID

T = TypeVar("T")

_INVALID = "Invalid nextToken. Omit it to start from the first page."
PageLimit = Annotated[
    int,
    Field(ge=1, le=100),
    BeforeValidator(in_digits),
    Query(description="Maximum number of items in the page."),
]
NextToken = Annotated[
    str | None,
    Query(
        alias="nextToken", max_length=300, description="From the previous page, to get the next."
    ),
]

_AFTER = "after:"
_EVENT_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def encode_next_token(last_id: object) -> str | None:
    """Return the token of the page after `last_id`, an id or another position; None for None, which is the end."""
    if last_id is None:
        return None
    return base64.urlsafe_b64encode(f"{_AFTER}{last_id}".encode()).decode().rstrip("=")


def decode_next_token(token: str | None) -> int | None:
    """Return the id that the page starts after; None for None.

    A forged token leads to another page of the same list at worst.
    Raises: InvalidRequestError if the token was not made by `encode_next_token` from an id.
    """
    if token is None:
        return None
    last_id = int(_last_id(token, "[1-9][0-9]{0,18}"))
    if last_id > MAX_ID:
        raise InvalidRequestError(_INVALID)
    return last_id


def decode_position(token: str | None, parse: Callable[[str], T | None]) -> T | None:
    """Return the position that the page starts after, as `parse` reads it; None for None.

    Raises: InvalidRequestError if `parse` returns None, or the token was not made by `encode_next_token`.
    """
    if token is None:
        return None
    position = parse(_last_id(token, ".*"))
    if position is None:
        raise InvalidRequestError(_INVALID)
    return position


def slice_page(
    items: Sequence[T], id_of: Callable[[T], str], limit: int, token: str | None
) -> tuple[Sequence[T], str | None]:
    """Return up to `limit` items after the token's item, and the token of the next page.

    Raises: InvalidRequestError if the token's item is not one of `items`.
    """
    start = 0
    if token is not None:
        ids = [id_of(item) for item in items]
        last_id = _last_id(token, _EVENT_ID)
        if last_id not in ids:
            raise InvalidRequestError(_INVALID)
        start = ids.index(last_id) + 1
    page = items[start : start + limit]
    has_more = start + limit < len(items)
    return page, encode_next_token(id_of(page[-1])) if has_more else None


def _last_id(token: str, pattern: str) -> str:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        text = ""
    match = re.fullmatch(f"{_AFTER}({pattern})", text, re.ASCII)
    # Base64 decoding is lenient: only the spelling that was given out is accepted.
    if match is None or encode_next_token(match[1]) != token:
        raise InvalidRequestError(_INVALID)
    return match[1]
