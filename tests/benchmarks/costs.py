"""`make costs`: what the system costs on AWS, idle and per million approved orders. A calculation, not a bill.

The counts follow from the code, for an order that is created over HTTP and approved, at a rate so low that
nothing is batched: the dearest case. MongoDB, data transfer and free tiers are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

PRICES = json.loads((Path(__file__).parent / "prices.json").read_text())

MEMORY_GB = 0.5
MILLISECONDS_PER_INVOCATION = 20
LOG_BYTES_PER_INVOCATION = 900
"""One structured line, and Lambda's own START, END and REPORT."""
SECONDS_PER_MONTH = 730 * 3600
POLLERS_PER_QUEUE, LONG_POLL_SECONDS = 5, 20
"""Of an idle queue. Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""
QUEUES_WITH_SUBSCRIBERS = 3


@dataclass(frozen=True)
class Line:
    """So many units at a price, and why so many."""

    service: str
    units: float
    price: str
    why: str

    @property
    def usd(self) -> float:
        return self.units * float(PRICES["usd"][self.price])


INVOCATIONS = 9  # API; relay of 3 events; subscribers of 2; projection of 3
PER_ORDER = [
    Line("API Gateway", 1, "api_gateway_rest_request", "POST /orders"),
    Line("Lambda", INVOCATIONS, "lambda_request", "API, 3 x relay, 2 x subscriber, 3 x projection"),
    Line(
        "Lambda",
        INVOCATIONS * MEMORY_GB * MILLISECONDS_PER_INVOCATION / 1000,
        "lambda_gb_second_arm64",
        f"each {MILLISECONDS_PER_INVOCATION} ms with {MEMORY_GB} GB",
    ),
    Line(
        "DynamoDB",
        14,
        "dynamodb_write_unit",
        "transactions of 2, 3 and 2 items below 1 KB, each item twice the units",
    ),
    Line("DynamoDB", 3, "dynamodb_read_unit", "customer, reservation, order; consistent"),
    Line(
        "EventBridge", 3, "eventbridge_event", "OrderCreated, CustomerCreditReserved, OrderApproved"
    ),
    Line("SQS", 15, "sqs_request", "5 messages, each sent, received and deleted"),
    Line(
        "CloudWatch Logs",
        INVOCATIONS * LOG_BYTES_PER_INVOCATION / 1e9,
        "cloudwatch_logs_gb",
        f"{LOG_BYTES_PER_INVOCATION} bytes per invocation",
    ),
]
IDLE_MONTH = [
    Line(
        "SQS",
        QUEUES_WITH_SUBSCRIBERS * POLLERS_PER_QUEUE * SECONDS_PER_MONTH / LONG_POLL_SECONDS,
        "sqs_request",
        f"{POLLERS_PER_QUEUE} long polls at a time on each of {QUEUES_WITH_SUBSCRIBERS} queues",
    )
]


def main() -> None:
    table = Table(
        "service",
        "units",
        "USD",
        "why",
        title=f"One million approved orders, {PRICES['region']}, prices of {PRICES['date']}",
        title_justify="left",
    )
    for line in PER_ORDER:
        table.add_row(line.service, f"{line.units:g} M", f"{line.usd * 1e6:.2f}", line.why)
    table.add_row("[b]all", "", f"[b]{sum(line.usd for line in PER_ORDER) * 1e6:.2f}", "")
    console = Console()
    console.print(table)
    idle = sum(line.usd for line in IDLE_MONTH)
    console.print(
        f"Idle, per month: {idle:.2f} USD ({IDLE_MONTH[0].service}: {IDLE_MONTH[0].why})."
    )


if __name__ == "__main__":
    main()
