"""The HTTP API of Order history on a MongoDB server, called with the files in events/."""

from __future__ import annotations

from typing import Any

import pytest

from customers.events import CustomerCreated
from functions.order_history import api as handler
from functions.order_history import projection
from messaging.domain_event import DomainEvent
from order_history.queries import OrderHistoryQueries
from order_history.view import OrderHistoryView
from orders.order import Order
from rest_api.pagination import encode_next_token
from shared.identifiers import MAX_ID
from shared.money import Money
from tests.clock import Clock
from tests.integration.api import pages, send
from tests.integration.conftest import LambdaContext
from tests.samples import JANE, load, to_batch, to_message, wrap

COUNT, ORDER = "order_history_api_count", "order_history_api_order"
EVENTS, VERSION = "order_history_api_events", "order_history_api_order_version"
SEARCH = "order_history_api_search"
CUSTOMER, REJECTED = "order_history_api_customer", "order_history_api_customer_rejected"
FIRST_ORDER = int(load(ORDER)["pathParameters"]["orderId"])
STRANGER = 9
JANE_CREATED = CustomerCreated(customer_id=JANE, name="Jane Doe", credit_limit=Money(500)), 1
FIRST = {
    "orderId": FIRST_ORDER,
    "orderTotal": {"amount": 4},
    "state": "CANCELLED",
    "rejectionReason": None,
    "createdAt": "2026-11-04T09:30:10.000Z",
}


