"""The HTTP API of Order history on a MongoDB server, called with the files in events/."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from functions.order_history import api as handler
from functions.order_history import projection
from messaging.envelope import EventDecoder
from order_history.projection import EVENTS as EVENTS_OF_THE_VIEW
from order_history.projection import project
from order_history.view import RECENT_ORDERS, OrderHistoryView
from orders.events import OrderState
from rest_api.authorization import Caller
from rest_api.resolver import encode_next_token
from shared.identifiers import MAX_ID
from shared.money import Money
from tests.integration.api import send
from tests.integration.conftest import LambdaContext, LogLines
from tests.integration.mongodb import snapshot, unreachable_view
from tests.samples import load, messages

COUNT, ORDER = "order_history_api_count", "order_history_api_order"
EVENTS = "order_history_api_events"
CUSTOMER, REJECTED = "order_history_api_customer", "order_history_api_customer_rejected"
JANE = int(load(CUSTOMER)["pathParameters"]["customerId"])
FIRST_ORDER = int(load(ORDER)["pathParameters"]["orderId"])


@pytest.fixture(autouse=True)
def view_of_the_functions(view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions' view is in the database of this test."""
    monkeypatch.setattr(handler, "view", view)
    monkeypatch.setattr(projection, "view", view)


@pytest.fixture
def story() -> None:
    """What events/order_history_projection_batch.json tells has happened."""
    batch = load("order_history_projection_batch")
    assert projection.lambda_handler(batch, LambdaContext()) == {"batchItemFailures": []}


def orders_of(view: OrderHistoryView, count: int) -> None:
    """Jane Doe is there with orders 1 to `count`, every third of them approved."""
    view.put_available_credit(JANE, Money(500), 1)
    view.put_customer(JANE, "Jane Doe", Money(500))
    for number in range(1, count + 1):
        state = OrderState.APPROVED if number % 3 == 0 else OrderState.PENDING
        view.put_order(snapshot(number, customer_id=JANE, state=state))


# GET /customers/{customerId}/orderhistory


@pytest.mark.usefixtures("story")
def test_the_sample_shows_jane_with_her_orders_the_latest_first() -> None:
    shown = send(handler, CUSTOMER)

    assert shown.status == 200
    history = shown.json
    orders = history.pop("orders")
    assert history == {
        "id": JANE,
        "name": "Jane Doe",
        "creditLimit": {"amount": 5},
        "availableCredit": {"amount": 5},
        "nextToken": None,
    }
    assert [(order["orderId"], order["state"]) for order in orders.values()] == [
        (int(next(iter(orders))), "REJECTED"),
        (FIRST_ORDER, "CANCELLED"),
    ]
    assert orders[str(FIRST_ORDER)] == {
        "orderId": FIRST_ORDER,
        "orderTotal": {"amount": 4},
        "state": "CANCELLED",
        "rejectionReason": None,
        "createdAt": "2026-11-04T09:30:10.000Z",
    }


@pytest.mark.usefixtures("story")
def test_the_sample_shows_only_the_orders_that_were_rejected() -> None:
    shown = send(handler, REJECTED)

    assert shown.status == 200
    (order,) = shown.json["orders"].values()
    assert (order["state"], order["rejectionReason"]) == ("REJECTED", "INSUFFICIENT_CREDIT")


def test_a_customer_without_orders_has_none(view: OrderHistoryView) -> None:
    orders_of(view, 0)

    shown = send(handler, CUSTOMER)

    assert (shown.status, shown.json["orders"], shown.json["nextToken"]) == (200, {}, None)


def pages(query: dict[str, object]) -> list[list[int]]:
    """The ids on each of the pages."""
    found = []
    query = dict(query)
    while True:
        page = send(handler, CUSTOMER, query=query).json
        found.append([int(order_id) for order_id in page["orders"]])
        if page["nextToken"] is None:
            return found
        query["nextToken"] = page["nextToken"]


