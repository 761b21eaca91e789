"""The goals: each with its target, the reason of the target, and a sentence for the case that it is missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.benchmarks import costs
from tests.benchmarks.calls import Counted
from tests.benchmarks.contention import Contention
from tests.benchmarks.costs import Usage, usd_per_million
from tests.benchmarks.functions import Measured, Start, Warm
from tests.benchmarks.growth import Growth, is_flat
from tests.benchmarks.losses import Losses
from tests.benchmarks.report import Goal
from tests.benchmarks.speed import LOADS, Speed, percentile
from tests.benchmarks.systems import BARE, BASELINE, DUAL_WRITE, INBOX, OURS, STATE_MACHINE

COSTS_MORE = "it is more expensive on AWS by calculation; see the table of prices"
COMPUTES_MORE = "on two shared processors, what validation, the domain model and PynamoDB compute is missing elsewhere"
WAIT_PER_CALL_SECONDS = 0.010
"""Assumed for the answer of an AWS service to a function on AWS."""


def of_speed(speeds: Mapping[str, Speed], first_order_seconds: float) -> list[Goal]:
    ours = speeds[OURS.name]
    goals = []
    for design, factor, reason in (
        (BASELINE, 2.0, "a batch as the unit of work halves the work of an order"),
        (BARE, 0.9, "the frameworks may cost a tenth against the same guarantees without them"),
        (INBOX, 1.5, "a message at a time costs more calls"),
        (DUAL_WRITE, 1.5, "batches make up for the outbox"),
    ):
        if theirs := speeds.get(design.name):
            ratio = ours.decided / theirs.decided
            goals.append(
                Goal(
                    f"Orders decided per second, against {design.title}",
                    f"at least {factor} times",
                    f"{ratio:.2f} times ({ours.decided:.0f} and {theirs.decided:.0f})",
                    ratio >= factor,
                    reason,
                    COMPUTES_MORE,
                )
            )
    for design, limit, reason in (
        (INBOX, 1.0, "an order makes fewer calls"),
        (BARE, 1.25, "a quarter is the price of the frameworks"),
    ):
        for load in LOADS if design.name in speeds else ():
            ratio = percentile(ours.approved[load], 50) / percentile(
                speeds[design.name].approved[load], 50
            )
            goals.append(
                Goal(
                    f"POST to APPROVED, {load} load, p50, against {design.title}",
                    f"at most {limit} times",
                    f"{ratio:.2f} times",
                    ratio <= limit,
                    reason,
                    COMPUTES_MORE,
                )
            )
    goals += _of_cpu(ours, speeds.get(BASELINE.name))
    goals.append(
        Goal(
            "First order after the start of the stack, POST to APPROVED",
            "at most 1 s",
            f"{first_order_seconds:.2f} s",
            first_order_seconds <= 1,
            "the functions are started before the stack reports that it runs",
            "the processes of the subscribers are still starting when the order arrives",
        )
    )
    return goals


def _of_cpu(ours: Speed, before: Speed | None) -> list[Goal]:
    if before is None or not ours.cpu or not before.cpu:
        return []
    total, total_before = sum(ours.cpu.values()), sum(before.cpu.values())
    mongodb, mongodb_before = ours.cpu["MongoDB"], before.cpu["MongoDB"]
    return [
        Goal(
            "CPU per decided order at 8 clients, all processes",
            f"at most 16 ms, or 0.5 times {BASELINE.title}",
            f"{total:.1f} ms, {total / total_before:.2f} times",
            total <= 16 or total <= 0.5 * total_before,
            "processor time bounds the throughput of the local stack and is billed on AWS",
            "the emulator delivers small batches, so an order shares its invocations with few others",
        ),
        Goal(
            "CPU of MongoDB per decided order",
            f"at most 0.3 times {BASELINE.title}",
            f"{mongodb / mongodb_before:.2f} times ({mongodb:.1f} and {mongodb_before:.1f} ms)",
            mongodb <= 0.3 * mongodb_before,
            "two bulk writes per batch replace seven commands per order",
            "the embedded server's cost follows the documents written, of which an order still has several",
        ),
    ]


def of_functions(
    starts: Mapping[Measured, Start],
    warms: Mapping[Measured, Warm],
    layers: Mapping[Measured, float],
) -> list[Goal]:
    goals = []
    for function, warm in warms.items():
        limit = 1.1
        if function.is_api:
            limit = 1.6 if "History" in function.logical_id else 1.3
        goals.append(
            Goal(
                f"CPU of one warm invocation of {function.logical_id}, against bare boto3",
                f"at most {limit} times",
                f"{warm.ratio:.2f} times ({warm.ours:.2f} and {warm.bare:.2f} ms)",
                warm.ratio <= limit,
                "one event alone, so that no batch hides the frameworks",
                "Powertools' routing and pydantic's validation"
                if function.is_api
                else "decoding into typed events, PynamoDB's models and Powertools' logger",
            )
        )
    for function, start in starts.items():
        limit = 100 if function.is_api else 50 if "Relay" in function.logical_id else 40
        goals.append(
            Goal(
                f"Cold start of {function.logical_id}, first answer above boto3's first call",
                f"at most {limit} ms",
                f"{start.first:.0f} ms ({start.init:.0f} ms of it imports)",
                start.first <= limit,
                "a cold start should be little more than the SDK's own",
                "imports of Powertools, PynamoDB and, in the APIs, pydantic",
            )
        )
    for kind, megabytes_limit in (("Subscriber", 8), ("Api", 20)):
        largest = max(size for f, size in layers.items() if kind in f.logical_id)
        goals.append(
            Goal(
                f"Layers that a function loads, unzipped: {kind}",
                f"at most {megabytes_limit} MB",
                f"{largest:.1f} MB",
                largest <= megabytes_limit,
                "a function should load only the packages that it imports",
                "all functions share one layer of dependencies",
            )
        )
    return goals


def usage_of(counted: Counted) -> Usage:
    """Return the usage of one order on AWS.

    Where processor time cannot be measured, the emulator's durations are taken, which include waiting.
    """
    per_order = counted.per_order
    computing = counted.cpu_seconds
    if computing is None:
        computing = counted.reported_milliseconds / 1000
    by_machines = counted.state_changes
    calls = max(0, sum(counted.calls.values()) - by_machines)
    return Usage(
        invocations=per_order(counted.invocations.total()),
        cpu_seconds=per_order(computing),
        waiting_seconds=per_order(calls * WAIT_PER_CALL_SECONDS),
        write_units=per_order(counted.write_units),
        read_units=per_order(counted.read_units),
        events=per_order(counted.events),
        sqs_requests=per_order(counted.sqs_requests),
        log_bytes=per_order(counted.log_bytes),
        state_changes=per_order(counted.state_changes),
    )


def of_counts(alone: Usage) -> list[Goal]:
    """Compare the counts of one order with the cost model."""
    goals = []
    for name, title in (
        ("write_units", "Write units"),
        ("read_units", "Read units"),
        ("events", "Events"),
        ("sqs_requests", "SQS requests"),
        ("invocations", "Invocations"),
    ):
        expected, found = getattr(costs.OURS, name), getattr(alone, name)
        # Two events may meet in one batch, or a late one be counted for the next order.
        tolerance = 0.08 if name in ("sqs_requests", "invocations") else 0.0
        goals.append(
            Goal(
                f"{title} of one approved order, nothing batched",
                f"{expected:g}",
                f"{found:g}",
                abs(found - expected) <= expected * tolerance,
                "the cost model of `make costs`",
                is_guard=True,
            )
        )
    return goals


def of_calls(counted: Counted) -> Goal:
    calls = counted.per_order(sum(counted.calls.values()))
    return Goal(
        "Calls to DynamoDB and EventBridge per order at 8 clients",
        "at most 2.2",
        f"{calls:.2f}",
        calls <= 2.2,
        "one transaction for the POST; all other calls are shared by a batch",
        "the emulator delivers a message as soon as it arrives, so that batches stay small",
    )


def of_money(usages: Mapping[str, Usage]) -> list[Goal]:
    ours = usd_per_million(usages[OURS.name])
    goals = [
        Goal(
            "USD per million approved orders, nothing batched",
            "at most 26.50",
            f"{ours:.2f}",
            ours <= 26.5,
            "the price with JSON logs without START, END and REPORT",
            "CloudWatch Logs and Lambda: see the table of prices",
        )
    ]
    theirs = {
        INBOX.title: usages[INBOX.name],
        STATE_MACHINE.title: usages[STATE_MACHINE.name],
        "a Lambda durable function, by calculation": costs.DURABLE_FUNCTION,
    }
    for title, usage in theirs.items():
        usd = usd_per_million(usage)
        goals.append(
            Goal(
                f"USD per million approved orders, against {title}",
                "cheaper",
                f"{ours:.2f} and {usd:.2f}",
                ours < usd,
                "the same guarantee, that no order is lost",
                COSTS_MORE,
            )
        )
    return goals


def of_losses(found: Mapping[str, Losses]) -> list[Goal]:
    ours, theirs = found[OURS.name], found[DUAL_WRITE.name]
    return [
        Goal(
            f"Orders lost when the function that accepts them is killed {ours.kills} times",
            "0",
            str(ours.lost),
            ours.lost == 0,
            "an accepted order and its event commit together",
            is_guard=True,
        ),
        Goal(
            f"The same kills lose orders of the {DUAL_WRITE.title}",
            "more than 0",
            str(theirs.lost),
            theirs.lost > 0,
            "shows that the kills strike where a design without an outbox loses events",
            is_guard=True,
        ),
    ]


def of_contention(orders: int, found: Contention) -> list[Goal]:
    ratio = found.one_customer / found.many_customers
    rates = f"{found.one_customer:.0f} and {found.many_customers:.0f} per second"
    return [
        Goal(
            f"{orders} orders of one customer, against as many of {orders} customers",
            "at least 0.7 times",
            f"{ratio:.2f} times ({rates})",
            ratio >= 0.7,
            "a batch changes the customer once, so a hot customer conflicts only with other batches",
            "concurrent batches of the same customer conflict and are decided again",
        ),
        Goal(
            f"Messages that the queues redeliver for these {orders} orders",
            "0",
            str(found.retried),
            found.retried == 0,
            "a redelivery delays an order by a minute",
            "conflicts outlast the retries of an invocation",
        ),
    ]


def of_growth(found: Growth) -> list[Goal]:
    # With fewer orders than the view keeps in a customer's document, a query has less to read.
    queries = {size: cost for size, cost in found.queries.items() if size >= 100}
    goals = []
    for title, by_size, names in (
        ("order", found.orders, ("calls", "bytes", "units")),
        ("query of the history", queries, ("calls", "bytes")),
    ):
        for name in names:
            values = {size: float(getattr(cost, name)) for size, cost in by_size.items()}
            goals.append(
                Goal(
                    f"{name.capitalize()} of one {title}, by the number of the customer's orders",
                    "flat, within a tenth",
                    ", ".join(f"{size:,}: {value:,.1f}" for size, value in values.items()),
                    is_flat(values, 0.1),
                    "the oldest customers must not become the slowest",
                    is_guard=True,
                )
            )
    return goals


def of_rebuild(ours: float, before: float | None) -> list[Goal]:
    if before is None:
        return []
    return [
        Goal(
            "Rebuild of the view, events per second",
            f"at least 5 times {BASELINE.title}",
            f"{ours / before:.1f} times ({ours:,.0f} and {before:,.0f})",
            ours >= 5 * before,
            "a rebuild is part of repairs, and uses the same bulk writes",
            "the command also starts Python and polls the functions, which does not shrink",
        )
    ]


def by_load(speed: Speed) -> Sequence[str]:
    """Return the cells of a table: p50 / p95 in milliseconds of POST to APPROVED and to visible, by load."""
    series = [values[load] for load in LOADS for values in (speed.approved, speed.visible)]
    return [" / ".join(f"{percentile(s, p) * 1000:.0f}" for p in (50, 95)) for s in series]
