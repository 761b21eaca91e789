"""The audit after each scenario: what was accepted, what became of it, and whether all agree."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from infra.local.deployed_stack import STACK_NAME
from infra.ops.audit import audit, queue_depths
from tests.chaos.scenario import Outcome
from tests.chaos.system import OUTBOXES, Item, System

DECISIONS = frozenset({"OrderApproved", "OrderRejected"})
ANSWERS_OF_CUSTOMERS = frozenset(
    {"CustomerCreditReserved", "CustomerCreditReservationFailed", "CustomerValidationFailed"}
)


@dataclass(frozen=True)
class Order:
    """An order as its table has it."""

    customer_id: int
    state: str
    total_cents: int


@dataclass(frozen=True)
class Verdict:
    """What a scenario has done to the orders placed in it. Findings are all that is not as it should be."""

    struck: int
    """How often the fault did; what never struck has shown nothing."""
    orders: int
    lost: int
    duplicated: int
    over_limit: int
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What is there after a scenario, however it came about."""

    orders: Mapping[int, Order]
    """By id: those of all scenarios so far."""
    told: Mapping[int, Counter[str]]
    """How often the outboxes have each type of event, by order."""
    unpublished: frozenset[str] = frozenset()
    """Ids of events in the outboxes that never reached the bus."""
    queue_depths: Mapping[str, int] = field(default_factory=dict)
    """Of all queues, dead-letter queues among them."""
    disagreements: Sequence[str] = ()
    """Between the three services, as the audit has found them over HTTP."""

    @classmethod
    def of(cls, system: System) -> Evidence:
        """Reads the tables, the outboxes, the queues and the API, all of them."""
        return cls(
            orders={
                int(item["orderId"]["N"]): Order(
                    int(item["customerId"]["N"]),
                    item["state"]["S"],
                    int(item["orderTotalCents"]["N"]),
                )
                for item in system.items("Orders")
            },
            told=_events_by_order(item for outbox in OUTBOXES for item in system.items(outbox)),
            unpublished=frozenset(system.unpublished()),
            queue_depths=queue_depths(system.sqs, STACK_NAME),
            disagreements=audit(system.api).findings,
        )


def judge(outcome: Outcome, evidence: Evidence) -> Verdict:
    """Compares what the API has promised with what there is."""
    placed, orders, told = outcome.placed, evidence.orders, evidence.told
    lost = {i for i in placed.orders if i not in orders or orders[i].state == "PENDING"}
    created = {i for i, order in orders.items() if order.customer_id in placed.limits}
    duplicates = (created - placed.orders) | {i for i in created if _is_told_twice(told[i])}
    over_limit = customers_over_limit(placed.limits, orders.values())
    findings = [
        *outcome.findings,
        *(f"order {i} was accepted, and is lost or PENDING" for i in lost),
        *(f"order {i} exists or happened twice: {dict(told[i])}" for i in duplicates),
        *(f"customer {i} has more approved orders than credit" for i in over_limit),
        *(f"order {i}: {problem}" for i in orders for problem in _contradictions(told[i])),
        *(f"event {event_id} was never published" for event_id in evidence.unpublished),
        *(
            f"{depth} messages are in {name}"
            for name, depth in evidence.queue_depths.items()
            if depth
        ),
        *evidence.disagreements,
    ]
    if placed.answers != len(placed.orders):
        findings.append("two requests with different keys were answered with the same order")
    if not outcome.struck:
        findings.append("the fault did not strike: this has shown nothing")
    return Verdict(
        struck=outcome.struck,
        orders=len(placed.orders),
        lost=len(lost),
        duplicated=len(duplicates) + placed.answers - len(placed.orders),
        over_limit=len(over_limit),
        findings=tuple(findings),
    )


def customers_over_limit(limits: Mapping[int, Decimal], orders: Iterable[Order]) -> list[int]:
    """The customers whose approved orders are worth more than their limit."""
    approved_cents: Counter[int] = Counter()
    for order in orders:
        if order.state == "APPROVED":
            approved_cents[order.customer_id] += order.total_cents
    return [i for i, limit in limits.items() if approved_cents[i] > limit * 100]


def _events_by_order(items: Iterable[Item]) -> defaultdict[int, Counter[str]]:
    """How often the outboxes have each type of event, for each order."""
    told: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for item in items:
        data = _data(item)
        if "orderId" in data:
            told[int(data["orderId"])][item["eventType"]["S"]] += 1
    return told


def _data(item: Item) -> Item:
    data: Item = json.loads(item["detail"]["S"])["data"]
    return data


def _is_told_twice(told: Counter[str]) -> bool:
    return any(count > 1 for count in told.values()) or _count(told, DECISIONS) > 1


def _contradictions(told: Counter[str]) -> list[str]:
    """What cannot be, if each order is decided once, by an answer of Customers, and its credit released once."""
    problems = []
    if _count(told, DECISIONS) != 1:
        problems.append(f"decided {_count(told, DECISIONS)} times")
    if _count(told, ANSWERS_OF_CUSTOMERS) != 1:
        problems.append(f"answered {_count(told, ANSWERS_OF_CUSTOMERS)} times by Customers")
    if told["OrderCancelled"] != told["CustomerCreditReleased"]:
        problems.append("cancelled, or its credit released, and not both")
    return problems


def _count(told: Counter[str], types: Iterable[str]) -> int:
    return sum(told[event_type] for event_type in types)