@pytest.mark.parametrize(
    "count", [1, 2, 9, RECENT_ORDERS - 1, RECENT_ORDERS, RECENT_ORDERS + 1, RECENT_ORDERS + 5]
)
@pytest.mark.parametrize("limit", [None, 3, RECENT_ORDERS - 1])
def test_the_pages_have_every_order_once_the_latest_first(
    view: OrderHistoryView, count: int, limit: int | None
) -> None:
    orders_of(view, count)

    found = pages({} if limit is None else {"limit": limit})

    assert [order_id for page in found for order_id in page] == list(range(count, 0, -1))
    assert all(len(page) == (limit or 100) for page in found[:-1])


def test_the_pages_of_one_state_have_its_orders_only(view: OrderHistoryView) -> None:
    orders_of(view, 20)

    found = pages({"state": "APPROVED", "limit": 4})

    assert found == [[18, 15, 12, 9], [6, 3]]


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("customer_id", [1, 9, MAX_ID])
def test_whoever_is_no_customer_is_not_found(customer_id: int, view: OrderHistoryView) -> None:
    view.put_order(snapshot(77, customer_id=9))  # of nobody who is known

    refused = send(handler, CUSTOMER, path_parameters={"customerId": customer_id})

    refused.problem(404, "order-history-not-found")


BAD_QUERIES = [
    ({"state": "DONE"}, "state"),
    ({"state": "approved"}, "state"),
    ({"limit": 0}, "limit"),
    ({"limit": 101}, "limit"),
    ({"nextToken": "x" * 65}, "nextToken"),
]


@pytest.mark.parametrize(("query", "field"), BAD_QUERIES)
def test_a_page_that_cannot_be_is_refused(query: dict[str, object], field: str) -> None:
    problem = send(handler, CUSTOMER, query=query).problem(400, "invalid-request")

    assert [error["field"] for error in problem["errors"]] == [field]


def test_a_next_token_that_was_not_given_out_is_refused() -> None:
    send(handler, CUSTOMER, query={"nextToken": "forged"}).problem(400, "invalid-request")


@pytest.mark.parametrize("customer_id", ["jane", "0", "-1", MAX_ID + 1])
def test_what_is_no_id_is_refused(customer_id: Any) -> None:
    refused = send(handler, CUSTOMER, path_parameters={"customerId": customer_id})

    refused.problem(400, "invalid-request")


# GET /customers/count


@pytest.mark.usefixtures("story")
def test_the_sample_counts_the_customers(view: OrderHistoryView) -> None:
    view.put_order(snapshot(77, customer_id=9))  # of nobody who is known

    counted = send(handler, COUNT)

    assert (counted.status, counted.text) == (200, "1")


# GET /orderhistory/orders/{orderId}


@pytest.mark.usefixtures("story")
def test_the_sample_shows_the_order_with_its_timeline() -> None:
    shown = send(handler, ORDER)

    assert shown.status == 200
    assert shown.json == {
        "orderId": FIRST_ORDER,
        "customerId": JANE,
        "orderTotal": {"amount": 4},
        "state": "CANCELLED",
        "rejectionReason": None,
        "createdAt": "2026-11-04T09:30:10.000Z",
        "timeline": [
            {"state": "PENDING", "at": "2026-11-04T09:30:10.000Z"},
            {"state": "APPROVED", "at": "2026-11-04T09:30:10.240Z"},
            {"state": "CANCELLED", "at": "2026-11-04T09:30:40.000Z"},
        ],
    }


def test_a_timeline_of_more_than_nine_versions_is_in_their_order(view: OrderHistoryView) -> None:
    for version in (11, 2, 10, 1):
        view.put_order(snapshot(FIRST_ORDER, version=version))

    shown = send(handler, ORDER)

    instants = [change["at"] for change in shown.json["timeline"]]
    assert len(instants) == 4
    assert instants == sorted(instants)


def test_amounts_are_shown_exactly(view: OrderHistoryView) -> None:
    view.put_available_credit(JANE, Money(410), 1)
    view.put_customer(JANE, "Jane Doe", Money(9_999_999_999_999))

    shown = send(handler, CUSTOMER)

    assert shown.json["availableCredit"] == {"amount": Decimal("4.1")}
    assert shown.json["creditLimit"] == {"amount": Decimal("99999999999.99")}
    assert '{"amount":4.1}' in shown.text


def test_an_order_nobody_has_told_of_is_not_found() -> None:
    send(handler, ORDER).problem(404, "order-history-not-found")


