"""Command line: python -m tests.fuzz [--examples N] [--seconds N] [--seed N] [--url URL]."""

from __future__ import annotations

import random
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from infra.local.stack import EmbeddedStack
from tests.fuzz.fuzzing import fuzz
from tests.openapi import DOCUMENT

console = Console(highlight=False, soft_wrap=True)


@click.command(help="Send requests generated from the OpenAPI document. Check each response.")
@click.option("--examples", default=100, help="Number of random requests per operation.")
@click.option("--seconds", default=300, help="Time limit in seconds.")
@click.option("--seed", type=int, help="Repeat the requests of this seed.")
@click.option("--url", help="Base URL of the API. Without it, a local stack is started.")
def main(*, examples: int, seconds: int, seed: int | None, url: str | None) -> None:
    """Exit with status 1 if there are findings."""
    if seed is None:
        seed = random.randrange(2**32)
    with ExitStack() as contexts, console.status("Fuzzing"):
        if url is None:
            directory = Path(contexts.enter_context(TemporaryDirectory()))
            url = contexts.enter_context(EmbeddedStack.start(directory=directory)).base_url
        outcome = fuzz(url, DOCUMENT, examples=examples, seconds=seconds, seed=seed)
    width = max(map(len, outcome.cases))
    for name, cases in sorted(outcome.cases.items()):
        statuses = sorted(outcome.statuses.get(name, {}).items())
        answers = ", ".join(f"{status}: {count}" for status, count in statuses)
        console.print(f"{name:{width}}  {cases:5} requests  {answers}")
    for title, details in outcome.findings.items():
        console.print(f"\n{title}\n{details}", markup=False)
    console.print(
        f"\n{outcome.cases.total()} requests, {len(outcome.findings)} findings (seed {seed})."
    )
    sys.exit(1 if outcome.findings else 0)


if __name__ == "__main__":
    main()
