"""`make load-test`: create orders under load, then audit every one. Exits 1 if one is lost or a limit exceeded."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
import click
from rich.console import Console
from rich.table import Table

from infra.local.api_client import ApiClient, wait_until
from infra.local.deployed_stack import STACK_NAME
from infra.local.processes import handle_interrupts
from infra.local.stack import EmbeddedStack
from infra.ops.audit import audit, queue_depths

console = Console()


@click.command(help=__doc__)
@click.option("--orders", default=1000, show_default=True)
@click.option("--customers", default=20, show_default=True)
@click.option("--clients", default=8, show_default=True)
@click.option("--deadline", default=300, show_default=True, help="Seconds for all to be decided.")
def main(orders: int, customers: int, clients: int, deadline: int) -> None:
    handle_interrupts()
    with contextlib.ExitStack() as stack_of_contexts:
        with console.status("Starting a local stack"):
            directory = stack_of_contexts.enter_context(TemporaryDirectory())
            stack = stack_of_contexts.enter_context(
                EmbeddedStack.start(directory=Path(directory) / "stack")
            )
        api = stack_of_contexts.enter_context(ApiClient(stack.base_url))
        started = time.monotonic()
        with console.status(f"{orders} orders of {customers} customers by {clients} clients"):
            create_orders(api, orders, customers, clients)
        accepted = time.monotonic()
        sqs = boto3.client(
            "sqs",
            endpoint_url=stack.aws_endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        with console.status("Waiting until every order is decided and every queue empty"):
            wait_until(
                lambda: unfinished(api, sum(queue_depths(sqs, STACK_NAME).values())),
                lambda left: left == 0,
                deadline_seconds=deadline,
                pause_seconds=0.5,
            )
        settled = time.monotonic()
        with console.status("Comparing Customers, Orders, Order history"):
            found = audit(api)
        depths = queue_depths(sqs, STACK_NAME)
    table = Table("what", "value", title="Load test", title_justify="left")
    table.add_row("customers, orders", f"{found.customers}, {sum(found.orders_by_state.values())}")
    table.add_row(
        "orders by state",
        ", ".join(f"{count} {state}" for state, count in sorted(found.orders_by_state.items())),
    )
    table.add_row("accepted in", f"{accepted - started:.1f} s")
    table.add_row("all decided and all queues empty after", f"{settled - started:.1f} s")
    table.add_row(
        "messages left in queues and dead-letter queues", f"{sum(depths.values())} of {len(depths)}"
    )
    table.add_row("findings of the audit", str(len(found.findings)))
    console.print(table)
    for finding in found.findings:
        console.print(f"[red]{finding}")
    complete = sum(found.orders_by_state.values()) == orders and found.customers == customers
    sys.exit(0 if complete and not found.findings and not any(depths.values()) else 1)


def unfinished(api: ApiClient, queued: int) -> int:
    """Return the number of messages in queues or, once these are empty, of PENDING orders.

    Listing all orders costs the system more than deciding some of them, so it waits for the queues.
    """
    return queued or sum(order["orderState"] == "PENDING" for order in api.orders())


def create_orders(api: ApiClient, orders: int, customers: int, clients: int) -> None:
    """Create orders of random totals, about half of which the customers' limits allow."""
    random_numbers = random.Random(2026)
    limit = Decimal(orders) / customers * 50 / 2
    ids = [api.create_customer(f"Customer {number}", limit) for number in range(customers)]
    wanted = [
        (random_numbers.choice(ids), Decimal(random_numbers.randint(1, 10_000)) / 100)
        for _ in range(orders)
    ]
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda order: api.create_order(*order), wanted))


if __name__ == "__main__":
    main()
