"""Run the long form of the explorer (`make model`) or of the simulation (`make simulate`)."""

from __future__ import annotations

import secrets
import sys
import time

import click
import pytest

from tests import conftest  # noqa: F401, sets the functions' environment
from tests.model.bugs import BUGS
from tests.model.explorer import NewOrder, World, explore, explore_view
from tests.model.simulation import simulate
from tests.model.test_model import search

WORLDS = {
    "1 customer, 3 orders, credit for some": World(
        [500], [NewOrder(1, 300), NewOrder(1, 200), NewOrder(1, 100)], 3, interleaved=2
    ),
    "2 customers, 3 orders, credit for two": World(
        [500, 300], [NewOrder(1, 300), NewOrder(1, 300), NewOrder(2, 300)], 3
    ),
    "1 customer, 3 orders, one of an unknown customer": World(
        [500], [NewOrder(1, 300), NewOrder(1, 200), NewOrder(9, 100)], 3
    ),
    "1 customer, 4 orders, credit for some": World(
        [500], [NewOrder(1, 300), NewOrder(1, 300), NewOrder(1, 200), NewOrder(1, 100)]
    ),
    "1 customer who may be erased, 1 order": World([500], [NewOrder(1, 300)], 3, erased=True),
}


@click.group(help=__doc__)
def main() -> None:
    """Exit with status 1 if a rule is broken or a seeded bug is not found."""


@main.command("model", help="Explore every interleaving of small worlds.")
@click.option("--states", default=30_000, help="Maximum number of states per world.")
@click.option("--orders", default=3, help="Leave out worlds with more orders. 4: takes 20 minutes.")
def run_model(states: int, orders: int) -> None:
    passed = True
    for name, world in WORLDS.items():
        if len(world.orders) > orders:
            continue
        started = time.monotonic()
        result = explore(world, states)
        seconds = time.monotonic() - started
        print(f"{name}: {result}; {result.executions} executions, {seconds:.0f} s", flush=True)
        passed &= not result.problems
    for tables in sorted(explore(World([500], [NewOrder(1, 300)])).histories, key=str):
        result = explore_view(tables, faults="OrderCancelled" not in str(tables[1]))
        print(f"view of one order: {result}; {result.executions} executions", flush=True)
        passed &= not result.problems
    for name, seed_bug in BUGS.items():
        with pytest.MonkeyPatch.context() as patch:
            seed_bug(patch)
            found = search()[-1]
        passed &= bool(found.problems)
        print(f"seeded bug {name}: {found if found.problems else 'NOT FOUND'}", flush=True)
    sys.exit(not passed)


@main.command("simulate", help="Simulate many sagas with random faults.")
@click.option("--seed", type=int, help="Replay the run of this seed.")
@click.option("--sagas", default=10_000, help="Number of orders.")
def run_simulation(seed: int | None, sagas: int) -> None:
    if seed is None:
        seed = secrets.randbits(32)
    print(f"make simulate SEED={seed} SAGAS={sagas}", flush=True)
    started = time.monotonic()
    report = simulate(seed, sagas)
    seconds = time.monotonic() - started
    states = ", ".join(f"{count} {state}" for state, count in sorted(report.states.items()))
    print(f"{states}; {report.steps} steps, {report.faults} faults, {seconds:.0f} s")
    print(f"{sagas / seconds * 60:.0f} sagas per minute; sha256 of all tables: {report.digest}")
    print("\n".join(report.problems[:20]) or "All rules hold.")
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    main()
