"""The goals: each with its target, the reason of the target, and a sentence for the case that it is missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from order_history.view import RECENT_ORDERS
from tests.benchmarks import costs
from tests.benchmarks.calls import Counted
from tests.benchmarks.contention import Contention
from tests.benchmarks.costs import Usage, usd_per_million
from tests.benchmarks.functions import Layers, Measured, Start, Warm
from tests.benchmarks.growth import Growth, is_flat
from tests.benchmarks.losses import Losses
from tests.benchmarks.report import Goal
from tests.benchmarks.searches import PageCost
from tests.benchmarks.speed import LOADS, Speed, percentile, ratio_of_rounds
from tests.benchmarks.systems import BARE, BASELINE, DUAL_WRITE, INBOX, OURS, STATE_MACHINE

FRAMEWORKS = "validation, the domain model and PynamoDB compute what the peer does without"
SHARED_COSTS = (
    "the emulator's part of an order, nearly half of all, shrinks less; "
    "the view has two more indexes, for the search"
)
WAIT_PER_CALL_SECONDS = 0.010
"""Assumed for the answer of an AWS service to a function on AWS."""


def ratio(
    title: str,
    values: tuple[float, float],
    unit: str,
    reason: str,
    why: str = FRAMEWORKS,
    *,
    found: float | None = None,
    least: float = 0.0,
    most: float = float("inf"),
) -> Goal:
    """Return the goal that the first value is at least or at most so many times the second.

    `found`, if given, is the ratio that was measured, for example the median of several rounds' ratios.
    """
    ours, theirs = values
    found = ours / theirs if found is None else found
    target = f"at least {least:g} times" if least else f"at most {most:g} times"
    measured = f"{found:.2f} times ({ours:,.4g} and {theirs:,.4g} {unit})"
    return Goal(title, target, measured, least <= found <= most, reason, why)


def of_speed(speeds: Mapping[str, Speed], first_order_seconds: float) -> list[Goal]:
    """Compare rates, latencies and CPU with the peers that were measured."""
    ours = speeds[OURS.name]
    found = []
    for design, least, reason in (
        (BASELINE, 2.0, "a batch as the unit of work halves the work of an order"),
        (BARE, 0.9, "frameworks may cost a tenth against the same guarantees without them"),
        (INBOX, 1.5, "a message at a time costs more calls"),
        (DUAL_WRITE, 1.5, "batches make up for the outbox"),
    ):
        if theirs := speeds.get(design.name):
            title = f"Orders decided per second, against {design.title}"
            rates = ours.decided, theirs.decided
            why = SHARED_COSTS if design is BASELINE else FRAMEWORKS
            by_round = ratio_of_rounds(ours.decided_rates, theirs.decided_rates)
            found.append(ratio(title, rates, "per s", reason, why, found=by_round, least=least))
    for design, most, reason in (
        (INBOX, 1.0, "an order makes fewer calls"),
        (BARE, 1.25, "a quarter is the price of the frameworks"),
    ):
        for load in LOADS if design.name in speeds else ():
            title = f"POST to APPROVED, {load} load, p50, against {design.title}"
            both = ours, speeds[design.name]
            p50, theirs_p50 = (percentile(s.approved[load], 50) * 1000 for s in both)
            found.append(ratio(title, (p50, theirs_p50), "ms", reason, most=most))
    before = speeds.get(BASELINE.name)
    if before:
        total, share = (
            median(ours.total_cpu()),
            ratio_of_rounds(ours.total_cpu(), before.total_cpu()),
        )
        found.append(
            Goal(
                "CPU per decided order at 8 clients, all processes",
                f"at most 16 ms, or 0.5 times {BASELINE.title}",
                f"{total:.1f} ms, {share:.2f} times",
                total <= 16 or share <= 0.5,
                "processor time bounds the local stack's throughput and is billed on AWS",
                "half of it is the emulator's own, most of that for the POST",
            )
        )
        found.append(
            ratio(
                f"CPU of MongoDB per decided order, against {BASELINE.title}",
                (ours.cpu["MongoDB"], before.cpu["MongoDB"]),
                "ms",
                "two bulk writes per batch replace seven commands per order",
                "the embedded server's cost follows the number of documents, not of commands; "
                "the search has two indexes more",
                found=ratio_of_rounds(
                    *([r["MongoDB"] for r in s.cpu_rounds] for s in (ours, before))
                ),
                most=0.3,
            )
        )
    found.append(
        Goal(
            "First order after the start of the stack, POST to APPROVED",
            "at most 1 s",
            f"{first_order_seconds:.2f} s",
            first_order_seconds <= 1,
            "the functions are started before the stack reports that it runs",
            "the subscribers' processes are still starting when the order arrives",
        )
    )
    return found


def of_functions(
    starts: Mapping[Measured, Start],
    warms: Mapping[Measured, Warm],
    layers: Mapping[Measured, Layers],
) -> list[Goal]:
    """Compare each function by itself with boto3."""
    found = []
    for function, warm in warms.items():
        target, met = "at most 1.1 times", warm.ratio <= 1.1
        if function.most_milliseconds:
            target = f"at most {function.most_milliseconds:g} ms more"
            met = warm.ours - warm.bare <= function.most_milliseconds
        measured = f"{_against_bare(function, warm)} ({warm.ours:.2f} and {warm.bare:.2f} ms)"
        if warm.tuned:
            measured += f"; {_against_bare(function, warm.tuned)} if boto3 has our settings"
        found.append(
            Goal(
                f"CPU of one warm invocation of {function.logical_id}, against bare boto3",
                target,
                measured,
                met,
                "one event alone, so that no batch hides the frameworks",
                "typed events, Powertools' logger and metrics, PynamoDB's models",
            )
        )
    for function, start in starts.items():
        than = "the first call with its libraries" if function.is_api else "boto3's first call"
        limit = 50 if "Relay" in function.logical_id else 40
        found.append(
            Goal(
                f"Cold start of {function.logical_id}, first answer above {than}",
                f"at most {limit} ms",
                f"{start.first:.0f} ms; {start.init:.0f} ms until the handler is imported",
                start.first <= limit,
                "a cold start should be little more than that of the libraries",
                "imports of Powertools, PynamoDB and the project's own modules",
            )
        )
    for kind, limit in (("Subscriber", 8), ("Api", 20)):
        largest = max((s for f, s in layers.items() if kind in f.logical_id), key=lambda s: s.total)
        title, size, measured = kind, largest.total, f"{largest.total:.1f} MB"
        if kind == "Api":
            title, size = "Api, without bytecode", largest.total - largest.bytecode
            measured = f"{size:.1f} MB ({largest.total:.1f} MB with it)"
        found.append(
            Goal(
                f"Layers that a function loads, unzipped: {title}",
                f"at most {limit} MB",
                measured,
                size <= limit,
                "a function should load only the packages that it imports",
                "the layer of all functions has grown",
            )
        )
    return found


def _against_bare(function: Measured, warm: Warm) -> str:
    more = warm.ours - warm.bare
    return f"{more:.2f} ms more" if function.most_milliseconds else f"{warm.ratio:.2f} times"


def usage_of(counted: Counted) -> Usage:
    """Return the usage of one order on AWS."""
    per_order = counted.per_order
    calls = max(0, sum(counted.calls.values()) - counted.state_changes)
    return Usage(
        invocations=per_order(counted.invocations.total()),
        cpu_seconds=per_order(counted.cpu_seconds),
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
    found = []
    for name in ("write_units", "read_units", "events", "sqs_requests", "invocations"):
        expected, counted = getattr(costs.OURS, name), getattr(alone, name)
        # Two events may meet in one batch, or a late one be counted for the next order.
        tolerance = 0.08 if name in ("sqs_requests", "invocations") else 0.0
        target = f"{expected:g}" + (f", within {tolerance:.0%}" if tolerance else "")
        title = f"{name.replace('_', ' ').capitalize()} of one approved order, nothing batched"
        title = title.replace("Sqs", "SQS")
        met = abs(counted - expected) <= expected * tolerance
        reason = "the cost model of `make costs`"
        found.append(Goal(title, target, f"{counted:g}", met, reason, is_guard=True))
    return found


def of_calls(counted: Counted) -> Goal:
    """Limit the calls of one order under load."""
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
    """Compare prices with the designs that lose nothing either."""
    ours = usd_per_million(usages[OURS.name])
    title = "USD per million approved orders, nothing batched"
    why = "it computes and logs more per invocation"
    reason = "API, write and read units, events, messages and invocations cost 23.30; the rest is for computing and logs"
    goals = [Goal(title, "at most 26.50", f"{ours:.2f}", ours <= 26.5, reason, why)]
    limits = {
        f"less than {peer}": usd_per_million(usage)
        for peer, usage in (
            (INBOX.title, usages[INBOX.name]),
            (STATE_MACHINE.title, usages[STATE_MACHINE.name]),
            ("a Lambda durable function, by calculation", costs.DURABLE_FUNCTION),
        )
    }
    same = "the same guarantee: no order is lost"
    goals += [
        Goal(title, target, f"{ours:.2f} and {limit:.2f}", ours < limit, same, why)
        for target, limit in limits.items()
    ]
    return goals


def of_losses(found: Mapping[str, Losses]) -> list[Goal]:
    """Demand that kills lose no order of ours, and that they would lose some without an outbox."""
    ours, theirs = found[OURS.name], found[DUAL_WRITE.name]
    title = f"Orders lost when the function that accepts them is killed right after its write, {ours.kills} times"
    reason = "an accepted order and its event commit together"
    shown = "shows that the kills strike where a design without an outbox loses events"
    return [
        Goal(title, "0", str(ours.lost), ours.lost == 0, reason, is_guard=True),
        Goal(
            f"The same, of the {DUAL_WRITE.title}",
            "more than 0",
            str(theirs.lost),
            theirs.lost > 0,
            shown,
            is_guard=True,
        ),
    ]


def of_contention(orders: int, found: Contention) -> list[Goal]:
    """Compare a hot customer with as many customers as orders."""
    return [
        ratio(
            f"{orders} orders of one customer decided, against as many of {orders} customers",
            (found.one_customer, found.many_customers),
            "per s",
            "a batch changes the customer once, so it conflicts only with other batches",
            "concurrent batches of the same customer conflict and are decided again",
            least=0.7,
        ),
        Goal(
            "Messages of these orders that the queues redeliver, in all rounds",
            "0",
            str(found.retried),
            found.retried == 0,
            "a redelivery delays an order by a minute",
            "conflicts outlast the retries of an invocation",
        ),
    ]


def of_growth(found: Growth) -> list[Goal]:
    """Demand that the costs do not grow with the customer's orders."""
    # With fewer orders than the view keeps in a customer's document, a query has less to read.
    queries = {size: cost for size, cost in found.queries.items() if size >= RECENT_ORDERS}
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
                    _by_size(values),
                    is_flat(values, 0.1),
                    "the oldest customers must not become the slowest",
                    is_guard=True,
                )
            )
    return goals


