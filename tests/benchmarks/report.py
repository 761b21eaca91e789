"""The results: goals and tables, as a page and as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from infra.local.build import PROJECT

DIRECTORY = PROJECT / "docs/benchmarks"
PACKAGES = ("boto3", "pynamodb", "pymongo", "pydantic", "aws-lambda-powertools")


@dataclass(frozen=True)
class Goal:
    """A goal and its outcome."""

    title: str
    target: str
    measured: str
    met: bool
    reason: str
    """Why the target is what it is."""
    why_missed: str = ""
    """One sentence for the page, shown if the goal is missed."""
    is_guard: bool = False
    """A count, a loss or a growth, which does not depend on the machine: the short form fails if it is missed."""


@dataclass
class Table:
    """A table of the page."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str = ""


@dataclass
class Report:
    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Goals that were replaced, rows that could not be measured."""

    @property
    def broken_guards(self) -> list[Goal]:
        return [goal for goal in self.goals if goal.is_guard and not goal.met]

    def write(self, directory: Path = DIRECTORY) -> None:
        """Write results.md and results.json."""
        directory.mkdir(parents=True, exist_ok=True)
        results = {
            "machine": machine(),
            "date": today(),
            "versions": versions(),
            "goals": [asdict(goal) for goal in self.goals],
            "tables": [asdict(table) for table in self.tables],
            "notes": self.notes,
        }
        text = json.dumps(results, indent=2, ensure_ascii=False)
        (directory / "results.json").write_text(text + "\n")
        (directory / "results.md").write_text(self.page())

    def page(self) -> str:
        """Return the results as Markdown."""
        met, guards = (sum(getattr(g, name) for g in self.goals) for name in ("met", "is_guard"))
        installed = ", ".join(f"{name} {number}" for name, number in versions().items())
        rows = [
            (g.title, g.target, g.measured, "yes" if g.met else "**no**", g.reason)
            for g in self.goals
        ]
        parts = [
            "# Benchmarks",
            (
                "Written by `make bench`, in one run on the emulators. Speed was measured in turns; counts and the rebuild one "
                "system after the other. Counts and growth hold on other machines. Times do not, and ratios differ by up to a "
                "fifth between runs. A ratio may be the median of several rounds' ratios, and then differs a little from that of "
                "the medians beside it. `9fc5dcc` is a commit before subscribers handled batches."
            ),
            f"Machine: {machine()}. Date: {today()}. Versions: {installed}.",
            f"## Goals: {met} of {len(self.goals)} met",
            f"{guards} of them are guards: counts, growth and losses that must not change. A missed one fails the command.",
            markdown(("goal", "target", "measured", "met", "why this target"), rows),
        ]
        if missed := [goal for goal in self.goals if not goal.met]:
            parts.append("## Missed goals")
            parts.append("\n".join(f"- {g.title}: {g.why_missed or g.measured}" for g in missed))
        if self.notes:
            parts += ["## Notes", "\n".join(f"- {note}" for note in self.notes)]
        for table in self.tables:
            parts.append(f"## {table.title}")
            if table.text:
                parts.append(table.text)
            parts.append(markdown(table.header, table.rows))
        return "\n\n".join(parts) + "\n"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """Return the properties of the machine that the figures depend on."""
    info = Path("/proc/cpuinfo")
    models = [
        line.split(":")[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    model = models[0] if models else platform.processor()
    return f"{os.cpu_count()} CPUs ({model}), {platform.system()} {platform.machine()}"


def versions() -> dict[str, str]:
    """Return the versions of Python, the emulators and the packages that matter most."""
    emulators = (PROJECT / "pyproject.toml").read_text()
    pinned = re.findall(r'"(ministack|nx-27017)==([\w.]+)"', emulators)
    installed = {package: version(package) for package in PACKAGES}
    return {"Python": platform.python_version(), **dict(pinned), **installed}


def today() -> str:
    return datetime.now(UTC).date().isoformat()
