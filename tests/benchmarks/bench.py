"""`make bench`: Customers and Orders beside its peers and its own earlier state, on the emulators.

SHORT=1 measures counts, losses, growth and search only. Exits 1 if a guard among the goals is missed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from infra.local.build import PROJECT
from infra.local.processes import handle_interrupts
from tests.benchmarks import (
    calls,
    contention,
    costs,
    functions,
    goals,
    growth,
    losses,
    rebuild,
    searches,
    speed,
)
from tests.benchmarks.calls import Counted
from tests.benchmarks.costs import PRICES, Usage, usd_per_million
from tests.benchmarks.report import DIRECTORY, Report, Table
from tests.benchmarks.systems import (
    BARE,
    BASELINE,
    BASELINE_COMMIT,
    DESIGNS,
    DUAL_WRITE,
    OURS,
    PIPELINES,
    Design,
    System,
    Systems,
    has_commit,
)
from tests.benchmarks.usage import GROUPS
from tests.chaos.event_loop import EventLoop

console = Console()
COUNTED_ORDERS = 8
BATCHED_ORDERS = 160
HOT_ORDERS = 400
REBUILT_EVENTS, REBUILDS = 8_000, 3


@dataclass
class Run:
    """One run of the benchmark."""

    directory: Path
    systems: Systems
    loop: EventLoop
    show: Callable[[str], None]
    short: bool
    report: Report = field(default_factory=Report)

    def available(self, designs: tuple[Design, ...]) -> list[Design]:
        """Return the designs without the baseline where its commit is missing."""
        return [d for d in designs if d is not BASELINE or has_commit(BASELINE_COMMIT)]


def measure_speed(run: Run) -> None:
    sizes = speed.Sizes()
    found = speed.measure(run.systems, run.available(PIPELINES), sizes, run.show)
    first_order = run.systems[OURS].first_order_seconds
    run.report.goals += goals.of_speed(found, first_order)
    rows = [
        [d.title, *goals.by_load(found[d.name]), *(f"{r:.0f}" for r in _rates(found[d.name]))]
        for d in PIPELINES
        if d.name in found
    ]
    header = [""]
    for load in speed.LOADS:
        header += [f"{load}: APPROVED", "visible"]
    run.report.tables.append(
        Table(
            "Latency and throughput",
            [*header, "accepted per s", "decided per s"],
            rows,
            "Milliseconds from POST, p50 / p95. idle: one client that waits for each order. half: the same rate for all, half "
            "of the slowest system's throughput. full: 8 clients that wait for each order. Throughput: bursts of "
            f"{sizes.burst} orders by 8 clients that do not wait, start and end included, median of {sizes.rounds} rounds. "
            "Tables and views are read after pauses of 10 ms, in bursts of 50 ms.",
        )
    )
    rows = []
    for design in PIPELINES:
        if design.name in found:
            cpu = found[design.name].cpu
            cells = [f"{cpu[group]:.1f}" for group in GROUPS]
            rows.append([design.title, *cells, f"**{sum(cpu.values()):.1f}**"])
    run.report.tables.append(
        Table(
            "CPU per decided order, by process",
            ["", *GROUPS, "all"],
            rows,
            "Milliseconds at 8 clients that do not wait, from the first POST until all orders are visible. The goals compare the "
            "systems within each round, since the machine has faster and slower phases.",
        )
    )


def _rates(found: speed.Speed) -> tuple[float, float]:
    return found.accepted, found.decided


def measure_functions(run: Run) -> None:
    with functions.Workbench.ready() as workbench:
        starts, warms, layers = {}, {}, {}
        for function in functions.FUNCTIONS:
            run.show(f"function by itself: {function.logical_id}")
            starts[function] = workbench.start(function, 7)
            warms[function] = workbench.warm(function, 15)
            layers[function] = workbench.layers(function)
    run.report.goals += goals.of_functions(starts, warms, layers)
    projection = next(size for f, size in layers.items() if "Projection" in f.logical_id)
    run.report.notes.append(
        f"The projection loads {projection.total:.1f} MB of layers, because of MongoDB's driver. It does not count as a "
        "subscriber there."
    )


def measure_growth(run: Run) -> None:
    found = growth.measure(growth.SHORT_SIZES if run.short else growth.SIZES, run.show)
    run.report.goals += goals.of_growth(found)
    run.report.notes.append(
        f"One order leaves {found.item_bytes:,} bytes in DynamoDB: "
        f"{found.item_bytes / 1e3 * PRICES['usd']['dynamodb_gb_month']:.2f} USD per month for a million orders."
    )


def measure_search(run: Run) -> None:
    run.report.goals += goals.of_search(searches.measure(run.show))


def measure_counts(run: Run) -> None:
    """Count calls, and lose orders under kills. Both need the proxy in front of AWS."""
    alone: dict[str, Counted] = {}
    batched: dict[str, Counted] = {}
    lost: dict[str, losses.Losses] = {}
    for design in (OURS, DUAL_WRITE) if run.short else run.available(DESIGNS):
        system = run.systems[design]
        with calls.counted_calls(system, run.loop) as proxy:
            run.show(f"counting: {design.title}")
            if not run.short or design is OURS:
                alone[design.name] = calls.count(system, proxy, partial(_one_by_one, system))
            if not run.short and design in (OURS, BASELINE, BARE):
                speed.wait_until_all(system.visible, speed.at_once(system, BATCHED_ORDERS))
                batched[design.name] = calls.count(
                    system, proxy, partial(speed.at_once, system, BATCHED_ORDERS)
                )
            run.show(f"killing the function that accepts orders: {design.title}")
            lost[design.name] = losses.under_kills(system, proxy, 4)
    usages = {name: goals.usage_of(counted) for name, counted in alone.items()}
    run.report.goals += goals.of_counts(usages[OURS.name])
    run.report.goals += goals.of_losses(lost)
    if not run.short:
        run.report.goals.append(goals.of_calls(batched[OURS.name]))
        run.report.goals += goals.of_money(usages)
        run.report.tables += [
            _comparison(run, alone, lost),
            _calls_under_load(batched),
            _prices(usages),
        ]


def _one_by_one(system: System) -> list[int]:
    ids = []
    for number in range(COUNTED_ORDERS):
        ids.append(system.create_order(number))
        speed.wait_until_all(system.visible, ids[-1:])
        time.sleep(0.3)  # later events must not meet those of the next order in a batch
    return ids


def _comparison(run: Run, alone: dict[str, Counted], lost: dict[str, losses.Losses]) -> Table:
    rows = []
    for design in run.available(DESIGNS):
        counted, losses_of = alone[design.name], lost[design.name]
        figures = (
            sum(counted.calls.values()),
            counted.write_units,
            counted.read_units,
            counted.events,
            counted.sqs_requests,
            counted.invocations.total(),
            counted.state_changes,
        )
        cells = [f"{counted.per_order(figure):.3g}" for figure in figures]
        kills = f"{losses_of.lost} of {losses_of.kills}"
        rows.append([design.title, *cells, kills, design.lacks or "nothing"])
    return Table(
        "One order, nothing batched",
        (
            "",
            "calls to AWS",
            "write units",
            "read units",
            "events",
            "SQS requests",
            "invocations",
            "state changes",
            "lost under kills",
            "does less than ours",
        ),
        rows,
        "All peers validate requests alike, write the same log line per invocation (without metrics), have a role per "
        "function, report partial batch failures (except Step Functions), and have the same sort keys and indexes of orders; "
        "their customers' documents keep all orders. They use boto3's default settings; ours turns off the validation of "
        "parameters and composes no user agent, which saves a fifth of a call's processor time. The "
        "time of Step Functions on the emulator is not comparable and not measured: its steps are calls inside the "
        "emulator, without HTTP, IAM or Lambda.",
    )


def _calls_under_load(batched: dict[str, Counted]) -> Table:
    names = sorted({name for counted in batched.values() for name in counted.calls})
    rows = []
    for design in PIPELINES:
        if counted := batched.get(design.name):
            cells = [f"{counted.per_order(counted.calls[name]):.2f}" for name in names]
            total = counted.per_order(sum(counted.calls.values()))
            invoked = counted.per_order(counted.invocations.total())
            rows.append([design.title, *cells, f"**{total:.2f}**", f"{invoked:.2f}"])
    text = "8 clients that do not wait. Calls of the functions to DynamoDB and EventBridge."
    return Table("Calls per order under load", ["", *names, "all", "invocations"], rows, text)


def _prices(usages: dict[str, Usage]) -> Table:
    rows = []
    titled = {design.title: usages[design.name] for design in DESIGNS if design.name in usages}
    titled["durable function (calculated)"] = costs.DURABLE_FUNCTION
    services = list(dict.fromkeys(s for usage in titled.values() for s in costs.shares(usage)))
    for title, usage in titled.items():
        shares = costs.shares(usage)
        cells = [f"{shares[service]:.2f}" for service in services]
        rows.append([title, f"**{usd_per_million(usage):.2f}**", *cells])
    return Table(
        "USD per million approved orders",
        ("", "all", *services),
        rows,
        f"Prices of {PRICES['region']} (tests/benchmarks/prices.json). Nothing is batched, the most expensive case. "
        "MongoDB, storage and free tiers are left out. Lambda: the processor time measured here at the share of a "
        "processor that 512 MB get, and 10 ms of waiting per call. For the durable function, 3 ms of processor time per "
        "invocation are assumed.",
    )


def measure_contention(run: Run) -> None:
    found = contention.measure(run.systems[OURS], HOT_ORDERS, 3, run.show)
    run.report.goals += goals.of_contention(HOT_ORDERS, found)


def measure_rebuild(run: Run) -> None:
    """Measure fresh systems, which have the same events."""
    rates = {}
    for design in run.available((OURS, BASELINE)):
        run.systems.stop_all()
        run.show(f"rebuilding the view: {design.title}")
        project = PROJECT if design is OURS else run.systems.baseline_source
        found = rebuild.measure(run.systems[design], project, [REBUILT_EVENTS] * REBUILDS)
        rates[design.name] = median(size / seconds for size, seconds in found)
    run.report.goals += goals.of_rebuild(rates)


PARTS: dict[str, Callable[[Run], None]] = {
    "speed": measure_speed,
    "contention": measure_contention,
    "functions": measure_functions,
    "growth": measure_growth,
    "search": measure_search,
    "counts": measure_counts,
    "rebuild": measure_rebuild,
}
SHORT_PARTS = ("growth", "search", "counts")
NOTES = (
    (
        "Replaced: cheaper than a dual write. A dual write loses orders, and 8 write units more are needed to lose none. The goals "
        "compare with designs that lose none."
    ),
    (
        "Replaced: an API's CPU as a multiple of bare boto3's (1.3 for POST, 1.6 for the history; missed with 1.5 and 2.2), and its "
        "cold start above boto3's (100 ms; missed with 136). Powertools and pydantic are the project's choice. The goals limit what "
        "they cost per request, and what the project adds to their cold start."
    ),
    (
        "Replaced: the projection's CPU as a multiple of bare boto3's (1.1; missed with 1.4). Typed events, the log line and the metric "
        "cost it as much as a subscriber, but it makes no call with boto3, which takes most of a subscriber's time."
    ),
    (
        "Replaced: an API's layers with their bytecode (20 MB; missed with 26.5, by the API of Order history, which loads MongoDB's "
        "driver). Bytecode is there on purpose: it halves a cold start's imports. The limit is for the packages themselves."
    ),
    "Replaced: faster than Step Functions. Its time on the emulator is not comparable; the goals compare money.",
    (
        "Changed: cold starts are the fastest of seven instead of medians, and ratios of rates and of CPU medians of the rounds' "
        "ratios instead of ratios of medians. The machine changes its speed within seconds."
    ),
    "Order history's functions do not import boto3, so their cold starts are faster than its own.",
    (
        "A Lambda durable function is compared by calculation: MiniStack 1.5.33 makes a function durable only by a property "
        "that AWS does not have (DurableConfig.Enabled), ignores the execution's name, and does not resume an execution "
        "that was started asynchronously."
    ),
)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show the current step: on one line of a terminal, or on a line each in a log."""
    if not console.is_terminal:
        yield console.print
        return
    with console.status("Starting") as status:
        yield status.update


