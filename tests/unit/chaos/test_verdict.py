"""The audit of `make chaos` finds lost, duplicated and contradictory orders, and unfinished work."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.clients import Placed
from tests.chaos.system import TABLES
from tests.chaos.verdict import Evidence, Outcome, Verdict, judge
from tests.model.system import CUSTOMERS, ORDERS, VIEW, System, event_type

OUTCOME = Outcome(Placed(limits={1: Decimal(5)}, orders={11, 12, 13}, answers=3), struck=1)


@pytest.fixture(scope="module")
def good() -> Evidence:
    """Run the shipped code: of a limit of 5, order 11 gets 3 (APPROVED), 12 is REJECTED, 13 is CANCELLED."""
    system = System()

    def deliver_all() -> None:
        for subscriber in (CUSTOMERS, ORDERS, VIEW):
            events = [*system.published(CUSTOMERS), *system.published(ORDERS)]
            wanted = system.subscriptions[subscriber]
            system.deliver(subscriber, [body for _, body in events if event_type(body) in wanted])

    with system.deterministic():
        system.next_id = 1
        system.create_customer("Jane", 500, "customer")
        for order_id, total in ((11, 300), (12, 300), (13, 100)):
            system.next_id = order_id
            system.create_order(1, total, f"order {order_id}")
            deliver_all()
        system.cancel_order(13, "cancel")
        deliver_all()
    stores = {"Customers": system.customers, "Orders": system.orders}
    tables = {name: stores[name.removesuffix("Outbox")].all(name) for name in TABLES}
    view = {name: system.view.all(name) for name in system.view.list_collection_names()}
    return Evidence(tables, view, queue_depths={"queue": 0})


def order(tables: Any, order_id: int) -> Any:
    return next(item for item in tables["Orders"] if item["orderId"]["N"] == str(order_id))


def test_correct_run_has_no_findings(good: Evidence) -> None:
    assert judge(OUTCOME, good) == Verdict(1, 3, 0, 0, 0, [])


def test_unconfirmed_order_and_repeated_id_are_duplicates(good: Evidence) -> None:
    unconfirmed = replace(OUTCOME, placed=replace(OUTCOME.placed, orders={11, 12}, answers=2))
    repeated = replace(OUTCOME, placed=replace(OUTCOME.placed, answers=4))

    for outcome in (unconfirmed, repeated):
        verdict = judge(outcome, good)
        assert verdict.duplicated == 1
        assert len(verdict.findings) == 1


Change = Callable[[Any], object]
FAULTS: list[tuple[Change, tuple[int, int, int], str]] = [
    (lambda t: t["Orders"].remove(order(t, 12)), (1, 0, 0), "12: it has events and no item"),
    (lambda t: order(t, 12).update(state={"S": "PENDING"}), (1, 0, 0), "12: still PENDING"),
    (lambda t: t["OrdersOutbox"].extend(t["OrdersOutbox"]), (0, 3, 0), "12: its history is"),
    (lambda t: order(t, 11).update(orderTotalCents={"N": "501"}), (0, 0, 1), "more approved"),
]
"""A change of the tables, the orders that are then lost, duplicated and over the limit, and a finding."""


def test_each_fault_of_the_tables_is_found(good: Evidence) -> None:
    for change, counts, finding in FAULTS:
        tables = copy.deepcopy(good.tables)
        change(tables)
        verdict = judge(OUTCOME, replace(good, tables=tables))
        assert (verdict.lost, verdict.duplicated, verdict.over_limit) == counts, finding
        assert any(finding in text for text in verdict.findings), verdict.findings


def test_unfinished_work_and_differences_are_found(good: Evidence) -> None:
    for evidence in (
        replace(good, queue_depths={"queue": 1}),
        replace(good, disagreements=["the view is behind"]),
        replace(good, view={**good.view, "orders": []}),
    ):
        assert judge(OUTCOME, evidence).findings, evidence


def test_fault_that_affects_nothing_is_a_finding(good: Evidence) -> None:
    assert judge(replace(OUTCOME, struck=0), good).findings == ["the fault affected nothing"]
