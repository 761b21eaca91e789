from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.benchmarks.costs import (
    FULL_CPU_MB,
    OURS,
    PRICES,
    Usage,
    choices,
    lines,
    seconds_at,
    shares,
    usd_per_million,
)

NOTHING = Usage(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_prices_say_where_when_and_by_whom() -> None:
    assert PRICES["region"]
    assert PRICES["date"]
    assert PRICES["source"]
    assert all(price > 0 for price in PRICES["usd"].values())


def test_nothing_costs_nothing() -> None:
    assert usd_per_million(NOTHING) == 0
    assert shares(NOTHING) == {}


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (replace(NOTHING, api_requests=1), 3.50),
        (replace(NOTHING, api_requests=1, http_api=True), 1.00),
        (replace(NOTHING, invocations=10), 2.00),
        (replace(NOTHING, waiting_seconds=0.1, memory_mb=1024), 1.33334),
        (replace(NOTHING, waiting_seconds=0.1, memory_mb=512), 0.66667),
        (replace(NOTHING, waiting_seconds=0.1, memory_mb=1024, architecture="x86_64"), 1.66667),
        (replace(NOTHING, write_units=14), 8.75),
        (replace(NOTHING, read_units=8), 1.00),
        (replace(NOTHING, events=3), 3.00),
        (replace(NOTHING, sqs_requests=15), 6.00),
        (replace(NOTHING, state_changes=4), 100.00),
        (replace(NOTHING, log_bytes=1_000), 0.50),
    ],
)
def test_a_million_of_each_costs_what_the_price_list_says(usage: Usage, usd: float) -> None:
    assert usd_per_million(usage) == pytest.approx(usd)


@pytest.mark.parametrize(
    "name",
    [field.name for field in fields(Usage) if field.name not in {"http_api", "architecture"}],
)
def test_whatever_an_order_takes_is_on_the_bill(name: str) -> None:
    more: Any = {name: getattr(OURS, name) + 1}

    assert usd_per_million(replace(OURS, **more)) > usd_per_million(OURS)


def test_the_shares_add_up_to_the_whole() -> None:
    assert sum(shares(OURS).values()) == pytest.approx(usd_per_million(OURS))
    assert {line.service for line in lines(OURS) if line.usd} == shares(OURS).keys()


def test_with_less_memory_computing_takes_longer_and_waiting_does_not() -> None:
    assert seconds_at(FULL_CPU_MB, 1, 2) == 3
    assert seconds_at(FULL_CPU_MB / 2, 1, 2) == 4
    assert seconds_at(FULL_CPU_MB * 2, 1, 2) == 3


def test_computing_costs_the_same_with_any_memory_and_waiting_does_not() -> None:
    computing, waiting = replace(NOTHING, cpu_seconds=1), replace(NOTHING, waiting_seconds=1)

    def at(usage: Usage, memory_mb: float) -> float:
        return usd_per_million(replace(usage, memory_mb=memory_mb))

    assert at(computing, 512) == pytest.approx(at(computing, FULL_CPU_MB))
    assert at(waiting, 1_024) == pytest.approx(2 * at(waiting, 512))


def test_every_choice_saves_money_or_would() -> None:
    batched = replace(OURS, invocations=3, sqs_requests=8, log_bytes=5_000)

    for choice in choices(OURS, batched):
        assert choice.usd_saved > 0, choice.title


def test_what_a_choice_saves_is_what_it_changes() -> None:
    (http_api,) = (c for c in choices(OURS, OURS) if "HTTP API" in c.title)

    assert http_api.usd_saved == pytest.approx(2.5)
