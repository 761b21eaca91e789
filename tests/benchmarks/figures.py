"""The arithmetic of measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value, or one between two neighbours, that `percent` percent of the values do not exceed."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def growth(values: Mapping[int, float]) -> float:
    """How often the value multiplies from the smallest size to the largest; 1 where it is flat.

    Raises: ValueError if there are not two sizes to compare.
    """
    if len(values) < 2:
        raise ValueError("one size says nothing of growth")
    smallest, largest = values[min(values)], values[max(values)]
    if smallest == largest:
        return 1.0
    return largest / smallest if smallest else math.inf


def is_flat(values: Mapping[int, float], tolerance: float) -> bool:
    """Whether no value, at any size, is more than `tolerance` (0.1: a tenth) above that of the smallest size."""
    if len(values) < 2:
        raise ValueError("one size says nothing of growth")
    return all(value <= values[min(values)] * (1 + tolerance) for value in values.values())
