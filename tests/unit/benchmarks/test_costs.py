from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.benchmarks.costs import OURS, PRICES, Usage, shares, usd_per_million

NOTHING = Usage(0, 0, 0, 0, 0, 0, 0, 0, api_requests=0)


def test_prices_name_region_date_and_source() -> None:
    assert PRICES["region"] and PRICES["date"] and PRICES["source"]  # noqa: PT018
    assert all(price > 0 for price in PRICES["usd"].values())


def test_million_of_each_costs_its_list_price() -> None:
    prices: dict[str, tuple[float, float]] = {
        "api_requests": (1, 3.50),
        "invocations": (10, 2.00),
        "waiting_seconds": (0.1, 0.66667),
        "write_units": (14, 8.75),
        "read_units": (8, 1.00),
        "events": (3, 3.00),
        "sqs_requests": (15, 6.00),
        "state_changes": (4, 100.00),
        "durable_operations": (5, 40.00),
        "log_bytes": (1_000, 0.50),
    }
    for name, (units, usd) in prices.items():
        changed: Any = {name: units}
        assert usd_per_million(replace(NOTHING, **changed)) == pytest.approx(usd), name


def test_every_usage_is_on_the_bill() -> None:
    for field in fields(Usage):
        more: Any = {field.name: getattr(OURS, field.name) + 1}
        assert usd_per_million(replace(OURS, **more)) > usd_per_million(OURS), field.name


def test_shares_add_up_to_the_total() -> None:
    assert sum(shares(OURS).values()) == pytest.approx(usd_per_million(OURS))


def test_less_memory_slows_computing_but_not_waiting() -> None:
    assert replace(NOTHING, cpu_seconds=1).lambda_seconds == pytest.approx(1769 / 512)
    assert replace(NOTHING, waiting_seconds=2).lambda_seconds == 2
