from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_api.resolver import decode_next_token, encode_next_token
from shared.errors import InvalidRequestError
from shared.identifiers import MAX_ID


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@given(st.integers(1, MAX_ID))
def test_a_token_leads_on_from_where_the_page_ended(last_id: int) -> None:
    token = encode_next_token(last_id)

    assert token is not None
    assert len(token) <= 64
    assert decode_next_token(token) == last_id


def test_after_the_last_page_there_is_no_token() -> None:
    assert encode_next_token(None) is None
    assert decode_next_token(None) is None


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "=",
        "!",
        "ü",
        "x" * 64,
        token_of(""),
        token_of("after:"),
        token_of("after:0"),
        token_of("after:-1"),
        token_of("after:07"),
        token_of("after:7 "),
        token_of("after:7\n"),
        token_of("after:\u0667"),
        token_of(f"after:{MAX_ID + 1}"),
        token_of("before:7"),
        token_of('{"orderId": {"N": "7"}}'),
    ],
)
def test_a_forged_token_is_refused(forged: str) -> None:
    with pytest.raises(InvalidRequestError):
        decode_next_token(forged)


@given(st.text(max_size=64) | st.text(max_size=40).map(token_of))
def test_any_text_is_a_token_or_is_refused(text: str) -> None:
    try:
        last_id = decode_next_token(text)
    except InvalidRequestError:
        return

    assert last_id is not None
    assert 1 <= last_id <= MAX_ID
