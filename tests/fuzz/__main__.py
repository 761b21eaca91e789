"""Command line: python -m tests.fuzz [--examples N] [--seconds N] [--seed N] [--url URL]."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from infra.local.stack import EmbeddedStack
from tests.fuzz.fuzzing import Outcome, fuzz
from tests.template import ROOT

console = Console(highlight=False, soft_wrap=True)


@click.command(help="Send requests made from the OpenAPI document. Check each response against it.")
@click.option("--examples", default=100, help="Number of random requests per operation.")
@click.option("--seconds", default=300, help="Time limit in seconds.")
@click.option("--seed", type=int, help="Repeat the requests of this seed.")
@click.option("--url", help="Base URL of the API. Without it, a local stack is started.")
def main(*, examples: int, seconds: int, seed: int | None, url: str | None) -> None:
    """Exit with status 1 if there are findings."""
    if seed is None:
        seed = random.randrange(2**32)
    if url is not None:
        outcome = run(url, examples, seconds, seed)
    else:
        with (
            TemporaryDirectory() as directory,
            console.status("Starting a stack"),
            EmbeddedStack.start(directory=Path(directory)) as stack,
        ):
            outcome = run(stack.base_url, examples, seconds, seed)
    sys.exit(1 if outcome.findings else 0)


def run(url: str, examples: int, seconds: int, seed: int) -> Outcome:
    with console.status("Fuzzing") as status:
        outcome = fuzz(
            url,
            json.loads((ROOT / "functions/console/static/openapi.json").read_text()),
            examples=examples,
            seconds=seconds,
            seed=seed,
            progress=lambda so_far: status.update(f"Fuzzing: {so_far.cases.total()} requests"),
        )
    width = max(map(len, outcome.cases))
    for name, cases in sorted(outcome.cases.items()):
        statuses = sorted(outcome.statuses.get(name, {}).items())
        answers = ", ".join(f"{status}: {count}" for status, count in statuses)
        console.print(f"{name:{width}}  {cases:5} requests  {answers}")
    for what, how in outcome.findings.items():
        console.print(f"\n{what}\n{how}", markup=False)
    console.print(
        f"\n{outcome.cases.total()} requests, {len(outcome.findings)} findings (seed {seed})."
    )
    return outcome


if __name__ == "__main__":
    main()