@click.command(help=__doc__)
@click.option("--only", help="One part.", type=click.Choice(list(PARTS)))
@click.option("--short", is_flag=True, help="Counts, losses, growth and search only.")
def main(only: str | None, short: bool) -> None:
    names = [only] if only else list(SHORT_PARTS if short else PARTS)
    handle_interrupts()
    started = time.monotonic()
    took = []
    with ExitStack() as contexts:
        directory = Path(contexts.enter_context(TemporaryDirectory()))
        loop = contexts.enter_context(EventLoop.running())
        show = contexts.enter_context(progress())
        systems = contexts.enter_context(Systems(directory, show))
        run = Run(directory, systems, loop, show, short)
        for name in names:
            begin = time.monotonic()
            PARTS[name](run)
            took.append(f"{name} {time.monotonic() - begin:.0f} s")
    run.report.notes += () if only or short else NOTES
    if not has_commit(BASELINE_COMMIT):
        text = f"Not compared with {BASELINE.title}: this clone lacks the commit (`git fetch --unshallow`)."
        run.report.notes.append(text)
    console.print(run.report.page(), markup=False, soft_wrap=True)
    console.print(f"Took {time.monotonic() - started:.0f} s: {', '.join(took)}.")
    if not only and not short:
        run.report.notes.append(f"The run took {time.monotonic() - started:.0f} s.")
        run.report.write()
        console.print(f"Written to {DIRECTORY}")
    for goal in run.report.broken_guards:
        console.print(f"[red]Missed: {goal.title}: {goal.measured}, not {goal.target}")
    sys.exit(1 if run.report.broken_guards else 0)


if __name__ == "__main__":
    main()
