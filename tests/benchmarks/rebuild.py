"""`make bench-rebuild`: events per second of a rebuild of the view, and how that grows with their number.

The outboxes of a stack are filled directly while the relays are stopped, so that no event reaches the view through the
bus. Measured is the command that operators run: `infra.ops rebuild-history --drop`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from customers.events import CustomerCreated, CustomerCreditReserved
from infra.local.build import PROJECT
from infra.local.processes import handle_interrupts
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from orders.events import OrderApproved, OrderCreated, OrderEvent, OrderState
from shared.clock import format_instant, now
from shared.money import Money
from tests.benchmarks.systems import OURS, System

ORDERS_PER_CUSTOMER = 33
"""With three events each and the customer's own: a hundred events per customer."""
MAX_ITEMS = 25
"""Of one BatchWriteItem. Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html"""
WRITERS = 4
SEGMENTS = 4
FIRST_ID = 245_000_000_000_000
LIMIT = Money(1_000_000)
BIGGEST = 1_000_000

Item = dict[str, Any]
console = Console()


def _sizes(_context: Any, _parameter: Any, text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        raise click.BadParameter("numbers, separated by commas") from None
    if not all(0 < size <= BIGGEST for size in sizes):
        raise click.BadParameter(f"from 1 to {BIGGEST:,}")
    return sorted(sizes)


@click.command(help=__doc__)
@click.option("--events", envvar="EVENTS", default="1000,10000", show_default=True, callback=_sizes)
def main(events: list[int]) -> None:
    handle_interrupts()
    table = Table("events", "seconds", "events per second", title_justify="left")
    with TemporaryDirectory() as directory, System.start(OURS, Path(directory) / "stack") as system:
        for size, seconds in measure(system, PROJECT, events):
            table.add_row(f"{size:,}", f"{seconds:.1f}", f"{size / seconds:,.0f}")
            console.print(f"{size:,} events: {seconds:.1f} s, {size / seconds:,.0f} per second")
    console.print(table)


def measure(system: System, project: Path, sizes: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Fill the outboxes with each number of events. Yield all that they have, and the seconds of a rebuild.

    `project` has the operator's tool.
    """
    _stop_relays(system)
    _rebuild(system, project)  # starts the functions
    stored, history = 0, all_events()
    for size in sizes:
        fill(system, islice(history, size - stored))
        stored = size
        yield _count_events(system), _rebuild(system, project)


def _count_events(system: System) -> int:
    pages = system.dynamodb.get_paginator("scan")
    return sum(
        page["Count"]
        for service in ("Customers", "Orders")
        for page in pages.paginate(TableName=system.tables[f"{service}Outbox"], Select="COUNT")
    )


def _stop_relays(system: System) -> None:
    functions = system.client("lambda")
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        if "/stream/" in mapping["EventSourceArn"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


def fill(system: System, events: Iterator[DomainEventEnvelope]) -> None:
    """Write the events to their outboxes."""

    def write(batch: Sequence[DomainEventEnvelope]) -> None:
        requests: dict[str, list[Any]] = {}
        for envelope in batch:
            service = "Customers" if envelope.metadata.aggregate_type == "Customer" else "Orders"
            table = system.tables[f"{service}Outbox"]
            requests.setdefault(table, []).append({"PutRequest": {"Item": to_item(envelope)}})
        while requests:
            answer = system.dynamodb.batch_write_item(RequestItems=requests)
            requests = answer.get("UnprocessedItems", {})

    with ThreadPoolExecutor(WRITERS) as threads:
        batches = iter(lambda: list(islice(events, MAX_ITEMS)), [])
        for _ in threads.map(write, batches):
            pass


def _rebuild(system: System, project: Path) -> float:
    """Return the seconds of the command. Raises: subprocess.CalledProcessError."""
    # The baseline has the tool under its former name.
    tool = "infra.ops" if (project / "infra/ops").exists() else "infra.operate"
    command = [sys.executable, "-m", tool, "rebuild-history", "--drop", "--yes"]
    options = ["--segments", str(SEGMENTS), "--endpoint-url", system.stack.aws_endpoint_url]
    started = time.monotonic()
    subprocess.run([*command, *options], cwd=project, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def all_events() -> Iterator[DomainEventEnvelope]:
    """Yield, without end, the history of one customer after another, each with approved orders."""
    ids = count(FIRST_ID)
    while True:
        customer = next(ids)
        created = CustomerCreated(customer_id=customer, name="Jane Doe", credit_limit=LIMIT)
        yield DomainEventEnvelope.wrap(created, 1, Cause(f"customer {customer}"))
        for number in range(1, ORDERS_PER_CUSTOMER + 1):
            order = next(ids)
            available = Money(LIMIT.cents - 100 * number)
            steps = (
                (_order(OrderCreated, order, customer, OrderState.PENDING), 1),
                (
                    CustomerCreditReserved(
                        customer_id=customer, order_id=order, available_credit=available
                    ),
                    number + 1,
                ),
                (_order(OrderApproved, order, customer, OrderState.APPROVED), 2),
            )
            cause = Cause(f"order {order}")
            for event, version in steps:
                envelope = DomainEventEnvelope.wrap(event, version, cause)
                cause = envelope.cause_of_effects
                yield envelope


def _order(event: type[OrderEvent], order: int, customer: int, state: OrderState) -> OrderEvent:
    return event(
        order_id=order,
        customer_id=customer,
        order_total=Money(100),
        state=state,
        rejection_reason=None,
        created_at=now(),
    )


def to_item(envelope: DomainEventEnvelope) -> Item:
    """Return the event as an outbox item."""
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
