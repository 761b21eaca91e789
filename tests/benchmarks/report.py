"""What was measured, as rows of goals, as a page and as a plot."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table

from infra.local.build import PROJECT
from tests.benchmarks import costs
from tests.benchmarks.figures import percentile
from tests.benchmarks.growth import Growth
from tests.benchmarks.speed import Speed
from tests.benchmarks.systems import DESIGNS

DIRECTORY = PROJECT / "docs/benchmarks"
PACKAGES = ("boto3", "pynamodb", "pymongo", "pydantic", "aws-lambda-powertools")
README = PROJECT / "README.md"
MARKS = "<!-- make bench writes from here -->", "<!-- to here -->"
TITLES = {design.name: design.title for design in DESIGNS}
GOALS = {
    "1": "against a bare pipeline of the same hops",
    "2": "against what people would pick instead",
    "3": "calls and money per order",
    "4": "cold start and package size",
    "5": "processor time of a warm function",
    "6": "growth with a customer's orders",
    "7": "a hot customer, and many",
    "8": "the simulation foretells the emulator",
}
WHERE_IT_GOES = {
    "1": "The emulator runs every function on the same processors, so what our handlers compute beyond nothing is time "
    "that the next hop waits: three transactions of two and three items and two reads, where the bare pipeline puts four "
    "items; validation, decoding and a structured log line in each of nine invocations (goal 5 has their shares); "
    "and seven commands to the view, where it has one. One order at a time shows the latency, 8 clients the processors.",
    "2": "The peers are written in bare boto3 and keep the credit rule, and nothing else: no idempotent requests, no problem "
    "documents, no versions, no guard against events that come out of order. In the emulator a state machine's steps cost "
    "no invocation and next to no processor time; on AWS each is a state change that is paid for (goal 3). "
    "Ours and the inbox table make as many calls, and ours writes two items fewer; what it takes longer, it computes.",
    "3": "Against the dual write: DynamoDB. A transaction costs twice the units, and the outbox is an item more, three times. "
    "That is the price of losing nothing. Against all: Lambda and CloudWatch Logs, because ours computes more per invocation "
    "and logs more than a line of two facts.",
    "4": "To its first answer a function imports Powertools, with pydantic for the APIs (some 100 ms), and PynamoDB, and makes a "
    "client. The layer of dependencies is 19 MB without cryptography, which only the APIs need, to verify tokens.",
    "5": "Powertools' routing and pydantic's validation in the APIs, PynamoDB's items in the services, the events' "
    "decoding in the subscribers; the table has the shares. Where the database does little, as for a query of the view, all of it "
    "weighs more.",
    "6": "The emulator and the embedded MongoDB server scan where AWS and MongoDB have an index: calls and bytes tell.",
    "7": "Orders of one customer change one item: docs/scaling.md.",
    "8": "The simulation has all hops alike; the emulator's are not, and its event loop is a queue of its own.",
}


@dataclass(frozen=True)
class Row:
    """One goal, and what came of it."""

    goal: str
    target: str
    measured: str
    met: bool
    is_guard: bool = False
    """A count or a growth, which is the same on every machine: the short form fails if it is not met."""


@dataclass
class Section:
    """A table of the page, with what there is to say of it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str = ""


