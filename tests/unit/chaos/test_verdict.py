"""The audit of the chaos suite finds what it is there to find."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.chaos.clients import Placed
from tests.chaos.scenario import Outcome
from tests.chaos.verdict import Evidence, Order, judge

APPROVED = Counter(["OrderCreated", "CustomerCreditReserved", "OrderApproved"])
REJECTED = Counter(["OrderCreated", "CustomerCreditReservationFailed", "OrderRejected"])
CANCELLED = APPROVED + Counter(["OrderCancelled", "CustomerCreditReleased"])

OUTCOME = Outcome(Placed(limits={1: Decimal(5)}, orders={10, 11, 12}, answers=3), struck=1)
GOOD = Evidence(
    orders={
        10: Order(1, "APPROVED", 500),
        11: Order(1, "REJECTED", 1),
        12: Order(1, "CANCELLED", 300),
    },
    told={10: APPROVED, 11: REJECTED, 12: CANCELLED},
    queue_depths={"queue": 0},
)


def but(order_id: int, order: Order | None = None, told: Counter[str] | None = None) -> Evidence:
    """What is good, but for this about one order."""
    return replace(
        GOOD,
        orders={**GOOD.orders, **({order_id: order} if order else {})},
        told={**GOOD.told, **({} if told is None else {order_id: told})},
    )


def test_nothing_is_found_where_all_is_well() -> None:
    verdict = judge(OUTCOME, GOOD)

    assert verdict.findings == ()
    assert (verdict.orders, verdict.lost, verdict.duplicated, verdict.over_limit) == (3, 0, 0, 0)


def test_an_accepted_order_that_is_not_there_is_lost() -> None:
    assert judge(OUTCOME, replace(GOOD, orders={10: GOOD.orders[10]})).lost == 2


def test_an_order_that_is_still_pending_counts_as_lost() -> None:
    verdict = judge(OUTCOME, but(10, Order(1, "PENDING", 500), Counter(["OrderCreated"])))

    assert verdict.lost == 1
    assert "order 10: decided 0 times" in verdict.findings


def test_an_order_that_nobody_was_promised_is_a_duplicate() -> None:
    assert judge(OUTCOME, but(13, Order(1, "REJECTED", 1), REJECTED)).duplicated == 1


def test_an_order_decided_both_ways_is_a_duplicate() -> None:
    verdict = judge(OUTCOME, but(10, told=APPROVED + Counter(["OrderRejected"])))

    assert verdict.duplicated == 1
    assert "order 10: decided 2 times" in verdict.findings


def test_one_id_given_to_two_requests_is_a_duplicate() -> None:
    twice = Outcome(replace(OUTCOME.placed, answers=4), struck=1)

    assert judge(twice, GOOD).duplicated == 1


def test_more_approved_than_the_limit_is_over_it() -> None:
    assert judge(OUTCOME, but(10, Order(1, "APPROVED", 501))).over_limit == 1


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (APPROVED + Counter(["CustomerCreditReservationFailed"]), "answered 2 times by Customers"),
        (APPROVED + Counter(["OrderCancelled"]), "cancelled, or its credit released, and not both"),
        (CANCELLED - Counter(["OrderCancelled"]), "cancelled, or its credit released, and not"),
    ],
)
def test_events_that_contradict_each_other_are_found(told: Counter[str], problem: str) -> None:
    assert any(problem in finding for finding in judge(OUTCOME, but(10, told=told)).findings)


@pytest.mark.parametrize(
    "evidence",
    [
        replace(GOOD, unpublished=frozenset({"an event"})),
        replace(GOOD, queue_depths={"queue": 1}),
        replace(GOOD, disagreements=["the view is behind"]),
    ],
)
def test_what_is_left_over_is_found(evidence: Evidence) -> None:
    assert judge(OUTCOME, evidence).findings


def test_a_fault_that_did_not_strike_has_shown_nothing() -> None:
    assert judge(Outcome(OUTCOME.placed, struck=0), GOOD).findings
