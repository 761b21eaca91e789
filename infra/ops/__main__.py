"""The command line: python -m infra.ops COMMAND."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.deployed_stack import STACK_NAME
from infra.local.processes import handle_interrupts
from infra.ops.dead_letters import DeadLetterQueues, pick
from infra.ops.letter import GROUP_COLUMNS, LETTER_COLUMNS, Edit, Letter, age, describe, groups, row
from infra.ops.rebuild import HistoryRebuild
from infra.ops.stuck import PENDING, Diagnosis, StuckOrders, saga_of_letter
from infra.ops.target import OperateError, Target, explain
from infra.ops.timeline import trace_correlation, trace_order
from infra.terminal import complain, say, say_table, status

Command = Callable[..., None]
TARGETS = ("embedded", "localstack", "aws")
COUNT = click.IntRange(min=1)
FAILURES = (OperateError, BotoCoreError, ClientError)
MILLISECOND = timedelta(milliseconds=1)


@click.group()
def cli() -> None:
    """Operate the stack: dead letters, traces, stuck orders, the view."""


def option(variable: str, text: str, **rest: Any) -> Callable[[Command], Command]:
    """Make the option that a variable of make sets, too: `--dry-run` for DRY_RUN."""
    name = f"--{variable.lower().replace('_', '-')}"
    return click.option(name, envvar=variable, show_envvar=True, help=text, **rest)


def command(function: Command) -> Command:
    """Add a command. It gets the Target that TARGET, STACK_NAME and the ports choose."""

    @cli.command(function.__name__.replace("_", "-"))
    @option("TARGET", "Kind of stack", default="embedded", type=click.Choice(TARGETS))
    @option("STACK_NAME", "Name of the stack", default=STACK_NAME)
    @option("PORT", "Port of the embedded stack", default=4566)
    @option("LOCALSTACK_PORT", "Port of LocalStack", default=4566)
    @click.option("--endpoint-url", help="Endpoint of an emulator, instead of its port")
    @wraps(function)
    def with_target(
        *, target: str, stack_name: str, port: int, localstack_port: int, **rest: Any
    ) -> None:
        chosen = localstack_port if target == "localstack" else port
        function(target=Target.of(target, chosen, rest.pop("endpoint_url"), stack_name), **rest)

    return with_target


queue_option = option("QUEUE", "A dead-letter queue, for example orders-subscriber", default="")
message_option = option("MESSAGE", "Message id of one letter", default="")
limit_option = option("LIMIT", "Maximum number", default=1000, type=COUNT)
older_than_option = option("OLDER_THAN", "Age in seconds", default=60.0, type=click.FloatRange(0))
order_option = option("ORDER", "Id of an order", type=click.IntRange(1, 2**63 - 1))
yes_option = option("YES", "Do not ask", is_flag=True)


# --- Dead letters ----------------------------------------------------------------------------------------------------


@command
@queue_option
@option("SHOW", "Message id of the letter to show whole")
@option("SAVE", "File for the body of the letter that is shown", type=Path)
@limit_option
def dlq(*, target: Target, queue: str, show: str | None, save: Path | None, limit: int) -> None:
    """Show the dead letters by reason; each of one QUEUE; or one whole (SHOW=<message id>)."""
    queues = DeadLetterQueues(target)
    names = [queues.find(queue)] if queue else queues.names()
    if show:
        read = queues.read(names, lambda letters: [i for i in letters if i.id == show])
        letter = pick(chain(*read.values()), show)
        _show_letter(target, next(name for name in names if read[name]), letter)
        if save:
            save.write_text(letter.text, encoding="utf-8")
            say(f"The body is in {save}.")
        return
    with status("Reading the dead-letter queues"):
        depths = {name: queues.depth(name) for name in names}
        found = queues.read(names, lambda letters: list(islice(letters, limit)))
    if queue:
        say_table(LETTER_COLUMNS, map(row, found[names[0]]))
    else:
        say_table(GROUP_COLUMNS, chain(*(groups(*of_queue) for of_queue in found.items())))
    for name, letters in found.items():
        if depths[name] > len(letters):
            say(
                f"{name}: {len(letters)} of about {depths[name]} letters are shown. LIMIT={limit} is the "
                "maximum; letters that another reader holds are hidden."
            )
    if not any(found.values()) and not any(depths.values()):
        say(f"{len(names)} dead-letter queues, all empty.")


@command
@queue_option
@message_option
@option("EDIT", "File with a new body for the MESSAGE", type=Path)
@limit_option
@option("DRY_RUN", "Show the letters, send nothing", is_flag=True)
def redrive(
    *, target: Target, queue: str, message: str, edit: Path | None, limit: int, dry_run: bool
) -> None:
    """Send dead letters of a QUEUE back to where they came from. Exit with 1 if letters stay there."""
    if edit and not message:
        raise click.UsageError("EDIT needs MESSAGE=<message id>.")
    queues = DeadLetterQueues(target)
    name, new = queues.find(queue), Edit.of(edit, target) if edit else None
    sent, stayed, left = queues.redrive(name, limit, message, edit=new, dry_run=dry_run)
    verb = "would be sent" if dry_run else "sent"
    say(f"{name}: {sent} {verb} back, {stayed} stayed, {left} left.")
    if left:
        say(f"Letters that were not tried are over LIMIT={limit}, or another reader holds them.")
    sys.exit(1 if stayed or left else 0)


@command
@queue_option
@message_option
@yes_option
def discard(*, target: Target, queue: str, message: str, yes: bool) -> None:
    """Delete the dead letter MESSAGE of a QUEUE after showing it. Its event stays in the outbox table."""
    queues = DeadLetterQueues(target)
    name = queues.find(queue)
    with queues.receive(name) as letters:
        letter = pick(letters, message)
        _show_letter(target, name, letter)
        if not yes:
            click.confirm("Delete this letter?", abort=True)
        queues.delete(name, letter)
    say(f"{letter}: deleted")


def _show_letter(target: Target, queue: str, letter: Letter) -> None:
    for line in describe(queue, letter):
        say(line)
    try:
        for line in saga_of_letter(target, letter):
            say(line)
    except FAILURES as error:  # the letter itself is shown
        complain(f"Its saga cannot be read: {explain(error)}")


# --- Sagas -----------------------------------------------------------------------------------------------------------


@command
@order_option
@option("CORRELATION", "X-Correlation-Id of an answer", default="")
def trace(*, target: Target, order: int | None, correlation: str) -> None:
    """Show a saga as a timeline: ORDER=<id> or CORRELATION=<id>."""
    if bool(order) == bool(correlation):
        raise OperateError("Name one thing to trace: ORDER=<id> or CORRELATION=<id>.")
    with status("Reading the outboxes and the logs"):
        found = trace_order(target, order) if order else trace_correlation(target, correlation)
    for timeline in found:
        moments, hops = timeline.moments, timeline.hops
        day = f", {moments[0].at:%Y-%m-%d}" if moments else ""
        say(f"Correlation {timeline.correlation_id}{day}")
        rows = [
            (f"{step.at:%H:%M:%S.%f}"[:-3], f"+{hop / MILLISECOND:.0f}", step.where, step.what)
            for step, hop in zip(moments, hops, strict=True)
        ]
        say_table(("at (UTC)", "hop ms", "where", "what"), rows)
        end = "the last event is in the view" if timeline.is_complete else "not in the view yet"
        say(f"{sum(hops, timedelta()) / MILLISECOND:.0f} ms in {len(rows)} steps; {end}.")
        say("")


@command
@older_than_option
@limit_option
def stuck(*, target: Target, older_than: float, limit: int) -> None:
    """Show orders that are PENDING for longer than OLDER_THAN seconds, and why. Exit with 1 if there are any."""
    diagnoses, _ = _diagnose(StuckOrders(target), older_than, limit)
    rows = [(d.order.id, d.order.customer_id, age(d.order.created_at), d.reason) for d in diagnoses]
    say_table(("order", "customer", "pending for", "why"), rows)
    if diagnoses:
        say("`make resume` publishes the last event of each again.")
        sys.exit(1)


@command
@order_option
@older_than_option
@limit_option
def resume(*, target: Target, order: int | None, older_than: float, limit: int) -> None:
    """Publish the last event of stuck sagas again (ORDER=<id>: of one). Exit with 1 if some are not resumed."""
    orders, failed = StuckOrders(target), 0
    if order is None:
        diagnoses, failed = _diagnose(orders, older_than, limit)
    else:
        found = orders.order(order)
        if found is None:
            raise OperateError(f"There is no order {order}.")
        pending = found.state == PENDING
        diagnoses = [orders.diagnose(found) if pending else Diagnosis(found, "decided")]
    for diagnosis in diagnoses:
        try:
            succeeded, done = orders.resume(diagnosis)
        except FAILURES as error:
            succeeded, done = False, f"not resumed: {explain(error)}"
        failed += not succeeded
        say(f"order {diagnosis.order.id} ({diagnosis.reason}): {done}")
    sys.exit(1 if failed else 0)


def _diagnose(orders: StuckOrders, older_than: float, limit: int) -> tuple[list[Diagnosis], int]:
    """Return the oldest stuck orders with the reasons, and the number of the others."""
    with status("Looking for PENDING orders"):
        found = orders.older_than(timedelta(seconds=older_than))
        diagnoses = [orders.diagnose(order) for order in found[:limit]]
    if len(found) > limit:
        say(f"{len(found)} orders are PENDING for too long. These are the {limit} oldest.")
    if not found:
        say(f"No order is PENDING for longer than {older_than:g} s.")
    return diagnoses, len(found) - len(diagnoses)


# --- The view --------------------------------------------------------------------------------------------------------


@command
@option("DROP", "Delete the view first", is_flag=True)
@option("PARTIAL", "DROP, although events have expired from the outboxes", is_flag=True)
@yes_option
@option("RESTART", "Do not continue an interrupted rebuild", is_flag=True)
@option("SEGMENTS", "Parts of each outbox", default=4, type=COUNT)
def rebuild_history(
    *, target: Target, drop: bool, partial: bool, yes: bool, restart: bool, segments: int
) -> None:
    """Rebuild the order history view while the system runs. An interrupted rebuild continues with the next call."""
    rebuild = HistoryRebuild(target, parallel=2 * segments)
    parts = rebuild.invoke("progress")
    if days := rebuild.retention_days:
        gap = f"The outboxes keep events for {days} days (OutboxRetentionDays): a rebuild has no older ones."
        remedy = "Replay the archive for those that the view has lost: docs/operate.md, Replay the archive."
        if drop and not partial:
            raise OperateError(
                f"{gap} DROP=1 would leave a view without them; PARTIAL=1 deletes it all the same. {remedy}"
            )
        say(f"{gap} {remedy}")
    if drop and not yes:
        place = f"{target.stack_name} {target.place}"
        click.confirm(f"Delete the view of {place} first?", abort=True)
    if drop:
        rebuild.invoke("drop")
    if drop or restart:
        parts = []
    if parts:
        say("Continuing the rebuild that was interrupted.")
    try:
        rebuild.run(parts or rebuild.invoke("begin", segments=segments))
    except KeyboardInterrupt:
        say("Interrupted. `make rebuild-history` continues from here.")
        raise
    finally:
        say(rebuild.summary())


def main() -> None:
    """Exit with 1 and one line on a failure, with 2 on wrong usage, with 130 when interrupted."""
    handle_interrupts()  # a SIGTERM releases the letters that are held, like a Ctrl-C
    try:
        cli(prog_name="python -m infra.ops", standalone_mode=False)
    except click.ClickException as error:
        complain(f"Error: {error.format_message()}")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        complain("Interrupted.")
        sys.exit(130)
    except (*FAILURES, OSError) as error:
        complain(explain(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
