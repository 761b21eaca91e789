"""The audit after each scenario: compare what the API confirmed with tables, outboxes, view and queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.local.deployed_stack import STACK_NAME
from infra.ops.audit import audit, queue_depths
from tests.chaos.clients import Placed
from tests.chaos.system import TABLES, Item, System
from tests.model.histories import events_of, view_violations, violations

DECISIONS = {"OrderApproved", "OrderRejected"}


@dataclass
class Outcome:
    """The result of a scenario before the audit."""

    placed: Placed
    struck: int
    """How often the fault affected the system."""
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """The result of the audit. A scenario passes without findings."""

    struck: int
    orders: int
    lost: int
    duplicated: int
    over_limit: int
    findings: Sequence[str]


@dataclass(frozen=True)
class Evidence:
    """The state of the system after a scenario, with the data of all scenarios before it."""

    tables: Mapping[str, Sequence[Item]]
    view: Mapping[str, Sequence[Any]]
    queue_depths: Mapping[str, int] = field(default_factory=dict)
    """Number of messages by queue, dead-letter queues included."""
    disagreements: Sequence[str] = ()
    """Differences between the answers of the three services."""

    @classmethod
    def of(cls, system: System) -> Evidence:
        return cls(
            tables={table: list(system.items(table)) for table in TABLES},
            view=system.view(),
            queue_depths=queue_depths(system.sqs, STACK_NAME),
            disagreements=audit(system.api).findings,
        )


def judge(outcome: Outcome, evidence: Evidence) -> Verdict:
    """Compare the answers of the API with the evidence, and check the history of each aggregate."""
    placed, tables = outcome.placed, evidence.tables
    customers_outbox, orders_outbox = tables["CustomersOutbox"], tables["OrdersOutbox"]
    orders = {int(item["orderId"]["N"]): item for item in tables["Orders"]}
    lost = {i for i in placed.orders if i not in orders or orders[i]["state"]["S"] == "PENDING"}
    created = {i for i, item in orders.items() if int(item["customerId"]["N"]) in placed.limits}
    decisions = Counter(e.order_id for e in events_of(orders_outbox) if e.type in DECISIONS)
    duplicated = {i for i in created if i not in placed.orders or decisions[i] > 1}
    approved: Counter[int] = Counter()
    for item in orders.values():
        if item["state"]["S"] == "APPROVED":
            approved[int(item["customerId"]["N"])] += int(item["orderTotalCents"]["N"])
    over_limit = [i for i, limit in placed.limits.items() if approved[i] > limit * 100]
    findings = [
        *outcome.findings,
        *(f"order {i} was confirmed, and is missing or PENDING" for i in lost),
        *(f"order {i} was not confirmed, or was decided twice" for i in duplicated),
        *(f"customer {i} has more approved orders than credit" for i in over_limit),
        *(f"{depth} messages in {name}" for name, depth in evidence.queue_depths.items() if depth),
        *evidence.disagreements,
        *violations(
            tables["Customers"], customers_outbox, tables["Orders"], orders_outbox, finished=True
        ),
        *view_violations(evidence.view, customers_outbox, orders_outbox),
    ]
    repeated = placed.answers - len(placed.orders)
    if repeated:
        findings.append("two requests with different keys were answered with the same order")
    if not outcome.struck:
        findings.append("the fault affected nothing")
    return Verdict(
        struck=outcome.struck,
        orders=len(placed.orders),
        lost=len(lost),
        duplicated=len(duplicated) + repeated,
        over_limit=len(over_limit),
        findings=findings,
    )
