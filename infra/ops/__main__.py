"""The command line: python -m infra.ops COMMAND."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.local.deployed_stack import STACK_NAME
from infra.ops.dead_letters.queues import DeadLetterQueues
from infra.ops.rebuild import HistoryRebuild, Part, Rate
from infra.ops.stuck import Diagnosis, StuckOrders
from infra.ops.target import OperateError, Target, explain
from infra.ops.timeline import Timeline
from infra.ops.trace import Tracer

WIDTH_IN_A_FILE = 250
SECONDS_BETWEEN_LINES = 5.0


def _console(*, stderr: bool = False) -> Console:
    """Lines are not broken where nobody reads them at a terminal."""
    console = Console(highlight=False, stderr=stderr)
    if not console.is_terminal:
        console.width = WIDTH_IN_A_FILE
    return console


console = _console()
errors = Console(highlight=False, soft_wrap=True, stderr=True)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which stack is meant: the command is given a Target."""

    @wraps(command)
    def with_target(
        *args: Any, target: str, port: int, endpoint_url: str | None, stack_name: str, **rest: Any
    ) -> None:
        command(*args, target=Target.of(target, port, endpoint_url, stack_name), **rest)

    wrapped: Callable[..., None] = with_target
    for option in (
        click.option("--stack-name", envvar="STACK_NAME", default=STACK_NAME, show_default=True),
        click.option(
            "--endpoint-url",
            envvar="AWS_ENDPOINT_URL",
            help="Of an emulator (AWS_ENDPOINT_URL).  [default: PORT of this machine]",
        ),
        click.option(
            "--port", envvar="PORT", default=4566, show_default=True, help="Of an emulator (PORT)."
        ),
        click.option(
            "--target",
            envvar="TARGET",
            default="embedded",
            show_default=True,
            type=click.Choice(["embedded", "localstack", "aws"]),
            help="aws: with your own credentials, in your region (TARGET).",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def limit_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """How many at most."""
    return click.option("--limit", envvar="LIMIT", default=100, show_default=True, help=what)


@click.group(help=__doc__)
def cli() -> None:
    """What is asked for is looked up each time; nothing is remembered."""


# --- Dead letters ------------------------------------------------------------------------------------------------


@cli.command("dlq", help="Show what the dead-letter queues hold, and why.")
@target_options
@limit_option("Letters per queue (LIMIT).")
def list_letters(target: Target, limit: int) -> None:
    """The letters are shown, and stay where they are."""
    queues = _dead_letter_queues(target)
    table = _table("queue", "reason", "event", "id", "age", "received")
    with _step("Looking into the dead-letter queues"):
        letters = queues.all_letters(limit)
    for name, letter in letters:
        age = _age(datetime.now(UTC) - letter.sent_at)
        received = f"{letter.receives} times"
        table.add_row(name, letter.reason, letter.event_type, letter.event_id, age, received)
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{len(queues.names())} dead-letter queues, all empty.")


@cli.command(help="Send the letters of a queue back to where they came from.")
@click.argument("queue", envvar="QUEUE")
@target_options
@limit_option("Letters to send back (LIMIT).")
def redrive(queue: str, target: Target, limit: int) -> None:
    """The letters are handled once more by whoever could not. Exits 1 if some stay in the queue."""
    queues = _dead_letter_queues(target)
    name = queues.find(queue)
    sent = stayed = 0
    for letter, problem in queues.redrive(name, limit):
        described = f"{letter.event_type or 'something'} {letter.event_id}".strip()
        console.print(f"{described}: {problem or 'sent back'}", markup=False, soft_wrap=True)
        sent += problem is None
        stayed += problem is not None
    console.print(f"{name}: {sent} sent back, {stayed} stayed. `make dlq` shows what comes again.")
    sys.exit(1 if stayed else 0)


# --- Sagas -------------------------------------------------------------------------------------------------------


@cli.command(help="Show a saga as a timeline, from the outboxes and the functions' logs.")
@click.option("--order", envvar="ORDER", type=int, help="All that happened to the order (ORDER).")
@click.option(
    "--correlation", envvar="CORRELATION", help="An answer's X-Correlation-Id (CORRELATION)."
)
@target_options
def trace(order: int | None, correlation: str | None, target: Target) -> None:
    """Nothing is changed. The hops of a saga add up to its time."""
    if (order is None) == (not correlation):
        raise OperateError("Name one thing to trace: ORDER=<id> or CORRELATION=<id>.")
    with _status("Looking up the stack") as show:
        tracer = Tracer(target, show)
        found = (
            tracer.order(order) if order is not None else [tracer.correlation(correlation or "")]
        )
    for timeline in found:
        _print_timeline(timeline)


older_than_option = click.option(
    "--older-than",
    envvar="OLDER_THAN",
    default=60.0,
    show_default=True,
    help="Seconds (OLDER_THAN).",
)


@cli.command(help="Show orders that are PENDING for too long, and why.")
@older_than_option
@target_options
@limit_option("Orders to look into, the oldest first (LIMIT).")
def stuck(older_than: float, target: Target, limit: int) -> None:
    """Nothing is changed. Exits 1 if there are such orders."""
    orders = StuckOrders(target)
    diagnoses = _diagnose(orders, older_than, limit)
    if not diagnoses:
        console.print(f"No order is PENDING for longer than {older_than:g} s.")
        return
    table = _table("order", "customer", "pending for", "why")
    for found in diagnoses:
        order = found.order
        table.add_row(str(order.id), str(order.customer_id), _age(order.age), found.reason)
    console.print(table)
    console.print("`make resume` publishes the last event of each once more.")
    sys.exit(1)


@cli.command(help="Publish the last event of sagas that are stuck once more.")
@click.option("--order", "order_id", envvar="ORDER", type=int, help="This order alone (ORDER).")
@older_than_option
@target_options
@limit_option("Orders to resume, the oldest first (LIMIT).")
def resume(order_id: int | None, older_than: float, target: Target, limit: int) -> None:
    """What is decided stays decided. Exits 1 if an order could not be resumed."""
    orders = StuckOrders(target)
    if order_id is not None:
        order = orders.order(order_id)
        pending = order.state == "PENDING"
        diagnoses = [orders.diagnose(order) if pending else Diagnosis(order, "it is decided")]
    else:
        diagnoses = _diagnose(orders, older_than, limit)
    if not diagnoses:
        console.print(f"No order is PENDING for longer than {older_than:g} s.")
        return
    failed = 0
    for found in diagnoses:
        try:
            done = orders.resume(found)
        except OperateError as error:
            done, failed = f"not resumed: {error}", failed + 1
        else:
            failed += done.startswith("left")
        line = f"order {found.order.id} ({found.reason}): {done}"
        console.print(line, markup=False, soft_wrap=True)
    sys.exit(1 if failed else 0)


# --- The view ----------------------------------------------------------------------------------------------------


@cli.command("rebuild-history", help="Make the order history view anew, while the system runs.")
@click.option("--drop", envvar="DROP", is_flag=True, help="Empty the view first (DROP=1).")
@click.option("--yes", envvar="YES", is_flag=True, help="Do not ask before that (YES=1).")
@click.option(
    "--restart", envvar="RESTART", is_flag=True, help="Do not go on with one that was interrupted."
)
@click.option(
    "--segments", default=4, show_default=True, help="Of each outbox, read at the same time."
)
@target_options
def rebuild_history(drop: bool, yes: bool, restart: bool, segments: int, target: Target) -> None:
    """The view knows every event that is in the outboxes. Interrupted, it goes on the next time."""
    rebuild = HistoryRebuild(target, parallel=2 * segments)
    if drop and not yes:
        click.confirm(f"Empty the view of {target.stack_name} {target.place} first?", abort=True)
    if drop:
        with _step("Emptying the view"):
            rebuild.drop()
    parts = [] if restart else rebuild.unfinished()
    if parts:
        console.print("Going on with the rebuild that was interrupted.")
    else:
        parts = rebuild.begin(segments)
    view = _RebuildProgress(rebuild.estimates(), parts)
    try:
        with view:
            rebuild.run(parts, view.show)
    except KeyboardInterrupt:
        console.print(f"{view.summary()} so far. `make rebuild-history` goes on from here.")
        raise
    console.print(view.summary())


class _RebuildProgress:
    """A bar for each part at a terminal, and a line now and then elsewhere."""

    def __init__(self, estimates: dict[str, int], parts: list[Part]) -> None:
        self._parts = {part["_id"]: part for part in parts}
        self._rate = Rate(sum(part["read"] for part in parts))
        self._last_line = 0.0
        self._progress = Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("events"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks = {
            name: self._progress.add_task(
                name,
                # A guess until the part is done: the table's count may be hours old.
                total=max(estimates[part["outbox"]] // part["segments"], part["read"]) or None,
                completed=part["read"],
                rate="",
            )
            for name, part in self._parts.items()
        }

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, part: Part) -> None:
        """The part has come so far."""
        self._parts[part["_id"]] = part
        read, is_done = part["read"], part["state"] == "done"
        task = self._progress.tasks[self._tasks[part["_id"]]]
        total = read if is_done else max(task.total or 0, read) or None
        rate = "done" if is_done else f"{self._per_second():,.0f}/s in all"
        self._progress.update(task.id, completed=read, total=total, rate=rate)
        if not console.is_terminal and self._rate.seconds - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = self._rate.seconds
            console.print(self.summary())

    def summary(self) -> str:
        """What was read, and how fast."""
        parts = self._parts.values()
        read, projected = sum(p["read"] for p in parts), sum(p["projected"] for p in parts)
        unreadable = sum(p["unreadable"] for p in parts)
        passed_over = f", {unreadable:,} unreadable (see the function's log)" if unreadable else ""
        done = sum(part["state"] == "done" for part in parts)
        return (
            f"{read:,} events read, {projected:,} of them projected{passed_over}; {done} of {len(parts)} "
            f"parts done; {self._rate.seconds:.1f} s, {self._per_second():,.0f} events per second"
        )

    def _per_second(self) -> float:
        return self._rate.of(sum(part["read"] for part in self._parts.values()))


# --- What they have in common ------------------------------------------------------------------------------------


def _dead_letter_queues(target: Target) -> DeadLetterQueues:
    _ = target.resources  # there is such a stack
    return DeadLetterQueues(
        target.client("sqs"), target.client("lambda"), target.client("dynamodb"), target.stack_name
    )


def _diagnose(orders: StuckOrders, older_than: float, limit: int) -> list[Diagnosis]:
    read = 0

    def count(items: int) -> None:
        nonlocal read
        read += items
        show(f"Looking for PENDING orders: {read:,} items read")

    with _status("Looking for PENDING orders") as show:
        found = orders.older_than(timedelta(seconds=older_than), count)
        diagnoses = []
        for number, order in enumerate(found[:limit], 1):
            show(f"Looking into order {number} of {len(found)}")
            diagnoses.append(orders.diagnose(order))
    if len(found) > limit:
        console.print(
            f"{len(found)} orders are PENDING for too long; these are the {limit} oldest."
        )
    return diagnoses


def _print_timeline(timeline: Timeline) -> None:
    start = min((moment.at for moment in timeline.moments), default=datetime.now(UTC))
    day = start.astimezone(UTC).strftime("%Y-%m-%d")
    console.print(f"Correlation {timeline.correlation_id}, {day}", style="bold", markup=False)
    table = _table("at (UTC)", "hop ms", "where", "what")
    for moment in timeline.moments:
        hop = "" if moment.hop is None else f"+{_milliseconds(moment.hop)}"
        style = "dim" if moment.hop is None else None
        at = moment.at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
        table.add_row(at, hop, moment.where, moment.what, style=style)
    console.print(table)
    end = "the last event is in the view" if timeline.is_complete else "not in the view yet"
    console.print(f"{_milliseconds(timeline.total)} ms in {len(timeline.hops)} steps; {end}.")
    for (where, what), times in timeline.deliveries.items():
        console.print(f"{what} was delivered to {where} {times} times")
    console.print()


def _milliseconds(duration: timedelta) -> str:
    return f"{duration / timedelta(milliseconds=1):.1f}"


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


@contextmanager
def _status(title: str) -> Iterator[Callable[[str], None]]:
    """Shows that something is under way, at a terminal; the block can say what."""
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(f"{title} ...") as status:
        yield lambda text: status.update(f"{text} ...")


@contextmanager
def _step(title: str) -> Iterator[None]:
    with _status(title):
        yield


def _age(duration: timedelta) -> str:
    """`45 s`, `12 min`, `3 h`, `2 days`: in the largest unit that there is at least one of."""
    seconds = int(duration.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def main() -> None:
    """Exits 1 with one clear message for what the user can act on, 2 for wrong usage, 130 when interrupted."""
    try:
        cli(prog_name="python -m infra.ops", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        errors.print("Interrupted.")
        sys.exit(130)
    except (BotoCoreError, ClientError) as error:
        errors.print(explain(error), style="red", markup=False)
        sys.exit(1)
    except OperateError as error:
        errors.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
