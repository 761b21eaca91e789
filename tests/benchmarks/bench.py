"""`make bench`: what the system takes, beside the least that is possible and what people would pick instead.

Ratios are taken in one run and hold on any machine; so do counts and growth. Absolute times belong to the machine
named beside them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console

from tests.benchmarks import costs, functions, growth, hot_customer, losses, simulation, speed
from tests.benchmarks.calls import Counted, CountingProxy, count, seen_through
from tests.benchmarks.costs import PRICES, Usage, usd_per_million
from tests.benchmarks.figures import is_flat, percentile
from tests.benchmarks.report import DIRECTORY, Report, Section
from tests.benchmarks.systems import (
    BARE,
    DESIGNS,
    DUAL_WRITE,
    INBOX,
    ORCHESTRATED,
    OURS,
    Design,
    System,
    Systems,
)
from tests.chaos.event_loop import EventLoop

console = Console()
LOADS = {
    "idle": "one order at a time",
    "half": "at half of our throughput",
    "full": "8 clients that wait",
}
ORCHESTRATION_WAITS_SECONDS = 0.15
"""MiniStack sleeps so long before it starts an execution, for no reason that AWS has: taken off again."""
FLAT = 0.1
"""What a figure may grow by, from the smallest customer to any other: a tenth."""
STRAGGLERS = 0.08
"""What a count may be off by: two events may be handled in one batch, or one of the order before be counted."""
WAIT_PER_CALL_SECONDS = 0.010
"""Assumed of an AWS service that answers a function on AWS, for what a function waits."""


@dataclass
class Run:
    """One run of the benchmark: what is running, and what came of it so far."""

    directory: Path
    systems: Systems
    loop: EventLoop
    contexts: ExitStack
    show: Callable[[str], None]
    short: bool
    report: Report = field(default_factory=Report)
    _seen: dict[str, tuple[System, CountingProxy]] = field(default_factory=dict)

    def seen(self, design: Design) -> tuple[System, CountingProxy]:
        """The system, its functions' calls counted. What was started to be timed is stopped: it would only be in the way."""
        if design.name not in self._seen:
            self.systems.stop()
            self.show(f"starting, to be counted: {design.title}")
            directory = self.directory / f"{design.name}-counted"
            seen = self.contexts.enter_context(seen_through(design, directory, self.loop))
            self._seen[design.name] = seen
        return self._seen[design.name]


# ---------------------------------------------------------------------------------------- Goals 1 and 2: how fast


def measure_speed(run: Run) -> None:
    speeds = speed.measure(run.systems, DESIGNS, speed.NORMAL, run.show)
    run.report.speeds = speeds
    for values in speeds[ORCHESTRATED.name].approved, speeds[ORCHESTRATED.name].visible:
        for load, seconds in values.items():
            values[load] = [second - ORCHESTRATION_WAITS_SECONDS for second in seconds]
    ours, bare = speeds[OURS.name], speeds[BARE.name]
    for load, how in LOADS.items():
        for what, title in (("approved", "APPROVED"), ("visible", "visible in the history")):
            ratios = _ratios(getattr(ours, what)[load], getattr(bare, what)[load])
            run.report.add(
                f"1. POST to {title}, {how}, against the bare pipeline, p50 and p95",
                "at most 1.25 times",
                " and ".join(f"{ratio:.2f}" for ratio in ratios),
                max(ratios) <= 1.25,
            )
    for what in ("accepted", "decided"):
        ratio = getattr(ours, what) / getattr(bare, what)
        run.report.add(
            f"1. Orders {what} per second, against the bare pipeline",
            "at least 0.8 times",
            f"{ratio:.2f}",
            ratio >= 0.8,
        )
    for peer in (ORCHESTRATED, DUAL_WRITE, INBOX):
        _against(run, ours, speeds[peer.name], peer)
    run.report.sections.append(_speed_section(speeds))


