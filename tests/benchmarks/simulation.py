"""Goal 8: the pipeline as a queueing network, on this machine and on AWS. `python -m tests.benchmarks.simulation`

An order passes the API, then three times the outbox's stream, the relay, the bus, a queue and a subscriber: it is
decided after the second subscriber, and visible after the third. On this machine all compete for its processors; on
AWS a stream's shards are what only one invocation (times the parallelization factor) works on at a time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy
from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import percentile

Z95 = 1.6449
"""The standard normal distribution's 95th percentile."""
Sample = Callable[[random.Random], float]
Process = Generator[Any, Any, None]


def lognormal(p50: float, p95: float) -> Sample:
    """Milliseconds with this median and this 95th percentile: latencies are skewed to the right."""
    mu, sigma = math.log(p50), (math.log(p95) - math.log(p50)) / Z95
    return lambda dice: dice.lognormvariate(mu, sigma)


def uniform(low: float, high: float) -> Sample:
    return lambda dice: dice.uniform(low, high)


@dataclass(frozen=True)
class Hop:
    """A step of an order's way. Its time is spent with one of `station`'s places taken, if it names one."""

    name: str
    milliseconds: Sample
    station: str | None = None
    source: str = ""


@dataclass(frozen=True)
class Pipeline:
    hops: tuple[Hop, ...]
    decided_after: int
    """So many hops."""
    places: dict[str, int]
    """Of each station."""


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of each order, from its POST on."""

    decided: list[float]
    visible: list[float]


DYNAMODB_TRANSACTION = lognormal(12, 25)
DYNAMODB_READ = lognormal(4, 9)
FROM_MEMORY = "order of magnitude, from memory; not published as a figure"


def on_aws(shards: int, parallelization: int = 1, relay_batch: int = 1) -> Pipeline:
    """`relay_batch`: so many records share an invocation of the relay, and so its time."""

    def of_batch(sample: Sample) -> Sample:
        return lambda dice: sample(dice) / relay_batch

    def to_subscriber(outbox: str, subscriber: str) -> list[Hop]:
        return [
            Hop(
                f"{outbox}: the stream is polled",
                uniform(0, 250),
                source="Lambda polls a shard 4 times per second: AWS Lambda Developer Guide, "
                "Using Lambda with DynamoDB (docs.aws.amazon.com/lambda/latest/dg/with-ddb.html)",
            ),
            Hop(f"{outbox}: GetRecords and invocation", lognormal(15, 35), source=FROM_MEMORY),
            Hop(
                f"{outbox}: the relay's PutEvents",
                of_batch(lognormal(18, 40)),
                f"{outbox} shards",
                FROM_MEMORY,
            ),
            Hop(
                f"{subscriber}: bus to queue",
                lognormal(40, 100),
                source="p90 80 ms: AWS Architecture Blog on the Amazon Key suite, 2026-02-04; p99 129 ms: AWS on "
                "EventBridge's latency, 2024-11; the median from memory",
            ),
            Hop(f"{subscriber}: queue to function", lognormal(15, 45), source=FROM_MEMORY),
        ]

    hops = [
        Hop("API Gateway and a warm function", lognormal(20, 45), source=FROM_MEMORY),
        Hop("Orders: transaction", DYNAMODB_TRANSACTION, source=FROM_MEMORY),
        *to_subscriber("OrdersOutbox", "Customers"),
        Hop(
            "Customers: read", DYNAMODB_READ, source="single-digit milliseconds: the service's page"
        ),
        Hop("Customers: transaction", DYNAMODB_TRANSACTION, source=FROM_MEMORY),
        *to_subscriber("CustomersOutbox", "Orders"),
        Hop("Orders: read", DYNAMODB_READ, source="single-digit milliseconds: the service's page"),
        Hop("Orders: transaction", DYNAMODB_TRANSACTION, source=FROM_MEMORY),
    ]
    decided_after = len(hops)
    hops += to_subscriber("OrdersOutbox", "Order history")
    hops.append(Hop("Order history: MongoDB", lognormal(8, 20), source=FROM_MEMORY))
    places = shards * parallelization
    return Pipeline(
        tuple(hops),
        decided_after,
        {"OrdersOutbox shards": places, "CustomersOutbox shards": places},
    )


STAGES_TO_DECIDED, STAGES = 6, 8
"""API, relay, Customers, relay, Orders, the emulator between them; then relay, Order history."""


def on_this_machine(
    idle_decided_ms: float, idle_spread: float, cpu_ms_per_order: float, processors: int
) -> Pipeline:
    """All stages alike: each waits a while and then computes, competing for the processors.

    Calibrated by two measurements, the latency of one order at a time (`idle_spread`: its p95 divided by its p50)
    and the processor time of an order; what happens under load is for the simulation to say.
    """
    computing = cpu_ms_per_order / STAGES
    waiting = max(0.1, idle_decided_ms / STAGES_TO_DECIDED - computing)
    hops = []
    for stage in range(STAGES):
        hops += [
            Hop(f"stage {stage + 1} waits", lognormal(waiting, waiting * idle_spread)),
            Hop(f"stage {stage + 1} computes", lognormal(computing, computing * 1.5), "processors"),
        ]
    return Pipeline(tuple(hops), 2 * STAGES_TO_DECIDED, {"processors": processors})


def simulate(
    pipeline: Pipeline,
    orders: int,
    per_second: float | None = None,
    clients: int | None = None,
    seed: int = 2026,
) -> Latencies:
    """Orders arrive at random at a rate; or from clients who each wait until their last order is decided."""
    run = _Run(pipeline, seed)
    if per_second is not None:
        run.environment.process(run.arrivals(orders, per_second / 1000))
    else:
        assert clients is not None
        for _ in range(clients):
            run.environment.process(run.client(orders // clients))
    run.environment.run()
    return run.found


class _Run:
    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self._pipeline = pipeline
        self._dice = random.Random(seed)
        self.environment = simpy.Environment()
        self._stations = {
            name: simpy.Resource(self.environment, places)
            for name, places in pipeline.places.items()
        }
        self.found = Latencies([], [])

    def arrivals(self, orders: int, per_millisecond: float) -> Process:
        for _ in range(orders):
            self.environment.process(self._travel(self.environment.event()))
            yield self.environment.timeout(self._dice.expovariate(per_millisecond))

    def client(self, orders: int) -> Process:
        for _ in range(orders):
            decided = self.environment.event()
            self.environment.process(self._travel(decided))
            yield decided

    def _travel(self, decided: simpy.Event) -> Process:
        started = self.environment.now
        for number, hop in enumerate(self._pipeline.hops, 1):
            if hop.station is None:
                yield self.environment.timeout(hop.milliseconds(self._dice))
            else:
                with self._stations[hop.station].request() as place:
                    yield place
                    yield self.environment.timeout(hop.milliseconds(self._dice))
            if number == self._pipeline.decided_after:
                self.found.decided.append(self.environment.now - started)
                decided.succeed()
        self.found.visible.append(self.environment.now - started)


HEADER = (
    "orders per second",
    "shards of each outbox",
    "records per relay invocation",
    "decided",
    "visible",
)
CASES = ((10, 1, 1), (100, 1, 10), (1_000, 2, 50), (1_000, 10, 10))


def on_aws_by_rate() -> list[list[str]]:
    """p50 / p95 in milliseconds, for ten seconds of orders at each rate."""
    rows = []
    for rate, shards, batch in CASES:
        found = simulate(on_aws(shards, relay_batch=batch), orders=rate * 10, per_second=rate)
        latencies = [
            f"{percentile(values, 50):.0f} / {percentile(values, 95):.0f}"
            for values in (found.decided, found.visible)
        ]
        rows.append([f"{rate:,}", str(shards), str(batch), *latencies])
    return rows


def main() -> None:
    table = Table(*HEADER, title="On AWS, simulated; milliseconds", title_justify="left")
    for row in on_aws_by_rate():
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