def of_search(found: Mapping[int, PageCost]) -> list[Goal]:
    """Demand that the cost of a page does not grow with the number of customers."""
    commands = {size: cost.commands for size, cost in found.items()}
    times = {size: cost.milliseconds for size, cost in found.items()}
    reason = "a page reads ranges of indexes, each in its order"
    return [
        Goal(
            "Commands for one page of a search, by the number of customers",
            "flat, within a tenth",
            _by_size(commands),
            is_flat(commands, 0.1),
            reason,
            is_guard=True,
        ),
        Goal(
            "Milliseconds of one page of a search, by the number of customers",
            "at most twice as many",
            _by_size(times),
            is_flat(times, 1.0),
            reason,
            "the counts of several words end at 300 candidates, which the smallest size does not have",
        ),
    ]


def _by_size(values: Mapping[int, float]) -> str:
    return ", ".join(f"{size:,}: {value:,.1f}" for size, value in values.items())


def of_rebuild(rates: Mapping[str, float]) -> list[Goal]:
    """Compare the rebuild with the baseline's."""
    if BASELINE.name not in rates:
        return []
    return [
        ratio(
            f"Rebuild of the view, against {BASELINE.title}",
            (rates[OURS.name], rates[BASELINE.name]),
            "events per s",
            "a rebuild is part of repairs, and uses the same bulk writes",
            "the command also starts Python and polls the functions, which does not shrink",
            least=5,
        )
    ]


def by_load(speed: Speed) -> Sequence[str]:
    """Return the cells of a table: p50 / p95 in milliseconds of POST to APPROVED and to visible, by load."""
    series = [values[load] for load in LOADS for values in (speed.approved, speed.visible)]
    return [" / ".join(f"{percentile(s, p) * 1000:.0f}" for p in (50, 95)) for s in series]
