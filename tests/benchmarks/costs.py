"""`make costs`: the price of one million approved orders and of an idle month on AWS. A calculation, not a bill.

The counts below follow from the code, for an order that is created over HTTP and approved, at a rate so low that
nothing is batched: the most expensive case. `make bench` compares them with what it counts, and calculates the peers'
prices from their counts. MongoDB, data transfer, storage and free tiers are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.template import subscriptions

PRICES = json.loads((Path(__file__).parent / "prices.json").read_text())

MEMORY_MB = 512
FULL_CPU_MB = 1769
"""A function with this much memory has one processor, with less its share.
Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
SECONDS_PER_MONTH = 730 * 3600
POLLERS_PER_QUEUE, LONG_POLL_SECONDS = 5, 20
"""Of an idle queue. Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""
QUEUES_WITH_SUBSCRIBERS = len(subscriptions())
INDEX_WRITE_UNITS = 2
"""Of an order with ResumePendingOrders: it is inserted into the index of PENDING orders, and removed."""
READS_PER_SECOND_WAITED = 7
"""Of a request with `Prefer: wait`, in its first second (layers/common/rest_api/waiting.py)."""


@dataclass(frozen=True)
class Usage:
    """The usage of one order on average."""

    invocations: float
    cpu_seconds: float
    """Of a whole processor, all invocations together."""
    waiting_seconds: float
    """For answers of other services."""
    write_units: float
    read_units: float
    events: float
    sqs_requests: float
    log_bytes: float
    api_requests: float = 1
    state_changes: float = 0
    durable_operations: float = 0

    @property
    def lambda_seconds(self) -> float:
        """The duration of all invocations together with 512 MB."""
        return self.cpu_seconds * max(1.0, FULL_CPU_MB / MEMORY_MB) + self.waiting_seconds


OURS = Usage(
    invocations=9,  # API, 3 x relay, 2 x subscriber, 3 x projection
    cpu_seconds=9 * 0.003,
    waiting_seconds=8 * 0.010,  # 3 transactions, 2 reads, 3 x PutEvents
    write_units=14,  # transactions of 2, 3 and 2 items below 1 KB, two units per item
    read_units=2,  # customer, order; consistent
    events=3,  # OrderCreated, CustomerCreditReserved, OrderApproved
    sqs_requests=15,  # 5 messages, each sent, received and deleted
    log_bytes=9 * 440,  # one structured line with its metrics; no START, END and REPORT
)

DURABLE_FUNCTION = Usage(
    invocations=3,  # API, the durable function, projection
    cpu_seconds=3 * 0.003,
    waiting_seconds=9 * 0.010,  # start, 4 steps with a checkpoint each
    write_units=6,  # put of the order, transaction of customer and reservation, update of the order
    read_units=0,
    events=1,
    sqs_requests=3,
    log_bytes=3 * 620,
    durable_operations=5,  # the start, and 4 steps: record, reserve, approve, publish
)
"""The same saga as a Lambda durable function, by calculation: the emulator does not run one (docs/scaling.md)."""


@dataclass(frozen=True)
class Line:
    """Units at a price."""

    service: str
    units: float
    price: str

    @property
    def usd(self) -> float:
        return self.units * float(PRICES["usd"][self.price])


def lines(usage: Usage) -> list[Line]:
    """Return the bill of one order."""
    return [
        Line("API Gateway", usage.api_requests, "api_gateway_rest_request"),
        Line("Lambda", usage.invocations, "lambda_request"),
        Line("Lambda", usage.lambda_seconds * MEMORY_MB / 1024, "lambda_gb_second_arm64"),
        Line("DynamoDB", usage.write_units, "dynamodb_write_unit"),
        Line("DynamoDB", usage.read_units, "dynamodb_read_unit"),
        Line("EventBridge", usage.events, "eventbridge_event"),
        Line("SQS", usage.sqs_requests, "sqs_request"),
        Line("orchestration", usage.state_changes, "step_functions_state_transition"),
        Line("orchestration", usage.durable_operations, "lambda_durable_operation"),
        Line("CloudWatch Logs", usage.log_bytes / 1e9, "cloudwatch_logs_gb"),
    ]


def usd_per_million(usage: Usage) -> float:
    return sum(line.usd for line in lines(usage)) * 1e6


def shares(usage: Usage) -> dict[str, float]:
    """Return the dollars per million orders by service."""
    found: dict[str, float] = {}
    for line in lines(usage):
        found[line.service] = found.get(line.service, 0.0) + line.usd * 1e6
    return found


def idle_usd_per_month() -> float:
    polls = QUEUES_WITH_SUBSCRIBERS * POLLERS_PER_QUEUE * SECONDS_PER_MONTH / LONG_POLL_SECONDS
    return Line("SQS", polls, "sqs_request").usd


def waited_second_usd_per_million() -> float:
    gb_seconds = Line("Lambda", MEMORY_MB / 1024, "lambda_gb_second_arm64")
    reads = Line("DynamoDB", READS_PER_SECOND_WAITED, "dynamodb_read_unit")
    return (gb_seconds.usd + reads.usd) * 1e6


def main() -> None:
    title = f"One million approved orders, {PRICES['region']}, prices of {PRICES['date']}"
    table = Table("service", "units", "USD", title=title, title_justify="left")
    for line in lines(OURS):
        if line.units:
            table.add_row(line.service, f"{line.units:g} M {line.price}", f"{line.usd * 1e6:.2f}")
    table.add_row("[b]all", "", f"[b]{usd_per_million(OURS):.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"Idle, per month: {idle_usd_per_month():.2f} USD (SQS: {POLLERS_PER_QUEUE} long polls "
        f"on each of {QUEUES_WITH_SUBSCRIBERS} queues)."
    )
    index = Line("DynamoDB", INDEX_WRITE_UNITS, "dynamodb_write_unit").usd * 1e6
    console.print(f"With ResumePendingOrders, per million orders: {index:.2f} USD more.")
    second = waited_second_usd_per_million()
    console.print(f"Requests that wait for a second, per million: {second:.2f} USD more.")


if __name__ == "__main__":
    main()
