"""Command line: python -m tests.chaos [--short] [--only TEXT] [--logs DIRECTORY]."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from infra.local.processes import EmbeddedError, handle_interrupts
from tests.chaos.clients import ClientGaveUpError
from tests.chaos.restarts import emulator_ended
from tests.chaos.scenarios import SCENARIOS
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
    names = [name for name in (*SCENARIOS, EMULATOR_ENDED) if only.lower() in name.lower()]
    orders = 40 if short else 150
    ran = failed = 0
    started = time.monotonic()
    print_row("fault", *COLUMNS, style="bold")
    try:
        with (
            console.status("Starting") as status,
            TemporaryDirectory() as temporary,
            ExitStack() as contexts,
        ):
            directory, system = logs or Path(temporary), None
            for name in names:
                status.update(name)
                ran += 1
                begun = time.monotonic()
                try:
                    if name == EMULATOR_ENDED:
                        contexts.close()  # stops the system of the other scenarios
                        verdict = emulator_ended(directory / "restarted")
                    else:
                        start = System.start(directory / "system")
                        system = system or contexts.enter_context(start)
                        verdict = judge(SCENARIOS[name](system, orders), Evidence.of(system))
                except (ClientGaveUpError, EmbeddedError, NotSettledError) as error:
                    failed += 1
                    console.print(f"{name}: {error}", style="red", markup=False)
                    break
                failed += bool(verdict.findings)
                print_verdict(name, verdict, time.monotonic() - begun)
    except KeyboardInterrupt:
        console.print("Interrupted. All processes are stopped.")
        sys.exit(130)
    seconds = time.monotonic() - started
    console.print(f"{ran} of {len(names)} scenarios ran, {failed} failed, {seconds:.0f} s in all")
    sys.exit(1 if failed else 0)


def print_verdict(name: str, verdict: Verdict, seconds: float) -> None:
    numbers = [verdict.struck, verdict.orders, verdict.lost, verdict.duplicated, verdict.over_limit]
    style = "red" if verdict.findings else ""
    print_row(name, *map(str, numbers), f"{seconds:.1f}", style=style)
    for finding in verdict.findings[:MAX_FINDINGS]:
        console.print(f"  {finding}", style=style, markup=False)
    if (more := len(verdict.findings) - MAX_FINDINGS) > 0:
        console.print(f"  and {more} more", style=style)


def print_row(fault: str, *columns: str, style: str = "") -> None:
    cells = "".join(f"{column:>12}" for column in columns)
    console.print(f"{fault:<52}{cells}", style=style, markup=False)


if __name__ == "__main__":
    main()