# GET /orderhistory/orders/{orderId}/events


@pytest.mark.usefixtures("story")
def test_the_sample_shows_all_events_of_the_order_as_they_occurred() -> None:
    shown = send(handler, EVENTS)

    assert shown.status == 200
    events = shown.json["events"]
    assert [event["type"] for event in events] == [
        "OrderCreated",
        "CustomerCreditReserved",
        "OrderApproved",
        "OrderCancelled",
        "CustomerCreditReleased",
    ]
    created, reserved, *_ = events
    assert reserved.pop("projectedAt") > reserved["occurredAt"]
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
def test_a_refusal_is_among_the_events_of_the_order_that_was_rejected() -> None:
    (rejected,) = send(handler, REJECTED).json["orders"]

    shown = send(handler, EVENTS, path_parameters={"orderId": rejected})

    types = [event["type"] for event in shown.json["events"]]
    assert types == ["OrderCreated", "CustomerCreditReservationFailed", "OrderRejected"]


@pytest.mark.usefixtures("story")
def test_each_delivery_of_an_event_is_counted_and_the_first_is_when_it_was_seen() -> None:
    before = send(handler, EVENTS).json["events"]
    for _ in range(2):
        projection.lambda_handler(load("order_history_projection_batch"), LambdaContext())

    events = send(handler, EVENTS).json["events"]

    assert [event.pop("deliveries") for event in events] == [3] * 5
    assert [event.pop("deliveries") for event in before] == [1] * 5
    assert events == before


def test_what_the_view_is_rebuilt_from_was_not_delivered(view: OrderHistoryView) -> None:
    decoder = EventDecoder(EVENTS_OF_THE_VIEW)
    for message in messages(load("order_history_projection_batch")):
        event = decoder.decode(message["source"], message["detail-type"], message["detail"])
        project(event, view)

    events = send(handler, EVENTS).json["events"]
    assert [event["deliveries"] for event in events] == [0] * 5
    assert all(event["projectedAt"] > event["occurredAt"] for event in events)


@pytest.mark.usefixtures("story")
def test_the_pages_have_every_event_once() -> None:
    everything = send(handler, EVENTS).json["events"]

    found, query = [], {"limit": 2}
    while True:
        page = send(handler, EVENTS, query=query).json
        found.append(page["events"])
        if page["nextToken"] is None:
            break
        query["nextToken"] = page["nextToken"]

    assert [len(page) for page in found] == [2, 2, 1]
    assert [event for page in found for event in page] == everything


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("token", ["forged", encode_next_token(7), encode_next_token("A" * 36)])
def test_a_next_token_that_is_of_no_event_is_refused(token: str) -> None:
    send(handler, EVENTS, query={"nextToken": token}).problem(400, "invalid-request")


@pytest.mark.usefixtures("story")
def test_the_token_of_another_order_leads_to_nothing() -> None:
    (rejected,) = send(handler, REJECTED).json["orders"]
    ids = {"orderId": rejected}
    token = send(handler, EVENTS, path_parameters=ids, query={"limit": 1}).json["nextToken"]

    shown = send(handler, EVENTS, query={"nextToken": token})

    assert shown.json == {"events": [], "nextToken": None}


def test_events_of_an_order_nobody_has_told_of_are_not_found() -> None:
    send(handler, EVENTS).problem(404, "order-history-not-found")


@pytest.mark.usefixtures("story")
def test_a_customers_token_shows_that_customers_orders_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statuses = {}
    for customer_id in (JANE, JANE + 1):
        monkeypatch.setattr(handler.api, "caller", Caller(None, customer_id))
        statuses[customer_id] = [send(handler, sample).status for sample in (ORDER, EVENTS)]

    assert statuses == {JANE: [200, 200], JANE + 1: [403, 403]}


def test_a_database_that_does_not_answer_is_our_failure(
    monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setattr(handler, "view", unreachable_view())

    failed = send(handler, COUNT)

    problem = failed.problem(500, "unexpected-error")
    assert problem["correlationId"] == failed.headers["X-Correlation-Id"]
    assert "pymongo" not in failed.text
    assert "pymongo" in json.dumps(log_lines()[0])
