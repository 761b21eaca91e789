"""The command line: python -m infra.dead_letters COMMAND."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from infra.dead_letters.queues import DeadLetterQueues, UnknownQueueError
from infra.dead_letters.relay import RelayError
from infra.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.embedded.processes import LOCALHOST

console = Console(highlight=False)
errors = Console(highlight=False, soft_wrap=True, stderr=True)


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Whose dead letters, and how many of them."""
    for option in (
        click.option(
            "--endpoint-url",
            envvar="AWS_ENDPOINT_URL",
            help="Of an emulator (AWS_ENDPOINT_URL).  [default: that of `make up`]",
        ),
        click.option(
            "--port", envvar="PORT", default=4566, show_default=True, help="Of `make up` (PORT)."
        ),
        click.option("--aws", is_flag=True, help="AWS itself, with your own credentials."),
        click.option("--stack-name", envvar="STACK_NAME", default=STACK_NAME, show_default=True),
        click.option(
            "--limit", envvar="LIMIT", default=100, show_default=True, help="Letters per queue."
        ),
    ):
        command = option(command)
    return command


@click.group(help=__doc__)
def cli() -> None:
    """What is asked for is looked up each time; nothing is remembered."""


@cli.command("list", help="Show what the dead-letter queues hold, and why.")
@common_options
def list_letters(limit: int, **target: Any) -> None:
    """The letters are shown, and stay where they are."""
    queues = _connect(**target)
    table = Table("queue", "reason", "event", "id", "age", "received", box=None, pad_edge=False)
    for name in queues.names():
        for letter in queues.letters(name, limit):
            table.add_row(
                name,
                letter.reason,
                letter.event_type,
                letter.event_id,
                _age(letter.sent_at),
                f"{letter.receives} times",
            )
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{len(queues.names())} dead-letter queues, all empty.")


@cli.command(help="Send the letters of a queue back to where they came from.")
@click.argument("queue")
@common_options
def redrive(queue: str, limit: int, **target: Any) -> None:
    """The letters are handled once more by whoever could not. Exits 1 if some stay in the queue."""
    queues = _connect(**target)
    name = queues.find(queue)
    sent = stayed = 0
    for letter, problem in queues.redrive(name, limit):
        described = f"{letter.event_type or 'something'} {letter.event_id}".strip()
        console.print(f"{described}: {problem or 'sent back'}", markup=False, soft_wrap=True)
        sent += problem is None
        stayed += problem is not None
    console.print(f"{name}: {sent} sent back, {stayed} stayed. `make dlq` shows what comes again.")
    sys.exit(1 if stayed else 0)


def _connect(
    *, endpoint_url: str | None, port: int, aws: bool, stack_name: str
) -> DeadLetterQueues:
    session = boto3.Session() if aws else aws_session()
    url = None if aws else endpoint_url or f"http://{LOCALHOST}:{port}"
    config = None if aws else CLIENT_CONFIG
    return DeadLetterQueues(
        session.client("sqs", endpoint_url=url, config=config),
        session.client("lambda", endpoint_url=url, config=config),
        session.client("dynamodb", endpoint_url=url, config=config),
        stack_name,
    )


def _age(since: datetime) -> str:
    """`45 s`, `12 min`, `3 h`, `2 days`: in the largest unit that there is at least one of."""
    seconds = int((datetime.now(UTC) - since).total_seconds())
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def main() -> None:
    """Exits 1 with one clear message for what the user can act on."""
    try:
        cli(prog_name="python -m infra.dead_letters", standalone_mode=True)
    except (BotoCoreError, ClientError, RelayError, UnknownQueueError) as error:
        errors.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
