"""The view store, held to any MongoDB-compatible database: set TEST_MONGODB_URI to try another than the embedded one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from customers.events import CustomerCreated, CustomerCreditReleased, CustomerCreditReserved
from messaging.domain_event import DomainEvent
from messaging.envelope import DomainEventEnvelope
from order_history.projection import project
from order_history.view import RECENT_ORDERS, OrderHistoryView
from orders.events import (
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderRejected,
    OrderState,
    RejectionReason,
)
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money
from tests.integration import mongodb
from tests.integration.mongodb import CREATED_AT, JANE, documents, snapshot
from tests.samples import answer

JOHN = 2
History = list[DomainEventEnvelope]


def order_event(
    event_class: type[OrderEvent], order_id: int, state: OrderState, customer_id: int = JANE
) -> OrderEvent:
    rejected = state is OrderState.REJECTED
    return event_class(
        order_id=order_id,
        customer_id=customer_id,
        order_total=Money(400),
        state=state,
        rejection_reason=RejectionReason.INSUFFICIENT_CREDIT if rejected else None,
        created_at=CREATED_AT,
    )


def at(event: DomainEvent, version: int) -> DomainEventEnvelope:
    """The event as of a version; the same for the same, to the millisecond."""
    envelope = answer(event, version)
    instant = CREATED_AT + timedelta(seconds=version)
    return replace(envelope, metadata=replace(envelope.metadata, occurred_at=instant))


def order_history(order_id: int, customer_id: int = JANE) -> History:
    """An order is created, approved and cancelled."""
    return [
        at(order_event(OrderCreated, order_id, OrderState.PENDING, customer_id), 1),
        at(order_event(OrderApproved, order_id, OrderState.APPROVED, customer_id), 2),
        at(order_event(OrderCancelled, order_id, OrderState.CANCELLED, customer_id), 3),
    ]


def customer_history() -> History:
    """Jane Doe is created; credit is reserved for two orders, and released for the first."""
    return [
        at(CustomerCreated(customer_id=JANE, name="Jane Doe", credit_limit=Money(1000)), 1),
        at(CustomerCreditReserved(customer_id=JANE, order_id=10, available_credit=Money(600)), 2),
        at(CustomerCreditReserved(customer_id=JANE, order_id=11, available_credit=Money(200)), 3),
        at(CustomerCreditReleased(customer_id=JANE, order_id=10, available_credit=Money(600)), 4),
    ]


def everything() -> History:
    return [
        *customer_history(),
        *order_history(10),
        *order_history(11)[:2],
        at(order_event(OrderCreated, 12, OrderState.PENDING), 1),
        at(order_event(OrderRejected, 12, OrderState.REJECTED), 2),
        *order_history(13, customer_id=JOHN)[:1],
    ]


def deliver(view: OrderHistoryView, envelopes: Sequence[DomainEventEnvelope]) -> None:
    for envelope in envelopes:
        project(envelope, view)


# What the events make


def test_a_customer_is_there_with_credit_and_orders(view: OrderHistoryView) -> None:
    deliver(view, everything())

    customer = view.find_customer(JANE)
    assert customer is not None
    assert customer == {
        "_id": JANE,
        "name": "Jane Doe",
        "creditLimitCents": 1000,
        "availableCreditCents": 600,
        "version": 4,
        "orders": customer["orders"],
    }
    assert {key: order["state"] for key, order in customer["orders"].items()} == {
        "10": "CANCELLED",
        "11": "APPROVED",
        "12": "REJECTED",
    }
    assert customer["orders"]["12"] == {
        "orderId": 12,
        "orderTotalCents": 400,
        "state": "REJECTED",
        "rejectionReason": "INSUFFICIENT_CREDIT",
        "createdAt": "2026-11-04T09:30:00.000Z",
        "version": 2,
    }


def test_an_order_is_there_with_its_timeline(view: OrderHistoryView) -> None:
    deliver(view, order_history(10))

    order = view.find_order(10)
    assert order is not None
    assert (order["customerId"], order["orderTotalCents"], order["state"], order["version"]) == (
        JANE,
        400,
        "CANCELLED",
        3,
    )
    assert order["timeline"] == {
        "1": {"state": "PENDING", "at": "2026-11-04T09:30:01.000Z"},
        "2": {"state": "APPROVED", "at": "2026-11-04T09:30:02.000Z"},
        "3": {"state": "CANCELLED", "at": "2026-11-04T09:30:03.000Z"},
    }


def test_the_largest_ids_and_amounts_there_are_are_kept_exactly(view: OrderHistoryView) -> None:
    largest = CustomerCreated(customer_id=MAX_ID, name="x", credit_limit=Money(MAX_CENTS))
    deliver(view, [at(largest, 1)])
    view.put_order(replace(snapshot(MAX_ID, MAX_ID), order_total=Money(MAX_CENTS)))

    customer, order = view.find_customer(MAX_ID), view.find_order(MAX_ID)
    assert customer is not None
    assert order is not None
    assert customer["creditLimitCents"] == order["orderTotalCents"] == MAX_CENTS
    assert order["customerId"] == MAX_ID
    assert view.find_orders(MAX_ID, None, 10, None) == [order]


# In any order and any number of times


@pytest.fixture(scope="module")
def expected(mongodb_uri: str) -> dict[str, list[Any]]:
    with mongodb.fresh_view(mongodb_uri) as view:
        deliver(view, EVERYTHING)
        return documents(view)


EVERYTHING = everything()


@given(
    first_deliveries=st.permutations(range(len(EVERYTHING))),
    redeliveries=st.lists(st.tuples(st.integers(0), st.sampled_from(range(len(EVERYTHING))))),
)
@settings(max_examples=60)
def test_any_order_and_any_number_of_deliveries_make_the_same_documents(
    mongodb_uri: str,
    expected: dict[str, list[Any]],
    first_deliveries: list[int],
    redeliveries: list[tuple[int, int]],
) -> None:
    schedule = list(first_deliveries)
    for position, event in redeliveries:
        schedule.insert(position % (len(schedule) + 1), event)

    with mongodb.fresh_view(mongodb_uri) as view:
        deliver(view, [EVERYTHING[event] for event in schedule])

        assert documents(view) == expected


@pytest.mark.parametrize("event", range(len(EVERYTHING)))
def test_a_late_event_changes_nothing(view: OrderHistoryView, event: int) -> None:
    deliver(view, EVERYTHING)
    before = documents(view)

    deliver(view, [EVERYTHING[event]])

    assert documents(view) == before


def test_approval_arriving_before_creation_is_kept(view: OrderHistoryView) -> None:
    created, approved, _ = order_history(10)

    deliver(view, [approved, created])

    order, customer = view.find_order(10), view._customers.find_one({"_id": JANE})
    assert order is not None
    assert customer is not None
    assert order["state"] == customer["orders"]["10"]["state"] == "APPROVED"
    assert sorted(order["timeline"]) == ["1", "2"]


# Who is a customer


def test_orders_of_somebody_who_is_not_known_yet_make_no_customer(view: OrderHistoryView) -> None:
    deliver(view, [*order_history(10), customer_history()[1]])

    assert view.find_customer(JANE) is None
    assert view.count_customers() == 0
    assert view.find_order(10) is not None
    assert [order["_id"] for order in view.find_orders(JANE, None, 10, None)] == [10]


def test_a_customer_who_comes_later_has_the_orders_that_came_before(
    view: OrderHistoryView,
) -> None:
    deliver(view, order_history(10))

    deliver(view, customer_history()[:1])

    customer = view.find_customer(JANE)
    assert customer is not None
    assert list(customer["orders"]) == ["10"]
    assert (customer["availableCreditCents"], customer["version"]) == (1000, 1)


def test_a_customer_is_counted_once(view: OrderHistoryView) -> None:
    john = CustomerCreated(customer_id=JOHN, name="John Doe", credit_limit=Money(0))
    deliver(view, [*customer_history(), *customer_history(), at(john, 1), *order_history(9, 3)])

    assert view.count_customers() == 2


def test_whoever_and_whatever_is_not_known_is_not_found(view: OrderHistoryView) -> None:
    assert view.find_customer(JANE) is None
    assert view.find_order(10) is None
    assert view.find_orders(JANE, None, 10, None) == []
    assert view.count_customers() == 0


# Many orders


def test_a_customers_document_has_the_latest_orders_only(view: OrderHistoryView) -> None:
    ids = list(range(1, RECENT_ORDERS + 11))
    random.Random(4).shuffle(ids)
    for order_id in ids:
        view.put_order(snapshot(order_id))
    deliver(view, customer_history()[:1])

    customer = view.find_customer(JANE)
    assert customer is not None
    assert sorted(map(int, customer["orders"])) == list(range(11, RECENT_ORDERS + 11))
    assert len(view.find_orders(JANE, None, 1000, None)) == RECENT_ORDERS + 10


def test_news_of_an_old_order_do_not_bring_it_back_into_the_customers_document(
    view: OrderHistoryView,
) -> None:
    for order_id in range(1, RECENT_ORDERS + 2):
        view.put_order(snapshot(order_id))

    view.put_order(snapshot(1, version=2, state=OrderState.APPROVED))

    customer, order = view._customers.find_one({"_id": JANE}), view.find_order(1)
    assert customer is not None
    assert order is not None
    assert sorted(map(int, customer["orders"])) == list(range(2, RECENT_ORDERS + 2))
    assert order["state"] == "APPROVED"


@pytest.mark.parametrize("limit", [1, 3, 4, 9, 100])
@pytest.mark.parametrize("state", [None, OrderState.APPROVED])
def test_the_pages_have_every_order_once_the_latest_first(
    view: OrderHistoryView, state: OrderState | None, limit: int
) -> None:
    for order_id in (3, 20, 100, MAX_ID, 7, 5_000_000_000, 8, 1, 9):
        order_state = OrderState.APPROVED if order_id % 2 else OrderState.PENDING
        view.put_order(snapshot(order_id, state=order_state))
    view.put_order(snapshot(50, customer_id=JOHN))
    expected = [MAX_ID, 5_000_000_000, 100, 20, 9, 8, 7, 3, 1]
    if state is not None:
        expected = [order_id for order_id in expected if order_id % 2]

    found: list[int] = []
    while page := view.find_orders(JANE, state, limit, found[-1] if found else None):
        assert len(page) <= limit
        found += [order["_id"] for order in page]

    assert found == expected


def test_an_order_is_found_in_the_state_it_is_in_and_in_no_other(view: OrderHistoryView) -> None:
    deliver(view, order_history(10))

    found = {
        state: [order["_id"] for order in view.find_orders(JANE, state, 10, None)]
        for state in OrderState
    }

    assert found == {state: [10] if state is OrderState.CANCELLED else [] for state in OrderState}


def test_the_orders_of_a_customer_whose_id_begins_like_anothers_are_not_mixed_up(
    view: OrderHistoryView,
) -> None:
    for customer_id in (1, 10, 11, 100):
        view.put_order(snapshot(customer_id * 7, customer_id=customer_id))

    assert [order["_id"] for order in view.find_orders(1, None, 10, None)] == [7]
    assert [order["_id"] for order in view.find_orders(10, OrderState.PENDING, 10, None)] == [70]


# At the same time


def test_versions_of_one_order_that_arrive_at_the_same_time_leave_the_latest(
    mongodb_uri: str,
) -> None:
    last = 20
    for attempt in range(3):
        with mongodb.fresh_view(mongodb_uri) as view, ThreadPoolExecutor(8) as threads:
            versions = list(range(1, last + 1)) * 2
            random.Random(attempt).shuffle(versions)

            list(threads.map(lambda v: view.put_order(snapshot(10, version=v)), versions))

            order, customer = view.find_order(10), view._customers.find_one({"_id": JANE})
            assert order is not None
            assert customer is not None
            assert order["version"] == customer["orders"]["10"]["version"] == last
            assert sorted(map(int, order["timeline"])) == list(range(1, last + 1))


def test_orders_of_one_customer_that_arrive_at_the_same_time_are_all_there(
    view: OrderHistoryView,
) -> None:
    first = customer_history()
    with ThreadPoolExecutor(8) as threads:
        orders = [threads.submit(view.put_order, snapshot(order_id)) for order_id in range(1, 61)]
        events = [threads.submit(project, envelope, view) for envelope in first * 3]
        for future in [*orders, *events]:
            future.result()

    customer = view.find_customer(JANE)
    assert customer is not None
    assert sorted(map(int, customer["orders"])) == list(range(1, 61))
    assert (customer["version"], customer["availableCreditCents"]) == (4, 600)
    assert len(view.find_orders(JANE, None, 1000, None)) == 60


@pytest.mark.parametrize("collection_name", ["customers", "orders"])
@pytest.mark.parametrize("noticed", [False, True])
def test_a_version_that_comes_in_between_does_not_keep_a_later_one_out(
    view: OrderHistoryView,
    monkeypatch: pytest.MonkeyPatch,
    collection_name: str,
    noticed: bool,
) -> None:
    """Somebody else writes version 1 just before version 2 is inserted, or while it is."""
    update_one = Collection.update_one
    others = [snapshot(10, version=1)]

    def interrupted(collection: Any, document: Any, change: Any, upsert: bool = False) -> Any:
        if upsert and collection.name == collection_name and others:
            view.put_order(others.pop())
            if noticed:
                raise DuplicateKeyError("somebody else was faster")
        return update_one(collection, document, change, upsert)

    monkeypatch.setattr(Collection, "update_one", interrupted)

    view.put_order(snapshot(10, version=2, state=OrderState.APPROVED))

    order, customer = view.find_order(10), view._customers.find_one({"_id": JANE})
    assert order is not None
    assert customer is not None
    assert order["state"] == customer["orders"]["10"]["state"] == "APPROVED"
    assert sorted(order["timeline"]) == ["1", "2"]