def _against(run: Run, ours: speed.Speed, theirs: speed.Speed, peer: Design) -> None:
    is_safe = peer is not DUAL_WRITE
    limit = 1.0 if is_safe else 1.15
    target = "faster: below 1" if is_safe else "within 15 %: at most 1.15"
    for load, how in LOADS.items():
        ratios = _ratios(ours.approved[load], theirs.approved[load])
        run.report.add(
            f"2. POST to APPROVED, {how}, against: {peer.title}, p50 and p95",
            target,
            " and ".join(f"{ratio:.2f}" for ratio in ratios),
            max(ratios) < limit,
        )
    ratio = ours.decided / theirs.decided
    run.report.add(
        f"2. Orders decided per second, against: {peer.title}",
        "more: above 1" if is_safe else "within 15 %: at least 0.85",
        f"{ratio:.2f}",
        ratio > (1.0 if is_safe else 0.85),
    )


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    p50, p95 = (percentile(ours, p) / percentile(theirs, p) for p in (50, 95))
    return p50, p95


def _speed_section(speeds: Mapping[str, speed.Speed]) -> Section:
    rows = []
    for design in DESIGNS:
        found = speeds[design.name]
        cells = [design.title, _p50_p95(found.post)]
        for load in LOADS:
            cells += [_p50_p95(found.approved[load]), _p50_p95(found.visible[load])]
        rows.append([*cells, f"{found.accepted:.0f}", f"{found.decided:.0f}"])
    header = ["", "POST answered"]
    for load in LOADS:
        header += [f"{load}: APPROVED", f"{load}: visible"]
    return Section(
        "Speed (goals 1 and 2)",
        [*header, "accepted per s", "decided per s"],
        rows,
        "Milliseconds from POST, p50 / p95. idle: one order at a time; half: orders come at half of our "
        "throughput, to all systems alike; full: 8 clients who each wait until their order is decided. Throughput: "
        "8 clients who do not wait. The emulator waits 150 ms before it starts a state machine; that is taken off.",
    )


def _p50_p95(seconds: Sequence[float]) -> str:
    return " / ".join(f"{percentile(seconds, p) * 1000:.0f}" for p in (50, 95))


# ------------------------------------------------------------------------------- Goal 2: what is lost under kills


def measure_losses(run: Run) -> None:
    kills = 4 if run.short else 8
    rows = []
    for design in (OURS, DUAL_WRITE) if run.short else (OURS, ORCHESTRATED, DUAL_WRITE, INBOX):
        system, proxy = run.seen(design)
        run.show(f"killing the function that accepts orders: {design.title}")
        found = losses.under_kills(system, proxy, kills)
        rows.append([design.title, str(found.kills), str(found.lost)])
        run.report.lost[design.name] = f"{found.lost} of {found.kills}"
        if design is OURS:
            run.report.add(
                f"2. Orders lost when the function that accepts them is killed {kills} times",
                "0",
                str(found.lost),
                found.lost == 0,
                is_guard=True,
            )
        if design is DUAL_WRITE:
            run.report.add(
                f"2. The same, of: {design.title}",
                "shown: above 0",
                str(found.lost),
                found.lost > 0,
                is_guard=True,
            )
    run.report.sections.append(
        Section(
            "Orders lost under kills (goal 2)",
            ("", "kills", "orders that are never decided"),
            rows,
            "The process of the function that accepts orders is killed right after the order was stored.",
        )
    )


# ----------------------------------------------------------------------------------- Goal 3: calls and money


def measure_costs(run: Run) -> None:
    usages: dict[str, Usage] = {}
    alone: dict[str, Counted] = {}
    peers = () if run.short else (ORCHESTRATED, DUAL_WRITE, INBOX)
    orders = 8
    for design in (OURS, *peers):
        system, proxy = run.seen(design)
        run.show(f"counting calls: {design.title}")
        found = count(system, proxy, orders, lambda system=system: _one_by_one(system, orders))  # type: ignore[misc]
        alone[design.name], usages[design.name] = found, usage_of(found)
    _check_counts(run, alone[OURS.name])
    if not run.short:
        system, proxy = run.seen(OURS)
        batch = 48
        batched = usage_of(count(system, proxy, batch, lambda: speed.at_once(system, batch)))
        run.report.sections.append(_choices_section(usages[OURS.name], batched))
    for peer in peers:
        ours, theirs = (usd_per_million(usages[d.name]) for d in (OURS, peer))
        run.report.add(
            f"3. Dollars per million approved orders, against: {peer.title}",
            "less",
            f"{ours:.2f}, and {theirs:.2f}",
            ours < theirs,
        )
    run.report.usages = usages
    run.report.sections += [_calls_section(alone), _costs_section(usages)]