@pytest.fixture(autouse=True)
def view_of_the_functions(view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions' view is in the database of this test."""
    monkeypatch.setattr(handler, "view", OrderHistoryQueries(view.connection))
    monkeypatch.setattr(projection.subscriber, "_handler", view)


@pytest.fixture
def story() -> None:
    """Project events/order_history_projection_batch.json."""
    batch = load("order_history_projection_batch")
    assert projection.lambda_handler(batch, LambdaContext()) == {"batchItemFailures": []}


def project(*events: tuple[DomainEvent, int]) -> None:
    """Project the events, each with the version of its aggregate."""
    for start in range(0, len(events), 10):
        batch = to_batch(*(to_message(wrap(*event)) for event in events[start : start + 10]))
        assert projection.lambda_handler(batch, LambdaContext()) == {"batchItemFailures": []}


def order_events(order_id: int, customer_id: int) -> list[tuple[DomainEvent, int]]:
    """Return the creation of an order and its approval, with their versions."""
    order, created = Order.create(order_id, customer_id, Money(410))
    return [(created, 1), (order.approve(), 2)]


def project_orders(count: int) -> None:
    """Project Jane Doe with the orders 1 to `count`; every third is approved."""
    events: list[tuple[DomainEvent, int]] = [JANE_CREATED]
    for number in range(1, count + 1):
        events += order_events(number, JANE)[: 2 if number % 3 == 0 else 1]
    project(*events)


# GET /customers/{customerId}/orderhistory


@pytest.mark.usefixtures("story")
def test_samples_show_jane_with_her_orders_the_latest_first() -> None:
    shown = send(handler, CUSTOMER)

    assert shown.status == 200
    history = shown.json
    orders = history.pop("orders")
    assert history == {
        "id": JANE,
        "name": "Jane Doe",
        "nextToken": None,
        "creditLimit": {"amount": 5},
        "availableCredit": {"amount": 5},
    }
    rejected, first = orders.values()
    assert [int(order_id) for order_id in orders] == [rejected["orderId"], FIRST_ORDER]
    assert first == FIRST
    assert (rejected["state"], rejected["rejectionReason"]) == ("REJECTED", "INSUFFICIENT_CREDIT")
    assert list(send(handler, REJECTED).json["orders"].values()) == [rejected]


def test_pages_have_every_order_once_the_latest_first() -> None:
    project_orders(9)
    assert pages(handler, CUSTOMER, "orders", {"limit": 4, "state": "APPROVED"}) == [[*"963"]]
    assert pages(handler, CUSTOMER, "orders", {"limit": 4}) == [[*"9876"], [*"5432"], ["1"]]


@pytest.mark.usefixtures("story")
def test_only_created_customers_are_found_and_counted() -> None:
    project(order_events(77, STRANGER)[0])
    for customer_id in (1, STRANGER, MAX_ID):
        refused = send(handler, CUSTOMER, path_parameters={"customerId": customer_id})
        refused.problem(404, "order-history-not-found")

    counted = send(handler, COUNT)

    assert (counted.status, counted.text) == (200, "1")


def test_invalid_request_returns_400() -> None:
    bad: dict[str, Any] = {"state": ("DONE", "approved", ""), "limit": (0, 101)}
    bad["nextToken"] = ("x" * 301,)
    bad["minVersion"] = (0, -1, "1_0", "1.0", "", MAX_ID + 1)
    for field, value in [(field, value) for field, values in bad.items() for value in values]:
        problem = send(handler, CUSTOMER, query={field: value}).problem(400, "invalid-request")
        assert [error["field"] for error in problem["errors"]] == [field]
    send(handler, CUSTOMER, query={"nextToken": "forged"}).problem(400, "invalid-request")
    for value in ("jane", "0", "-1", MAX_ID + 1):
        for sample, name in ((CUSTOMER, "customerId"), (ORDER, "orderId"), (EVENTS, "orderId")):
            refused = send(handler, sample, path_parameters={name: value})
            refused.problem(400, "invalid-request")


# GET /orderhistory/orders/{orderId}


@pytest.mark.usefixtures("story")
def test_sample_shows_the_order_with_its_timeline() -> None:
    shown = send(handler, ORDER)

    assert shown.status == 200
    timeline = [
        {"state": "PENDING", "at": "2026-11-04T09:30:10.000Z"},
        {"state": "APPROVED", "at": "2026-11-04T09:30:10.240Z"},
        {"state": "CANCELLED", "at": "2026-11-04T09:30:40.000Z"},
    ]
    assert shown.json == FIRST | {"customerId": JANE, "timeline": timeline}


def test_unknown_order_returns_404() -> None:
    for sample in (ORDER, EVENTS):
        send(handler, sample).problem(404, "order-history-not-found")


def test_sample_is_answered_when_the_view_has_the_version_and_so_is_the_customers_history(
    clock: Clock,
) -> None:
    pending, approved = order_events(FIRST_ORDER, JANE)
    clock.plan = {0.2: lambda: project(JANE_CREATED, pending), 0.7: lambda: project(approved)}

    assert send(handler, CUSTOMER, query={"minVersion": 1}).status == 200
    assert 0.2 <= clock.now < 0.7
    shown = send(handler, VERSION, headers={"Prefer": "wait=9"})

    assert (shown.status, shown.json["state"]) == (200, "APPROVED")
    assert shown.headers["Preference-Applied"] == "wait=9"
    assert 0.7 <= clock.now < 1.3
    history = send(handler, CUSTOMER).json
    assert history["orders"][str(FIRST_ORDER)]["state"] == "APPROVED"


def test_a_version_that_does_not_arrive_is_a_503_and_a_missing_document_a_404(clock: Clock) -> None:
    project(JANE_CREATED, order_events(FIRST_ORDER, JANE)[0])
    for prefer, seconds in ((None, 5), ("wait=1", 1), ("wait=0", 0), ("nonsense", 5)):
        for sample, name in ((CUSTOMER, "customerId"), (VERSION, "orderId")):
            clock.now = 0
            asked: dict[str, Any] = {"query": {"minVersion": 2}, "headers": {"Prefer": prefer}}

            behind = send(handler, sample, **asked)
            behind.problem(503, "view-behind")
            assert behind.headers["Retry-After"] == "1"
            missing = send(handler, sample, path_parameters={name: 9}, **asked)
            missing.problem(404, "order-history-not-found")
            assert clock.now == 2 * seconds
    clock.now = 0
    send(handler, ORDER, path_parameters={"orderId": 9}, headers={"Prefer": "wait=5"})
    assert clock.now == 0, "without minVersion there is nothing to wait for"


# GET /orderhistory/orders/{orderId}/events


@pytest.mark.usefixtures("story")
def test_sample_shows_all_events_of_the_order_as_they_occurred() -> None:
    shown = send(handler, EVENTS)

    assert shown.status == 200
    events = shown.json["events"]
    assert [event["type"] for event in events] == [
        *("OrderCreated", "CustomerCreditReserved", "OrderApproved"),
        *("OrderCancelled", "CustomerCreditReleased"),
    ]
    created, reserved, *_ = events
    assert reserved.pop("lastDeliveredAt") == reserved["projectedAt"] > reserved["occurredAt"]
    del reserved["projectedAt"]
    assert reserved == {
        "eventId": "a2ed2680-b58a-5776-b104-07566135af28",
        "type": "CustomerCreditReserved",
        "source": "customers-and-orders.customers",
        "aggregateType": "Customer",
        "aggregateId": JANE,
        "aggregateVersion": 2,
        "occurredAt": "2026-11-04T09:30:10.120Z",
        "correlationId": "5f0c1d2e-3b4a-4c5d-8e6f-7a8b9c0d1e01",
        "causationId": created["eventId"],
        "deliveries": 1,
    }
    assert created["causationId"] is None
    assert shown.json["nextToken"] is None


@pytest.mark.usefixtures("story")
def test_pages_have_every_event_once() -> None:
    everything = send(handler, EVENTS).json["events"]

    found = pages(handler, EVENTS, "events", {"limit": 2})

    assert [len(page) for page in found] == [2, 2, 1]
    assert [event for page in found for event in page] == everything


# GET /orderhistory/search


@pytest.mark.usefixtures("story")
def test_sample_finds_jane_then_her_orders_the_latest_first() -> None:
    found = send(handler, SEARCH)

    assert found.status == 200
    customer, rejected, first = found.json["hits"]
    assert customer == {
        "kind": "customer",
        "customerId": JANE,
        "name": "Jane Doe",
        "creditLimit": {"amount": 5},
        "availableCredit": {"amount": 5},
    }
    assert first == FIRST | {"kind": "order", "customerId": JANE, "customerName": "Jane Doe"}
    assert (rejected["state"], found.json["nextToken"]) == ("REJECTED", None)
    assert pages(handler, SEARCH, "hits", {"q": "jane", "limit": 2}) == [
        [customer, rejected],
        [first],
    ]
    project(order_events(77, STRANGER)[0])
    (unknown,) = send(handler, SEARCH, query={"q": STRANGER}).json["hits"]
    assert (unknown["customerId"], unknown["customerName"]) == (STRANGER, None)
    for query, hits in (
        ({"q": "rejected DOE"}, [rejected]),
        ({"q": "doe", "state": "CANCELLED"}, [first]),
        ({"q": f"{FIRST_ORDER}"}, [first]),
        ({"q": f"{JANE} 4.00"}, [rejected, first]),
        ({"q": "5.0"}, [customer]),
        ({"q": "jane x"}, []),
    ):
        assert send(handler, SEARCH, query=query).json["hits"] == hits, query


def test_invalid_search_returns_400() -> None:
    for query in (
        *({}, {"q": ""}, {"q": "x" * 101}, {"q": " -.%"}, {"q": "1 2 3 4 5 6 7 8 9"}),
        *({"q": "x", name: bad} for name, bad in (("limit", 0), ("limit", 101), ("state", "x"))),
        *({"q": "x", "nextToken": encode_next_token(t)} for t in ("1", "1.0.", "0.0.~", "0.a.")),
    ):
        send(handler, SEARCH, query=query).problem(400, "invalid-request")
