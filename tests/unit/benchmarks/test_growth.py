from __future__ import annotations

import pytest

from tests.benchmarks.growth import is_flat


def test_growth_within_tolerance_is_flat() -> None:
    assert is_flat({10: 100, 1_000: 110}, 0.1)
    assert not is_flat({10: 100, 1_000: 111}, 0.1)
    assert not is_flat({10: 100, 1_000: 150, 100_000: 100}, 0.1)


def test_growth_needs_two_sizes() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        is_flat({10: 1}, 0.1)