def _one_by_one(system: System, orders: int) -> list[Any]:
    ids = []
    for number in range(orders):
        ids.append(system.create_order(number))
        speed.wait_until_all(system.visible, ids[-1:])
        time.sleep(0.3)  # what comes later than the decision is not batched with the next order
    return ids


def usage_of(counted: Counted) -> Usage:
    """What one order takes on AWS.

    What functions compute is counted here, and takes longer there, as far as they have less of a processor. Where it
    cannot be counted, the emulator's milliseconds are taken for computing, all of them.
    """
    invocations = sum(found.count for found in counted.invocations.values())
    reported = sum(found.milliseconds for found in counted.invocations.values()) / 1000
    computing = reported if counted.cpu_seconds is None else counted.cpu_seconds
    by_functions = sum(counted.calls.values()) - counted.calls_of_machines
    per_order = counted.per_order
    return Usage(
        api_requests=1,
        invocations=per_order(invocations),
        cpu_seconds=per_order(computing),
        waiting_seconds=per_order(by_functions * WAIT_PER_CALL_SECONDS),
        write_units=per_order(counted.write_units),
        read_units=per_order(counted.read_units),
        events=per_order(counted.events),
        sqs_requests=per_order(counted.sqs_requests),
        state_changes=per_order(counted.state_changes),
        log_bytes=per_order(sum(found.log_bytes for found in counted.invocations.values())),
    )


def _check_counts(run: Run, counted: Counted) -> None:
    expected, found = costs.OURS, usage_of(counted)
    for what, title, tolerance in (
        ("write_units", "Write request units", 0.0),
        ("read_units", "Read request units", 0.0),
        ("events", "Events", 0.0),
        ("sqs_requests", "SQS requests", STRAGGLERS),
        ("invocations", "Invocations", STRAGGLERS),
    ):
        wanted, seen = getattr(expected, what), getattr(found, what)
        run.report.add(
            f"3. {title} of one approved order, nothing batched",
            f"{wanted:g}, as the cost model says",
            f"{seen:g}",
            abs(seen - wanted) <= wanted * tolerance,
            is_guard=True,
        )


def _calls_section(alone: Mapping[str, Counted]) -> Section:
    rows = []
    for design in DESIGNS:
        if found := alone.get(design.name):
            calls = ", ".join(
                f"{found.per_order(n):g} {name}" for name, n in sorted(found.calls.items())
            )
            invocations = sum(i.count for i in found.invocations.values())
            rows.append(
                [
                    design.title,
                    calls,
                    *(
                        f"{found.per_order(value):g}"
                        for value in (
                            found.write_units,
                            found.read_units,
                            found.events,
                            found.sqs_requests,
                            invocations,
                            found.state_changes,
                        )
                    ),
                ]
            )
    return Section(
        "What one order makes AWS do (goal 3)",
        (
            "",
            "calls",
            "write units",
            "read units",
            "events",
            "SQS requests",
            "invocations",
            "state changes",
        ),
        rows,
        "One order at a time, so that nothing is batched: counted by a proxy, from the logs, and from the history of "
        "executions.",
    )


