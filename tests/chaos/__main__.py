"""Command line: python -m tests.chaos [--short] [--only TEXT] [--logs DIRECTORY]."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.status import Status

from infra.local.processes import EmbeddedError, handle_interrupts
from tests.chaos.clients import ClientGaveUpError
from tests.chaos.restarts import emulator_ended
from tests.chaos.scenarios import FULL, SCENARIOS, SHORT, Size
from tests.chaos.system import NotSettledError, System
from tests.chaos.verdict import Evidence, Verdict, judge

EMULATOR_ENDED = "emulator killed, then stopped; restarts empty"
COLUMNS = ("struck", "orders", "lost", "duplicated", "over limit", "seconds")
MAX_FINDINGS = 20
"""Maximum number of printed findings of a scenario."""

console = Console(highlight=False, soft_wrap=True)


@click.command(
    help="Inject faults while orders are created, and audit the system after each fault."
)
@click.option("--short", is_flag=True, help="Create fewer orders in each scenario.")
@click.option("--only", default="", help="Run only scenarios with this text in their names.")
@click.option("--logs", type=click.Path(path_type=Path), help="Keep all logs in this directory.")
def main(*, short: bool, only: str, logs: Path | None) -> None:
    """Exit with status 1 if an audit has findings, 130 when interrupted. Stop all processes in either case."""
    handle_interrupts()
    try:
        with console.status("Starting") as status, TemporaryDirectory() as directory:
            suite = Suite(status, SHORT if short else FULL, logs or Path(directory))
            suite.run(only.lower())
    except KeyboardInterrupt:
        console.print("Interrupted. All processes are stopped.")
        sys.exit(130)
    sys.exit(1 if suite.failed else 0)


class Suite:
    """Runs scenarios one after the other and prints a line for each."""

    def __init__(self, status: Status, size: Size, directory: Path) -> None:
        self._status = status
        self._size = size
        self._directory = directory
        self._name = "Starting"
        self.failed = 0

    def run(self, only: str) -> None:
        """Run the scenarios with `only` in their names. Stop at the first that cannot finish."""
        started = time.monotonic()
        chosen = [name for name in SCENARIOS if only in name.lower()]
        ends_emulator = only in EMULATOR_ENDED.lower()
        _print_row("fault", *COLUMNS, style="bold")
        try:
            if chosen:
                directory = self._directory / "system"
                with System.start(directory, self._show, self._step) as system:
                    for self._name in chosen:
                        begun = time.monotonic()
                        outcome = SCENARIOS[self._name](system, self._size)
                        self._show("audit")
                        self._report(judge(outcome, Evidence.of(system)), begun)
            if ends_emulator:
                self._name, begun = EMULATOR_ENDED, time.monotonic()
                directory = self._directory / "restarted"
                self._report(emulator_ended(directory, self._show, self._step), begun)
        except (ClientGaveUpError, EmbeddedError, NotSettledError) as error:
            self.failed += 1
            console.print(f"{self._name}: {error}", style="red", markup=False)
        console.print(
            f"{len(chosen) + ends_emulator} scenarios, {self.failed} failed, "
            f"{time.monotonic() - started:.0f} s in all",
            style="red" if self.failed else "green",
        )

    def _report(self, verdict: Verdict, begun: float) -> None:
        self.failed += bool(verdict.findings)
        style = "red" if verdict.findings else ""
        numbers = [verdict.struck, verdict.orders, verdict.lost, verdict.duplicated]
        columns = [*map(str, numbers), str(verdict.over_limit), f"{time.monotonic() - begun:.1f}"]
        _print_row(self._name, *columns, style=style)
        for finding in verdict.findings[:MAX_FINDINGS]:
            console.print(f"  {finding}", style=style, markup=False)
        if (more := len(verdict.findings) - MAX_FINDINGS) > 0:
            console.print(f"  and {more} more", style=style)

    def _show(self, text: str) -> None:
        self._status.update(f"{self._name}: {text}")

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        self._show(title)
        yield


def _print_row(fault: str, *columns: str, style: str = "") -> None:
    cells = "".join(f"{column:>12}" for column in columns)
    console.print(f"{fault:<52}{cells}", style=style, markup=False)


if __name__ == "__main__":
    main()
