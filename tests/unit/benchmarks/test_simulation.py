from __future__ import annotations

import random

import pytest

from tests.benchmarks.figures import percentile
from tests.benchmarks.simulation import (
    Hop,
    Pipeline,
    lognormal,
    on_aws,
    on_this_machine,
    simulate,
    uniform,
)


def of(milliseconds: float) -> Hop:
    return Hop("hop", uniform(milliseconds, milliseconds))


def test_without_a_queue_an_order_takes_the_sum_of_its_hops() -> None:
    pipeline = Pipeline((of(10), of(20), of(5)), decided_after=2, places={})

    found = simulate(pipeline, orders=10, per_second=1_000)

    assert found.decided == pytest.approx([30] * 10)
    assert found.visible == pytest.approx([35] * 10)


def test_orders_queue_for_a_station() -> None:
    station = Hop("station", uniform(10, 10), "station")
    pipeline = Pipeline((station,), decided_after=1, places={"station": 1})

    found = simulate(pipeline, orders=8, clients=8)

    assert found.decided == pytest.approx([10, 20, 30, 40, 50, 60, 70, 80])


def test_twice_the_places_take_half_the_time() -> None:
    def slowest(places: int) -> float:
        station = Hop("station", uniform(10, 10), "station")
        pipeline = Pipeline((station,), decided_after=1, places={"station": places})
        return max(simulate(pipeline, orders=8, clients=8).decided)

    assert slowest(1) == pytest.approx(2 * slowest(2))


def test_a_lognormal_has_the_percentiles_asked_for() -> None:
    dice, sample = random.Random(1), lognormal(10, 30)

    values = [sample(dice) for _ in range(20_000)]

    assert percentile(values, 50) == pytest.approx(10, rel=0.03)
    assert percentile(values, 95) == pytest.approx(30, rel=0.05)


def test_one_order_at_a_time_takes_on_this_machine_what_it_was_calibrated_by() -> None:
    pipeline = on_this_machine(100, 1.2, cpu_ms_per_order=80, processors=2)

    found = simulate(pipeline, orders=2_000, clients=1)

    assert percentile(found.decided, 50) == pytest.approx(100, rel=0.1)


def test_a_shard_that_is_too_slow_for_the_orders_makes_them_wait() -> None:
    enough = simulate(on_aws(shards=2), orders=500, per_second=50)
    too_few = simulate(on_aws(shards=1), orders=500, per_second=50)

    assert percentile(too_few.decided, 95) > 2 * percentile(enough.decided, 95)


def test_every_hop_on_aws_says_where_its_latency_is_from() -> None:
    assert all(hop.source for hop in on_aws(1).hops)