def _costs_section(usages: Mapping[str, Usage]) -> Section:
    services = dict.fromkeys(s for usage in usages.values() for s in costs.shares(usage))
    rows = []
    for design in DESIGNS:
        if usage := usages.get(design.name):
            shares = costs.shares(usage)
            cells = [f"{shares.get(service, 0):.2f}" for service in services]
            rows.append([design.title, f"**{usd_per_million(usage):.2f}**", *cells])
    return Section(
        "Dollars per million approved orders (goal 3)",
        ("", "all", *services),
        rows,
        f"Prices of {PRICES['region']}, {PRICES['date']} (tests/benchmarks/prices.json). Nothing is batched: the "
        "dearest case. MongoDB, storage and free tiers are left out. Lambda: the processor time counted here, at "
        f"the {costs.MEMORY_MB}/{costs.FULL_CPU_MB} of a processor that {costs.MEMORY_MB} MB get, and 10 ms for each call. "
        "Step Functions is a standard state machine; an express one costs a request and its seconds instead, and "
        "runs at least once, not exactly once.",
    )


def _choices_section(alone: Usage, batched: Usage) -> Section:
    rows = [
        [
            choice.title,
            "made" if choice.is_made else "not made",
            f"{choice.usd_saved:.2f}",
        ]
        for choice in costs.choices(alone, batched)
    ]
    return Section(
        "What each choice saves (goal 3)",
        ("choice", "", "dollars per million orders that it saves, or would"),
        rows,
    )


# ----------------------------------------------------------------- Goals 4 and 5: each function by itself


def measure_functions(run: Run) -> None:
    system = run.systems[OURS]
    run.show("cold starts in the emulator")
    emulated = {f.logical_id: functions.in_emulator(system, f) for f in functions.FUNCTIONS}
    with functions.Workbench.ready() as workbench:
        starts = functions.starts(workbench, 5, run.show)
        warms = functions.warms(workbench, 9, run.show)
        rows = []
        for function in functions.FUNCTIONS:
            start = starts[function.logical_id]
            limit = 100 if function.is_api else 60
            run.report.add(
                f"4. Cold start of {function.logical_id}, to its first answer, above boto3 with a client and a call",
                f"at most {limit} ms",
                f"{start.first_above_boto3_ms:.0f} ms ({start.init_above_boto3_ms:.0f} ms of it the import)",
                start.first_above_boto3_ms <= limit,
            )
        _layer_rows(run, workbench)
        for function in functions.FUNCTIONS:
            warm = warms[function.logical_id]
            run.report.add(
                f"5. Processor time of one invocation of {function.logical_id}, against bare boto3",
                "at most 1.5 times",
                f"{warm.ratio:.2f}",
                warm.ratio <= 1.5,
            )
            start = starts[function.logical_id]
            shares = ", ".join(f"{n} {s:.0%}" for n, s in workbench.profile(function)[:6])
            rows.append(
                [
                    function.logical_id,
                    f"{start.init_ms:.0f}",
                    f"{start.init_above_boto3_ms:.0f}",
                    f"{start.first_above_boto3_ms:.0f}",
                    f"{emulated[function.logical_id].cold:.0f}",
                    f"{emulated[function.logical_id].warm:.0f}",
                    f"{warm.ours_ms:.2f}",
                    f"{warm.bare_ms:.2f}",
                    f"{warm.ratio:.2f}",
                    shares,
                ]
            )
    run.report.sections.append(
        Section(
            "Each function by itself (goals 4 and 5)",
            (
                "",
                "import, ms",
                "above boto3, ms",
                "first answer above boto3, ms",
                "in the emulator: cold, ms",
                "warm, ms",
                "CPU per invocation, ms",
                "bare boto3, ms",
                "ratio",
                "where it goes",
            ),
            rows,
            "In fresh interpreters with the built layers, against a stub that answers at once. boto3 is "
            '`import boto3; boto3.client("dynamodb")`, and a call.',
        )
    )


def _layer_rows(run: Run, workbench: functions.Workbench) -> None:
    largest = workbench.largest_packages()
    names = ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in largest[:4])
    for layer, megabytes in workbench.layer_megabytes().items():
        what = f" ({names})" if layer == "DependenciesLayer" else ""
        run.report.add(
            f"4. {layer}, unzipped",
            "under 25 MB",
            f"{megabytes:.1f} MB{what}",
            megabytes < 25,
        )
    run.report.add(
        "4. botocore is shipped in no layer: it is part of the runtime",
        "no",
        "yes" if "botocore" in dict(largest) else "no",
        "botocore" not in dict(largest),
        is_guard=True,
    )


