"""`make bench-rebuild`: how many events per second the view is rebuilt from, and how that grows with their number.

The outboxes of a stack of its own are filled directly, with the relays stopped: else every event would go through
the bus and into the view as well. What is measured is `make rebuild-history DROP=1` as its user has it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from customers.events import CustomerCreated, CustomerCreditReserved
from infra.local.build import PROJECT
from infra.local.deployed_stack import STACK_NAME
from infra.local.stack import EmbeddedStack
from infra.ops.target import Target
from messaging.domain_event import Cause, DomainEvent
from messaging.envelope import DomainEventEnvelope
from orders.events import OrderApproved, OrderCreated, OrderEvent, OrderState
from shared.clock import format_instant
from shared.money import Money

ORDERS_PER_CUSTOMER = 33
"""With three events each and the customer's own, a hundred events per customer."""
MAX_ITEMS = 25
"""Of one BatchWriteItem."""
WRITERS = 4
FIRST_ID = 245_000_000_000_000
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
BIGGEST = 1_000_000

Item = dict[str, Any]
console = Console()


def _sizes(_context: Any, _parameter: Any, text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        raise click.BadParameter("numbers, with commas between them") from None
    if not all(0 < size <= BIGGEST for size in sizes):
        raise click.BadParameter(f"from 1 to {BIGGEST:,}")
    return sorted(sizes)


@click.command(help=__doc__)
@click.option("--events", envvar="EVENTS", default="1000,10000", show_default=True, callback=_sizes)
@click.option("--segments", envvar="SEGMENTS", default=4, show_default=True)
def main(events: list[int], segments: int) -> None:
    table = Table("events", "seconds", "events per second", "documents", title_justify="left")
    table.title = f"make rebuild-history DROP=1, {segments} segments of each outbox"
    with ExitStack() as contexts:
        with console.status("Starting an embedded stack of its own"):
            directory = Path(contexts.enter_context(TemporaryDirectory()))
            stack = contexts.enter_context(EmbeddedStack.start(directory=directory / "stack"))
            target = Target.of("embedded", 0, stack.aws_endpoint_url, STACK_NAME)
            stop_relays(target)
            rebuild(stack, segments)  # the functions have started, which is not measured
        stored, history = 0, all_events()
        for size in events:
            with console.status(f"Writing {size - stored:,} events"):
                fill(target, islice(history, size - stored))
            stored = size
            with console.status(f"Rebuilding the view from {size:,} events"):
                seconds = rebuild(stack, segments)
            rate, documents = size / seconds, count_documents(stack)
            table.add_row(f"{size:,}", f"{seconds:.1f}", f"{rate:,.0f}", f"{documents:,}")
            console.print(f"{size:,} events: {seconds:.1f} s, {rate:,.0f} per second")
    console.print(table)


def stop_relays(target: Target) -> None:
    """Nothing that is written to the outboxes from now on is published."""
    functions = target.client("lambda")
    for service in ("Customers", "Orders"):
        name = target.resource(f"{service}OutboxRelayFunction")
        mappings = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        for mapping in mappings:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


def fill(target: Target, events: Iterator[DomainEventEnvelope]) -> None:
    """The events are in their outboxes."""
    dynamodb = target.client("dynamodb")

    def write(batch: Sequence[DomainEventEnvelope]) -> None:
        requests: dict[str, list[Any]] = {}
        for envelope in batch:
            service = "Customers" if envelope.metadata.aggregate_type == "Customer" else "Orders"
            table = target.resource(f"{service}Outbox")
            requests.setdefault(table, []).append({"PutRequest": {"Item": to_item(envelope)}})
        while requests:
            requests = dynamodb.batch_write_item(RequestItems=requests).get("UnprocessedItems", {})

    with ThreadPoolExecutor(WRITERS) as threads:
        batches = iter(lambda: list(islice(events, MAX_ITEMS)), [])
        for _ in threads.map(write, batches):
            pass


def rebuild(stack: EmbeddedStack, segments: int) -> float:
    """How many seconds the command took. Raises: subprocess.CalledProcessError if it failed."""
    command = [sys.executable, "-m", "infra.ops", "rebuild-history", "--drop", "--yes"]
    options = ["--segments", str(segments), "--endpoint-url", stack.aws_endpoint_url]
    started = time.monotonic()
    subprocess.run([*command, *options], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def count_documents(stack: EmbeddedStack) -> int:
    with MongoClient[Item](stack.mongodb_uri) as client:
        database = client.get_default_database()
        return sum(database[name].count_documents({}) for name in ("customers", "orders"))


def all_events() -> Iterator[DomainEventEnvelope]:
    """The history of one customer after another, each with their approved orders; there is no end to it."""
    ids, milliseconds = count(FIRST_ID), count()

    def wrap(event: DomainEvent, version: int, cause: Cause) -> DomainEventEnvelope:
        envelope = DomainEventEnvelope.wrap(event, version, cause)
        occurred_at = STARTED + timedelta(milliseconds=next(milliseconds))
        return replace(envelope, metadata=replace(envelope.metadata, occurred_at=occurred_at))

    while True:
        customer, limit = next(ids), Money(1_000_000)
        created = CustomerCreated(customer_id=customer, name="Jane Doe", credit_limit=limit)
        yield wrap(created, 1, Cause(f"request of customer {customer}"))
        for number in range(1, ORDERS_PER_CUSTOMER + 1):
            order, cause = next(ids), Cause(f"request of order {number} of customer {customer}")
            placed = wrap(_order(OrderCreated, order, customer, OrderState.PENDING), 1, cause)
            yield placed
            available = Money(limit.cents - 100 * number)
            reserved = wrap(
                CustomerCreditReserved(
                    customer_id=customer, order_id=order, available_credit=available
                ),
                number + 1,
                placed.cause_of_effects,
            )
            yield reserved
            approved = _order(OrderApproved, order, customer, OrderState.APPROVED)
            yield wrap(approved, 2, reserved.cause_of_effects)


def _order(event: type[OrderEvent], order: int, customer: int, state: OrderState) -> OrderEvent:
    return event(
        order_id=order,
        customer_id=customer,
        order_total=Money(100),
        state=state,
        rejection_reason=None,
        created_at=STARTED,
    )


def to_item(envelope: DomainEventEnvelope) -> Item:
    """The event as its service writes it to its outbox."""
    metadata = envelope.metadata
    texts = {
        "aggregateId": metadata.aggregate_id,
        "eventId": metadata.event_id,
        "source": envelope.event.source,
        "eventType": envelope.event_type,
        "occurredAt": format_instant(metadata.occurred_at),
        "correlationId": metadata.correlation_id,
        "detail": envelope.to_detail(),
    }
    version = {"aggregateVersion": {"N": str(metadata.aggregate_version)}}
    return {name: {"S": text} for name, text in texts.items()} | version


if __name__ == "__main__":
    main()
