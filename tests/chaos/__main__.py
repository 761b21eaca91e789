"""The command line: python -m tests.chaos [--short] [--only TEXT]."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

import click
from rich.console import Console
from rich.status import Status

from infra.local.processes import INTERRUPTS, EmbeddedError
from tests.chaos.clients import ClientGaveUpError
from tests.chaos.restarts import emulator_ended
from tests.chaos.scenario import FULL, SHORT, Scenario, Size
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.system import NotSettledError, System
from tests.chaos.verdict import Evidence, Verdict, judge

EMULATOR_ENDED = "emulator killed, then stopped; starts anew, empty"
COLUMNS = ("struck", "orders", "lost", "duplicated", "over limit", "seconds")
SHOWN_FINDINGS = 20

console = Console(highlight=False, soft_wrap=True)


@click.command(help="Inject faults while orders are made, and audit the system after each.")
@click.option("--short", is_flag=True, help="Fewer orders in each scenario.")
@click.option("--only", default="", help="The scenarios with this text in their names.")
@click.option("--logs", type=click.Path(path_type=Path), help="A directory to leave all logs in.")
def main(*, short: bool, only: str, logs: Path | None) -> None:
    """Exits 1 if an audit has found something, 130 when interrupted; nothing is left running in either case."""
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        with console.status("Starting") as status, TemporaryDirectory() as directory:
            suite = Suite(status, SHORT if short else FULL, logs or Path(directory))
            suite.run(only)
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.")
        sys.exit(130)
    sys.exit(1 if suite.failed else 0)


class Suite:
    """Runs scenarios one after the other, and prints a line for each."""

    def __init__(self, status: Status, size: Size, directory: Path) -> None:
        self._status = status
        self._size = size
        self._directory = directory
        self._fault = "Starting"
        self._ran = 0
        self.failed = 0
        """How many scenarios have."""

    def run(self, only: str) -> None:
        """The scenarios with `only` in their names have run, up to one that did not come to an end."""
        started = time.monotonic()
        chosen = {fault: run for fault, run in SCENARIOS.items() if only.lower() in fault.lower()}
        try:
            if chosen:
                self._run_on_one_system(chosen)
            if only.lower() in EMULATOR_ENDED.lower():
                directory = self._directory / "restarted"
                with self._scenario(EMULATOR_ENDED) as report:
                    report(emulator_ended(directory, self._show, self._step))
        except (ClientGaveUpError, EmbeddedError, NotSettledError) as error:
            self.failed += 1
            console.print(f"{self._fault}: {error}", style="red", markup=False)
        seconds = time.monotonic() - started
        console.print(
            f"{self._ran} scenarios, {self.failed} failed, {seconds:.0f} s in all",
            style="red" if self.failed else "green",
        )

    def _run_on_one_system(self, scenarios: dict[str, Scenario]) -> None:
        _print_row("fault", *COLUMNS, style="bold")
        with System.start(self._directory / "system", self._show, self._step) as system:
            for fault, scenario in scenarios.items():
                with self._scenario(fault) as report:
                    outcome = scenario(system, self._size)
                    self._show("the audit")
                    report(judge(outcome, Evidence.of(system)))

    @contextmanager
    def _scenario(self, fault: str) -> Iterator[Callable[[Verdict], None]]:
        """The verdict that is reported inside the block is printed, and counts."""
        started = time.monotonic()
        self._fault = fault
        self._ran += 1

        def report(verdict: Verdict) -> None:
            failed = bool(verdict.findings)
            self.failed += failed
            _print_verdict(fault, verdict, time.monotonic() - started)

        yield report

    def _show(self, text: str) -> None:
        self._status.update(f"{self._fault}: {text}")

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        self._show(title)
        yield


def _print_verdict(fault: str, verdict: Verdict, seconds: float) -> None:
    numbers = (verdict.struck, verdict.orders, verdict.lost, verdict.duplicated, verdict.over_limit)
    columns = [f"{number}" for number in numbers]
    _print_row(fault, *columns, f"{seconds:.1f}", style="red" if verdict.findings else "")
    for finding in verdict.findings[:SHOWN_FINDINGS]:
        console.print(f"  {finding}", style="red", markup=False)
    if (more := len(verdict.findings) - SHOWN_FINDINGS) > 0:
        console.print(f"  and {more} more", style="red")


def _print_row(fault: str, *columns: str, style: str = "") -> None:
    cells = "".join(f"{column:>12}" for column in columns)
    console.print(f"{fault:<48}{cells}", style=style, markup=False)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