# ------------------------------------------------------------------------------------------ Goal 6: growth


def measure_growth(run: Run) -> None:
    found = growth.measure(growth.SHORT_SIZES if run.short else growth.SIZES, run.show)
    run.report.growth = found
    for title, costs_by_size, fields in (
        ("event", found.events, ("calls", "bytes", "units")),
        # With fewer orders than a page has there is less to answer.
        ("query of the history", _at_least_a_page(found.queries), ("calls", "bytes")),
    ):
        for what in fields:
            values = {size: float(getattr(cost, what)) for size, cost in costs_by_size.items()}
            run.report.add(
                f"6. {what.capitalize()} of one {title}, by the orders that the customer has",
                "flat, within a tenth",
                _by_size(values),
                is_flat(values, FLAT),
                is_guard=True,
            )
        times = {size: cost.milliseconds for size, cost in costs_by_size.items()}
        run.report.add(
            f"6. Milliseconds of one {title}, by the orders that the customer has",
            "flat, within a half",
            _by_size({size: round(value, 1) for size, value in times.items()}),
            is_flat(times, 0.5),
        )
    rows = [
        [
            f"{size:,}",
            *(
                f"{value:g}"
                for value in (
                    event.calls,
                    event.bytes,
                    event.units,
                    round(event.milliseconds, 1),
                    found.queries[size].calls,
                    found.queries[size].bytes,
                    round(found.queries[size].milliseconds, 1),
                )
            ),
        ]
        for size, event in found.events.items()
    ]
    run.report.sections.append(
        Section(
            "Growth with a customer's orders (goal 6)",
            (
                "orders",
                "order: calls",
                "bytes written",
                "request units",
                "ms",
                "query: calls",
                "bytes read",
                "ms",
            ),
            rows,
            "An order is three transactions and three projections; a query is the first page in three ways. A customer's "
            "document keeps the 100 latest orders, so with fewer orders there is less to read.",
        )
    )
    sizes = growth.table_sizes(
        found.item_bytes, costs.OURS.write_units, PRICES["usd"]["dynamodb_gb_month"]
    )
    run.report.add(
        "6. Write units of one order, by calculation, with 10^3 to 10^6 orders in the tables",
        "flat",
        _by_size({size.orders: size.units_per_order for size in sizes}),
        is_flat({size.orders: size.units_per_order for size in sizes}, 0.0),
        is_guard=True,
    )
    run.report.sections.append(
        Section(
            "Tables, by calculation (goal 6)",
            ("orders", "GB in all tables", "dollars per month", "write units of one more order"),
            [
                [
                    f"{s.orders:,}",
                    f"{s.gigabytes:.4f}",
                    f"{s.usd_per_month:.4f}",
                    f"{s.units_per_order:g}",
                ]
                for s in sizes
            ],
            "From the bytes of the items that an order leaves behind, as counted. Every access is by key.",
        )
    )


def _at_least_a_page(queries: Mapping[int, growth.Cost]) -> dict[int, growth.Cost]:
    return {size: cost for size, cost in queries.items() if size >= 100}


def _by_size(values: Mapping[int, float]) -> str:
    return ", ".join(f"{size:,}: {value:g}" for size, value in values.items())


# ------------------------------------------------------------------------------------ Goal 7: a hot customer


def measure_contention(run: Run) -> None:
    system, proxy = run.seen(OURS)
    orders = 80
    found = hot_customer.measure(system, proxy, orders, run.show)
    spread = found[max(found)]
    for customers, contention in found.items():
        run.report.add(
            f"7. Orders decided per second, {orders} orders of {customers:,} customer{'s'[: customers > 1]}",
            "measured; its bound and the way out in docs/scaling.md",
            f"{contention.decided_per_second:.1f}, {contention.decided_per_second / spread.decided_per_second:.2f} times "
            f"that of {max(found):,}; {contention.retries_per_order:.2f} retries and "
            f"{contention.conflicts_per_order:.2f} conflicts per order",
            contention.decided_per_second > 0,
        )


