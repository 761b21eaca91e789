from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.money import MAX_CENTS, Money

amounts_of_money = st.integers(0, MAX_CENTS).map(Money)


@given(amounts_of_money)
@example(Money(MAX_CENTS))
@example(Money(MAX_CENTS - 1))
def test_amount_survives_json(money: Money) -> None:
    written = json.dumps(money.to_json_number())

    assert Money.from_amount(Decimal(written)) == money


def test_json_number_is_the_shortest() -> None:
    texts = {0: "0", 500: "5", 410: "4.1", 1: "0.01", 9_999_999_999_999: "99999999999.99"}
    for cents, text in texts.items():
        assert json.dumps(Money(cents).to_json_number()) == text


def test_equal_numbers_are_equal_amounts_in_any_spelling() -> None:
    for amount in ("5", "5.0", "5.00", "5.000", "0.5E1", "50E-1"):
        assert Money.from_amount(Decimal(amount)) == Money(500), amount


def test_infinite_huge_tiny_or_undefined_number_is_no_amount() -> None:
    for amount in ("NaN", "sNaN", "Infinity", "-Infinity", "1E+400", "1E+999999", "1E-99999999"):
        with pytest.raises(ValueError, match=r"number|decimal places"):
            pytest.fail(f"{amount}: {Money.from_amount(Decimal(amount))}")


@given(st.integers(0, MAX_CENTS), st.integers(1, 9), st.integers(3, 100))
def test_third_or_later_decimal_place_is_refused_and_never_rounded(
    cents: int, digit: int, place: int
) -> None:
    amount = Decimal(f"{cents // 100}.{cents % 100:02}{'0' * (place - 3)}{digit}")

    with pytest.raises(ValueError, match="two decimal places"):
        Money.from_amount(amount)


@given(amounts_of_money, amounts_of_money)
def test_sums_and_differences_are_exact(one: Money, other: Money) -> None:
    assert one + other - other == one
