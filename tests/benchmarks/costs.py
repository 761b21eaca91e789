"""`make costs`: what the system costs on AWS, idle and per million approved orders. A calculation, not a bill.

The counts below follow from the code, for an order that is created over HTTP and approved, at a rate so low that
nothing is batched: the dearest case. `make bench` holds them against what it counts, and calculates the peers' costs
from their counts. MongoDB, data transfer, storage and free tiers are left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PRICES = json.loads((Path(__file__).parent / "prices.json").read_text())

MEMORY_MB = 512
FULL_CPU_MB = 1769
"""With so much memory a function has one processor, with less its share.
Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
SECONDS_PER_MONTH = 730 * 3600
POLLERS_PER_QUEUE, LONG_POLL_SECONDS = 5, 20
"""Of an idle queue. Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""
QUEUES_WITH_SUBSCRIBERS = 3


@dataclass(frozen=True)
class Usage:
    """What one order takes, on average."""

    api_requests: float
    invocations: float
    cpu_seconds: float
    """Of a whole processor, all invocations together."""
    waiting_seconds: float
    """For other services to answer."""
    write_units: float
    read_units: float
    events: float
    sqs_requests: float
    state_changes: float
    log_bytes: float
    memory_mb: float = MEMORY_MB
    architecture: str = "arm64"
    http_api: bool = False

    @property
    def lambda_seconds(self) -> float:
        """How long the invocations run, together, with that much memory."""
        return seconds_at(self.memory_mb, self.cpu_seconds, self.waiting_seconds)


@dataclass(frozen=True)
class Line:
    """So many units at a price."""

    service: str
    units: float
    price: str

    @property
    def usd(self) -> float:
        return self.units * float(PRICES["usd"][self.price])


OURS = Usage(
    api_requests=1,
    invocations=9,  # API, 3 x relay, 2 x subscriber, 3 x projection
    cpu_seconds=9 * 0.003,
    waiting_seconds=8 * 0.010,  # 3 transactions, 2 reads, 3 times PutEvents
    write_units=14,  # transactions of 2, 3 and 2 items below 1 KB, each item twice the units
    read_units=3,  # customer, reservation, order; consistent
    events=3,  # OrderCreated, CustomerCreditReserved, OrderApproved
    sqs_requests=15,  # 5 messages, each sent, received and deleted
    state_changes=0,
    log_bytes=9 * 900,  # a structured line, and Lambda's own START, END and REPORT
)


def lines(usage: Usage) -> list[Line]:
    """The bill of one order."""
    gb_seconds = usage.lambda_seconds * usage.memory_mb / 1024
    api = "api_gateway_http_request" if usage.http_api else "api_gateway_rest_request"
    return [
        Line("API Gateway", usage.api_requests, api),
        Line("Lambda", usage.invocations, "lambda_request"),
        Line("Lambda", gb_seconds, f"lambda_gb_second_{usage.architecture}"),
        Line("DynamoDB", usage.write_units, "dynamodb_write_unit"),
        Line("DynamoDB", usage.read_units, "dynamodb_read_unit"),
        Line("EventBridge", usage.events, "eventbridge_event"),
        Line("SQS", usage.sqs_requests, "sqs_request"),
        Line("Step Functions", usage.state_changes, "step_functions_state_transition"),
        Line("CloudWatch Logs", usage.log_bytes / 1e9, "cloudwatch_logs_gb"),
    ]


def usd_per_million(usage: Usage) -> float:
    return sum(line.usd for line in lines(usage)) * 1e6


def shares(usage: Usage) -> dict[str, float]:
    """Dollars per million orders by service; those that cost nothing are left out."""
    found: dict[str, float] = {}
    for line in lines(usage):
        if line.usd:
            found[line.service] = found.get(line.service, 0.0) + line.usd * 1e6
    return found


def seconds_at(memory_mb: float, cpu_seconds: float, waiting_seconds: float) -> float:
    """How long something runs that computes so long on a whole processor, and waits so long for others."""
    return cpu_seconds * max(1.0, FULL_CPU_MB / memory_mb) + waiting_seconds


@dataclass(frozen=True)
class Choice:
    """A choice that was made, or could be: what an order takes with it, and without it."""

    title: str
    is_made: bool
    chosen: Usage
    otherwise: Usage

    @property
    def usd_saved(self) -> float:
        """Per million orders, by the choice; for one not made, what it would save."""
        return usd_per_million(self.otherwise) - usd_per_million(self.chosen)


LAMBDA_PLATFORM_LOG_BYTES = 420
"""START, END and REPORT of one invocation."""


def choices(alone: Usage, batched: Usage) -> Sequence[Choice]:
    """What was chosen, held against its alternative. `alone`: one order at a time; `batched`: under load."""

    def made(title: str, **otherwise: Any) -> Choice:
        return Choice(title, is_made=True, chosen=alone, otherwise=replace(alone, **otherwise))

    def not_made(title: str, **chosen: Any) -> Choice:
        return Choice(title, is_made=False, chosen=replace(alone, **chosen), otherwise=alone)

    cpu, invocations, logs = alone.cpu_seconds, alone.invocations, alone.log_bytes
    of_each = logs / invocations
    return [
        made("arm64, not x86_64", architecture="x86_64"),
        made("512 MB, not 1,769 MB, a whole processor", memory_mb=FULL_CPU_MB),
        made(
            "the outbox is the inbox: no marker written and read for each of 2 messages",
            write_units=alone.write_units + 2 * 2,
            read_units=alone.read_units + 2 * 1,
        ),
        made(
            "filtered at the bus: Customers and Orders are sent 1 event of 3 each, not all of them",
            invocations=invocations + 4,
            sqs_requests=alone.sqs_requests + 4 * 3,
            log_bytes=logs + 4 * of_each,
            cpu_seconds=cpu + 4 * 0.001,  # to find out that it is nothing
        ),
        made(
            "a refusal is one put, not a transaction",
            write_units=alone.write_units + 0.1 * 1,  # if one order in ten is refused
        ),
        Choice(
            "batches of up to 100 records and 10 messages, under load",
            is_made=True,
            chosen=batched,
            otherwise=alone,
        ),
        not_made("256 MB, and half of the processor: each hop some 10 ms slower", memory_mb=256),
        not_made("an HTTP API, not a REST API", http_api=True),
        not_made(
            "no START, END and REPORT in the logs (JSON format, system level WARN)",
            log_bytes=logs - invocations * LAMBDA_PLATFORM_LOG_BYTES,
        ),
        not_made("no log line but for failures", log_bytes=invocations * LAMBDA_PLATFORM_LOG_BYTES),
        not_made(
            "a batching window of a second for the view: the events of an order come in one batch",
            invocations=invocations - 2,
            sqs_requests=alone.sqs_requests - 2 * 2,
            log_bytes=logs - 2 * LAMBDA_PLATFORM_LOG_BYTES,
        ),
        not_made(
            "the event inside the aggregate's item, whose stream is relayed: no outbox, one transaction of three",
            write_units=1 + 4 + 1,
        ),
        not_made(
            "the view fed by one event per order, not three: no PENDING orders in it, credit late",
            invocations=invocations - 2,
            sqs_requests=alone.sqs_requests - 2 * 3,
            log_bytes=logs - 2 * of_each,
            cpu_seconds=cpu * (1 - 2 / 9),
        ),
    ]


def idle_usd_per_month() -> float:
    polls = QUEUES_WITH_SUBSCRIBERS * POLLERS_PER_QUEUE * SECONDS_PER_MONTH / LONG_POLL_SECONDS
    return Line("SQS", polls, "sqs_request").usd


def main() -> None:
    title = f"One million approved orders, {PRICES['region']}, prices of {PRICES['date']}"
    table = Table("service", "units", "USD", title=title, title_justify="left")
    for line in lines(OURS):
        table.add_row(line.service, f"{line.units:g} M {line.price}", f"{line.usd * 1e6:.2f}")
    table.add_row("[b]all", "", f"[b]{usd_per_million(OURS):.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"Idle, per month: {idle_usd_per_month():.2f} USD (SQS: {POLLERS_PER_QUEUE} long polls at a time "
        f"on each of {QUEUES_WITH_SUBSCRIBERS} queues)."
    )


if __name__ == "__main__":
    main()