# -------------------------------------------------------------------------------------------- Goal 8: scale


def measure_scale(run: Run) -> None:
    speeds = run.report.speeds
    if speeds:
        _check_simulation(run, speeds[OURS.name])
    rows = simulation.on_aws_by_rate()
    run.report.sections.append(
        Section(
            "On AWS, simulated (goal 8)",
            simulation.HEADER,
            rows,
            "Milliseconds, p50 / p95. The latencies of each hop and where they are from are in docs/scaling.md.",
        )
    )


def _check_simulation(run: Run, ours: speed.Speed) -> None:
    """Calibrated by orders one at a time and by the throughput, it has to foretell the latencies under load."""
    p50, p95 = (percentile(ours.approved["idle"], p) * 1000 for p in (50, 95))
    processors = os.cpu_count() or 1
    pipeline = simulation.on_this_machine(
        p50, p95 / p50, cpu_ms_per_order=processors * 1000 / ours.decided, processors=processors
    )
    for load, how in (("half", "at half of our throughput"), ("full", "8 clients that wait")):
        arrivals: Any = {"per_second": ours.decided / 2} if load == "half" else {"clients": 8}
        simulated = simulation.simulate(pipeline, orders=2_000, **arrivals).decided
        ratios = [
            percentile(simulated, p) / (percentile(ours.approved[load], p) * 1000) for p in (50, 95)
        ]
        run.report.add(
            f"8. Simulated POST to APPROVED against the emulator's run, {how}, p50 and p95",
            "from 0.67 to 1.5 times",
            " and ".join(f"{ratio:.2f}" for ratio in ratios),
            all(1 / 1.5 <= ratio <= 1.5 for ratio in ratios),
        )


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows what is under way: on one line of a terminal, or a line each in a log."""
    if not console.is_terminal:
        yield console.print
        return
    with console.status("Starting") as status:
        yield status.update


PARTS: dict[str, Callable[[Run], None]] = {
    # Those that take times come first: counting slows the systems down.
    "speed": measure_speed,
    "functions": measure_functions,
    "growth": measure_growth,
    "costs": measure_costs,
    "contention": measure_contention,
    "losses": measure_losses,
    "scale": measure_scale,
}
SHORT_PARTS = ("growth", "costs", "losses")


@click.command(help=__doc__)
@click.option("--only", help=f"One part: {', '.join(PARTS)}.")
@click.option(
    "--short", is_flag=True, help="Counts and growth only; exits 1 if one is not as it should be."
)
def main(only: str | None, short: bool) -> None:
    names = [only] if only else list(SHORT_PARTS if short else PARTS)
    if unknown := set(names) - PARTS.keys():
        raise click.BadParameter(f"no such part: {', '.join(unknown)}")
    started = time.monotonic()
    moments = [(started, "start")]
    with (
        TemporaryDirectory() as directory,
        EventLoop.running() as loop,
        progress() as show,
        ExitStack() as contexts,
        Systems(Path(directory), show) as systems,
    ):
        run = Run(Path(directory), systems, loop, contexts, show, short)
        for name in names:
            PARTS[name](run)
            moments.append((time.monotonic(), name))
    run.report.rows.sort(key=lambda row: row.goal[0])
    run.report.show(console)
    took = ", ".join(f"{name} {b - a:.0f} s" for (a, _), (b, name) in pairwise(moments))
    console.print(f"Took {time.monotonic() - started:.0f} s: {took}.")
    if not only and not short:
        run.report.write()
        run.report.write_summary()
        console.print(f"Written to {DIRECTORY}")
    broken = [row for row in run.report.rows if row.is_guard and not row.met]
    for row in broken:
        console.print(f"[red]Not as it should be: {row.goal}: {row.measured}, not {row.target}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