@dataclass
class Report:
    rows: list[Row] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    speeds: dict[str, Speed] = field(default_factory=dict)
    usages: dict[str, costs.Usage] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    growth: Growth | None = None

    def add(
        self, goal: str, target: str, measured: str, met: bool, *, is_guard: bool = False
    ) -> None:
        self.rows.append(Row(goal, target, measured, met, is_guard))

    def show(self, console: Console) -> None:
        for section in self.sections:
            console.print(f"\n[b]{section.title}")
            if section.text:
                console.print(section.text)
            table = Table(*section.header)
            for cells in section.rows:
                table.add_row(*cells)
            console.print(table)
        table = Table("goal", "target", "measured", "met", title="Goals", title_justify="left")
        for row in self.rows:
            table.add_row(row.goal, row.target, row.measured, "yes" if row.met else "[red]no")
        console.print(table)

    def write(self, directory: Path = DIRECTORY) -> None:
        """results.json, results.md and results.png are what was measured."""
        directory.mkdir(parents=True, exist_ok=True)
        where = {"machine": machine(), "versions": versions(), "date": today()}
        rows = [
            {"goal": r.goal, "target": r.target, "measured": r.measured, "met": r.met, **where}
            for r in self.rows
        ]
        text = json.dumps(rows, indent=2, ensure_ascii=False)
        (directory / "results.json").write_text(text + "\n")
        (directory / "results.md").write_text(self.page())
        plot(self, directory / "results.png")

    def write_summary(self, file: Path = README) -> None:
        """The table between MARKS is what was measured."""
        before, rest = file.read_text().split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        file.write_text(f"{before}{MARKS[0]}\n{self.summary()}\n{MARKS[1]}{after}")

    def summary(self) -> str:
        """The systems beside each other, and how many of each goal's rows are met."""
        systems = [
            (
                TITLES[name],
                " / ".join(f"{percentile(s.approved['idle'], p) * 1000:.0f}" for p in (50, 95)),
                " / ".join(f"{percentile(s.visible['idle'], p) * 1000:.0f}" for p in (50, 95)),
                f"{s.decided:.0f}",
                f"{costs.usd_per_million(self.usages[name]):.2f}" if name in self.usages else "",
                self.lost.get(name, ""),
            )
            for name, s in self.speeds.items()
        ]
        goals = []
        for number, title in GOALS.items():
            rows = [row for row in self.rows if row.goal.startswith(f"{number}.")]
            met = sum(row.met for row in rows)
            goals.append((f"{number}. {title}", f"{met} of {len(rows)}"))
        return "\n\n".join(
            [
                f"{machine()}, {today()}; the ratios mean more than the times.",
                _markdown(
                    (
                        "",
                        "POST to APPROVED, ms, p50 / p95",
                        "to visible",
                        "decided per second",
                        "USD per million orders on AWS, calculated",
                        "orders lost under kills",
                    ),
                    systems,
                ),
                _markdown(("goal", "met"), goals),
            ]
        )

    def page(self) -> str:
        met = sum(row.met for row in self.rows)
        parts = [
            "# Benchmarks",
            "Written by `make bench`. Ratios were taken in one run, in turns, and hold on any machine; times do not.",
            f"Machine: {machine()}. Date: {today()}. Versions: "
            + ", ".join(f"{name} {number}" for name, number in versions().items())
            + ".",
            "![Latency, throughput, costs and growth](results.png)",
            f"## Goals: {met} of {len(self.rows)} met",
            _markdown(
                ("goal", "target", "measured", "met"),
                [(r.goal, r.target, r.measured, "yes" if r.met else "**no**") for r in self.rows],
            ),
        ]
        missed = [n for n in GOALS if any(r.goal.startswith(n) and not r.met for r in self.rows)]
        if missed:
            parts.append("## Where the time and the money go")
            parts += [
                f"- Goal {number}, {GOALS[number]}: {WHERE_IT_GOES[number]}" for number in missed
            ]
        for section in self.sections:
            parts.append(f"## {section.title}")
            if section.text:
                parts.append(section.text)
            parts.append(_markdown(section.header, section.rows))
        return "\n\n".join(parts) + "\n"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plot(report: Report, file: Path) -> None:
    """The picture of it all; what was not measured is left out."""
    mpl.use("Agg")
    figure, axes = plt.subplots(2, 2, figsize=(12, 8.5), layout="constrained")
    (latency, throughput), (money, growth) = axes
    if report.speeds:
        names = [TITLES[name] for name in report.speeds]
        p50, p95 = (
            [percentile(speed.approved["idle"], p) * 1000 for speed in report.speeds.values()]
            for p in (50, 95)
        )
        latency.barh(names, p95, color="#b8cde3", label="p95")
        latency.barh(names, p50, color="#2f6ea5", label="p50")
        latency.set(title="POST to APPROVED, one order at a time", xlabel="milliseconds")
        latency.invert_yaxis()
        latency.legend()
        accepted = [speed.accepted for speed in report.speeds.values()]
        decided = [speed.decided for speed in report.speeds.values()]
        throughput.barh(names, accepted, color="#cfe3c2", label="accepted")
        throughput.barh(names, decided, height=0.5, color="#4d8f3a", label="decided")
        throughput.set(title="Throughput, 8 clients", xlabel="orders per second")
        throughput.invert_yaxis()
        throughput.legend()
    if report.usages:
        left = [0.0] * len(report.usages)
        names = [TITLES[name] for name in report.usages]
        shares = [costs.shares(usage) for usage in report.usages.values()]
        for service in dict.fromkeys(name for share in shares for name in share):
            values = [share.get(service, 0.0) for share in shares]
            money.barh(names, values, left=left, label=service)
            left = [a + b for a, b in zip(left, values, strict=True)]
        money.set(title="One million approved orders on AWS, calculated", xlabel="US dollars")
        money.invert_yaxis()
        money.legend(fontsize="small")
    if report.growth:
        sizes = list(report.growth.events)
        growth.plot(sizes, [c.bytes for c in report.growth.events.values()], "o-", label="an order")
        growth.plot(
            sizes, [c.bytes for c in report.growth.queries.values()], "s-", label="a history query"
        )
        growth.set(
            title="Bytes, by the orders that the customer has", xlabel="orders", xscale="log"
        )
        growth.set_ylim(bottom=0)
        growth.legend()
    for axis in (latency, throughput, money):
        axis.margins(x=0.35)  # room for the legend
    figure.savefig(file, dpi=110, metadata={"Software": ""})
    plt.close(figure)


def machine() -> str:
    """The machine, as far as the figures depend on it."""
    info = Path("/proc/cpuinfo")
    models = [
        line.split(":")[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    model = models[0] if models else platform.processor()
    return f"{os.cpu_count()} CPUs ({model}), {platform.system()} {platform.machine()}"


def versions() -> dict[str, str]:
    """Of Python, the emulators and the packages that the figures depend on most."""
    emulators = (PROJECT / "pyproject.toml").read_text()
    pinned: list[Any] = re.findall(r'"(ministack|nx-27017)==([\w.]+)"', emulators)
    installed = {package: version(package) for package in PACKAGES}
    return {"Python": platform.python_version(), **dict(pinned), **installed}


def today() -> str:
    return datetime.now(UTC).date().isoformat()
