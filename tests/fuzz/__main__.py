"""Command line: python -m tests.fuzz [--url URL] [OPTION OF SCHEMATHESIS ...]."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from infra.local.processes import handle_interrupts
from infra.local.stack import EmbeddedStack
from tests.fuzz.fuzzing import fuzz
from tests.openapi import DOCUMENT


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--url", help="Base URL of the API. Without it, a local stack is started.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def main(*, url: str | None, options: tuple[str, ...]) -> None:
    """Send requests generated from the OpenAPI document. Exit with 1 if there are findings."""
    handle_interrupts()
    with ExitStack() as contexts:
        if url is None:
            directory = Path(contexts.enter_context(TemporaryDirectory()))
            url = contexts.enter_context(EmbeddedStack.start(directory=directory)).base_url
        done = fuzz(url, DOCUMENT, *options)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
