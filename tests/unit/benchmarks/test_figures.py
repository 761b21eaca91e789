from __future__ import annotations

import pytest

from tests.benchmarks.figures import growth, is_flat, percentile


def test_a_percentile_lies_among_the_values_that_it_is_of() -> None:
    values = [float(value) for value in range(101)]

    assert percentile(values, 50) == 50
    assert percentile(values, 95) == 95
    assert percentile([7.0], 95) == 7


def test_the_order_of_the_values_says_nothing() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == percentile([1.0, 2.0, 3.0], 50) == 2


def test_growth_compares_the_largest_size_with_the_smallest() -> None:
    assert growth({100: 30.0, 10: 10.0, 1: 20.0}) == 1.5


def test_from_nothing_to_something_is_growth_without_end() -> None:
    assert growth({1: 0.0, 10: 1.0}) == float("inf")
    assert growth({1: 0.0, 10: 0.0}) == 1


def test_what_grows_by_more_than_the_tolerance_is_not_flat() -> None:
    assert is_flat({10: 100.0, 1_000: 110.0}, 0.1)
    assert not is_flat({10: 100.0, 1_000: 111.0}, 0.1)


def test_a_bulge_in_the_middle_is_not_flat() -> None:
    assert not is_flat({10: 100.0, 1_000: 150.0, 100_000: 100.0}, 0.1)


def test_what_shrinks_is_flat() -> None:
    assert is_flat({10: 100.0, 1_000: 50.0}, 0.0)


def test_one_size_says_nothing_of_growth() -> None:
    with pytest.raises(ValueError, match="one size"):
        growth({10: 1.0})
    with pytest.raises(ValueError, match="one size"):
        is_flat({10: 1.0}, 0.1)
