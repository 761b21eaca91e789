from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import IdempotencyKeyReusedError
from shared.idempotency import IdempotentRequest, RequestAlreadyHandledError

keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


def test_the_same_request_has_the_same_fingerprint_however_it_was_spelled() -> None:
    one = IdempotentRequest.of("key", {"name": "Jane Doe", "creditLimitCents": 500})
    other = IdempotentRequest.of("key", {"creditLimitCents": 500, "name": "Jane Doe"})

    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "request_",
    [{"customerId": 1, "orderTotalCents": 401}, {"customerId": 2, "orderTotalCents": 400}],
)
def test_another_request_has_another_fingerprint(request_: dict[str, int | str]) -> None:
    one = IdempotentRequest.of("key", {"customerId": 1, "orderTotalCents": 400})
    other = IdempotentRequest.of("key", request_)

    assert one.fingerprint != other.fingerprint


def test_repeating_a_request_leads_to_what_it_created() -> None:
    request = IdempotentRequest.of("key", {"customerId": 1})

    meaning = request.used_before(request.fingerprint, aggregate_id=7)

    assert isinstance(meaning, RequestAlreadyHandledError)
    assert meaning.aggregate_id == 7


def test_a_key_is_not_good_for_a_second_request() -> None:
    first = IdempotentRequest.of("key", {"customerId": 1})
    second = IdempotentRequest.of("key", {"customerId": 2})

    meaning = second.used_before(first.fingerprint, aggregate_id=7)

    assert isinstance(meaning, IdempotencyKeyReusedError)


def test_a_key_may_be_used_anew_after_a_day() -> None:
    request = IdempotentRequest("key", "fingerprint", made_at=1_000_000)

    assert request.expires_at == 1_000_000 + 24 * 60 * 60


@given(keys)
def test_the_number_of_a_key_is_no_aggregates_id_and_fits_dynamodb(key: str) -> None:
    number = IdempotentRequest.of(key, {}).item_number

    assert number < 0
    assert len(str(-number)) <= 38


@given(keys, keys)
def test_different_keys_have_different_numbers(one: str, other: str) -> None:
    numbers = {IdempotentRequest.of(key, {}).item_number for key in (one, other)}

    assert len(numbers) == len({one, other})
