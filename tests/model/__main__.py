"""Run the long form of the explorer (`make model`) or of the simulation (`make simulate`)."""

from __future__ import annotations

import argparse
import secrets
import sys
import time

import pytest

from tests import conftest  # noqa: F401, sets the functions' environment
from tests.model.bugs import BUGS
from tests.model.explorer import NewOrder, World, explore, explore_view
from tests.model.simulation import simulate
from tests.model.test_model import search

WORLDS = {
    "1 customer, 2 orders, credit for one": World(
        [500], [NewOrder(1, 300), NewOrder(1, 300)], 3, interleaved=2
    ),
    "2 customers, 3 orders, credit for two": World(
        [500, 300], [NewOrder(1, 300), NewOrder(1, 300, False), NewOrder(2, 300, False)], 3
    ),
    "1 customer, 3 orders, one of an unknown customer": World(
        [500], [NewOrder(1, 300), NewOrder(1, 200, False), NewOrder(9, 100, False)], 3
    ),
}


def model(limit: int) -> bool:
    """Explore all worlds and look for the seeded bugs. Return whether the rules hold and every bug is found."""
    passed = True
    for name, world in WORLDS.items():
        started = time.monotonic()
        result = explore(world, limit)
        seconds = time.monotonic() - started
        print(f"{name}: {result}; {result.executions} executions, {seconds:.0f} s", flush=True)
        passed &= not result.problems
    for tables in sorted(explore(World([500], [NewOrder(1, 300)])).histories, key=str):
        is_long = "OrderCancelled" in str(tables[1])
        result = explore_view(tables, faults=not is_long)
        print(f"view of one order: {result}; {result.executions} executions", flush=True)
        passed &= not result.problems
    for name, seed_bug in BUGS.items():
        with pytest.MonkeyPatch.context() as patch:
            seed_bug(patch)
            found = search()[-1]
        passed &= bool(found.problems)
        print(f"seeded bug {name}: {found if found.problems else 'NOT FOUND'}", flush=True)
    return passed


def run_simulation(seed: int, sagas: int) -> bool:
    """Simulate and print the outcome. Return whether the rules hold."""
    print(f"make simulate SEED={seed} SAGAS={sagas}", flush=True)
    started = time.monotonic()
    report = simulate(seed, sagas)
    seconds = time.monotonic() - started
    states = ", ".join(f"{count} {state}" for state, count in sorted(report.states.items()))
    print(f"{states}; {report.steps} steps, {report.faults} faults, {seconds:.0f} s")
    print(f"{sagas / seconds * 60:.0f} sagas per minute; sha256 of all tables: {report.digest}")
    print("\n".join(report.problems[:20]) or "All rules hold.")
    return not report.problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    model_command = commands.add_parser("model", help="Explore every interleaving of small worlds")
    model_command.add_argument(
        "--states", type=int, default=20_000, help="Visit at most STATES per world"
    )
    simulate_command = commands.add_parser(
        "simulate", help="Simulate many sagas with random faults"
    )
    simulate_command.add_argument("--seed", type=int, help="Replay the run of this seed")
    simulate_command.add_argument("--sagas", type=int, default=10_000, help="Create SAGAS orders")
    options = parser.parse_args()
    if options.command == "model":
        passed = model(options.states)
    else:
        seed = secrets.randbits(32) if options.seed is None else options.seed
        passed = run_simulation(seed, options.sagas)
    sys.exit(not passed)


if __name__ == "__main__":
    main()
