"""The view's contract with its database: documents, guards, convergence, races, bounded cost and queries.

The tests run against the server at TEST_MONGODB_URI, or an embedded one (nx-27017), and against two implementations
that are independent of it: mongomock, and the stand-in of the explorer (tests/model/stores.py).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import mongomock
import pymongo.database
import pytest
from mongomock.collection import BulkOperationBuilder
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from customers.events import (
    CustomerCreated,
    CustomerCreditReleased,
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerErased,
)
from messaging.domain_event import DomainEvent
from messaging.envelope import DomainEventEnvelope
from messaging.subscriber import Delivery
from order_history import search as search_module
from order_history import view as view_module
from order_history.candidates import SearchQuery
from order_history.projection import Projected
from order_history.queries import CustomerHistory, OrderHistoryQueries
from order_history.search import OrderHistorySearch
from order_history.terms import parse_query
from order_history.view import _EVICTION_INTERVAL, RECENT_ORDERS, OrderHistoryView
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
from shared.money import Money
from tests.integration import mongodb
from tests.integration.mongodb import connected, documents
from tests.model.stores import MemoryMongo
from tests.model.system import START
from tests.samples import wrap

JANE = 1
STATES = {
    OrderCreated: (1, OrderState.PENDING),
    OrderApproved: (2, OrderState.APPROVED),
    OrderRejected: (2, OrderState.REJECTED),
    OrderCancelled: (3, OrderState.CANCELLED),
}


@pytest.fixture(scope="module", params=["server", "memory", "mongomock"])
def database(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "server":
        with mongodb.fresh_database(request.getfixturevalue("mongodb_uri")) as database:
            yield database
    elif request.param == "memory":
        yield MemoryMongo()
    else:
        with pytest.MonkeyPatch.context() as patch:
            add_update: Any = BulkOperationBuilder.add_update

            def without_sort(*args: Any, sort: None, **options: Any) -> None:
                """PyMongo 4.11 added `sort`; mongomock 4.3 lacks it."""
                add_update(*args, **options)

            patch.setattr(BulkOperationBuilder, "add_update", without_sort)
            client: Any = mongomock.MongoClient  # without types
            yield client()["view"]


@pytest.fixture
def view(database: Any) -> OrderHistoryView:
    view = OrderHistoryView(connected(database))
    view.drop()
    return view


@pytest.fixture
def queries(database: Any) -> OrderHistoryQueries:
    return OrderHistoryQueries(connected(database))


def at(event: DomainEvent, version: int) -> DomainEventEnvelope:
    envelope = wrap(event, version)
    instant = START + timedelta(seconds=version)
    return replace(envelope, metadata=replace(envelope.metadata, occurred_at=instant))


def order(
    event_class: type[OrderEvent], order_id: int, customer_id: int = JANE, cents: int = 400
) -> DomainEventEnvelope:
    version, state = STATES[event_class]
    rejected = state is OrderState.REJECTED
    event = event_class(
        order_id=order_id,
        customer_id=customer_id,
        order_total=Money(cents),
        state=state,
        rejection_reason=RejectionReason.INSUFFICIENT_CREDIT if rejected else None,
        created_at=START,
    )
    return at(event, version)


def customer(event_class: Any, version: int, **fields: Any) -> DomainEventEnvelope:
    return at(event_class(customer_id=JANE, **fields), version)


CREATED = customer(CustomerCreated, 1, name="Jane Doe", credit_limit=Money(1000))
RESERVED = customer(CustomerCreditReserved, 2, order_id=10, available_credit=Money(600))
RELEASED = customer(CustomerCreditReleased, 3, order_id=10, available_credit=Money(1000))
REFUSED = customer(CustomerCreditReservationFailed, 3, order_id=11, available_credit=Money(0))
ERASED = customer(CustomerErased, 4)
ORDER_10 = [order(c, 10) for c in (OrderCreated, OrderApproved, OrderCancelled)]
ORDER_11 = [order(c, 11) for c in (OrderCreated, OrderRejected)]
EVERYTHING = [CREATED, RESERVED, RELEASED, REFUSED, *ORDER_10, *ORDER_11]


def handle(view: OrderHistoryView, events: Iterable[DomainEventEnvelope]) -> list[bool]:
    """Handle one batch. Return whether each event was reported as a change."""
    deliveries = [Delivery(event, (f"message {i}",)) for i, event in enumerate(events)]
    return [handled.changed for handled in view.handle(deliveries, lambda: 10)]


def history(
    view: OrderHistoryView, limit: int = 10, state: OrderState | None = None, before: Any = None
) -> CustomerHistory:
    found = OrderHistoryQueries(view.connection).find_history(JANE, state, limit, before)
    assert found is not None
    return found


def order_ids(found: CustomerHistory) -> list[int]:
    return [order.order_id for order in found.orders]


def create_orders(view: OrderHistoryView, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), 20):
        handle(view, [order(OrderCreated, order_id) for order_id in ids[start : start + 20]])


def test_documents_have_the_documented_shape(view: OrderHistoryView, database: Any) -> None:
    handle(view, EVERYTHING)

    created_at = "2026-11-04T09:30:00.000Z"
    entry = {"orderTotalCents": 400, "createdAt": created_at}
    cancelled = {"states": {"1": "PENDING", "2": "APPROVED", "3": "CANCELLED"}}
    reason = {"rejectionReason": "INSUFFICIENT_CREDIT"}
    assert documents(view)["customers"] == [
        {
            "_id": JANE,
            "name": "Jane Doe",
            "version": 3,
            "creditLimitCents": 1000,
            "availableCreditCents": 1000,
            "orders": {
                "10": entry | cancelled,
                "11": entry | reason | {"states": {"1": "PENDING", "2": "REJECTED"}},
            },
        }
    ]
    assert documents(view)["names"] == [{"_id": JANE, "name": "Jane Doe", "version": 0}]
    terms = enumerate(("$00000000001000", "jane", "doe"))
    assert documents(view)["customerTerms"] == [
        {"_id": f"{JANE:019}#{n}", "key": f"{term}#{MAX_ID - JANE:019}", "version": 0}
        for n, term in terms
    ]
    rejected = database["orders"].find_one({"_id": 11})
    events = rejected.pop("events").values()
    assert rejected == entry | reason | {
        "_id": 11,
        "customerId": JANE,
        "version": 2,
        "state": "REJECTED",
        "customerKey": f"{JANE:019}#{11:019}",
        "stateKey": f"{JANE:019}#REJECTED#{11:019}",
        "totalKey": f"$00000000000400#{MAX_ID - 11:019}",
        "stateOrderKey": f"REJECTED#{MAX_ID - 11:019}",
        "timeline": {
            "1": {"state": "PENDING", "at": "2026-11-04T09:30:01.000Z"},
            "2": {"state": "REJECTED", "at": "2026-11-04T09:30:02.000Z"},
        },
    }
    types = {"OrderCreated", "CustomerCreditReservationFailed", "OrderRejected"}
    assert {event["event"]["type"] for event in events} == types


def test_all_orders_and_splits_of_four_events_converge(view: OrderHistoryView) -> None:
    events = [CREATED, RESERVED, ORDER_10[0], ORDER_10[1]]
    handle(view, events)
    expected = documents(view)
    splits = list(itertools.combinations_with_replacement(range(5), 2))
    is_server = isinstance(view._database, pymongo.database.Database)  # slow
    for number, permuted in enumerate(itertools.permutations(events)):
        for first, second in [splits[number % len(splits)]] if is_server else splits:
            view.drop()
            batches = permuted[:first], permuted[first:second], permuted[second:]
            for batch in filter(None, (*batches, *batches[:2])):  # two batches are redelivered
                handle(view, batch)
            assert documents(view) == expected, [e.event_type for e in permuted]


def test_redelivered_and_late_events_are_stale_and_change_nothing(view: OrderHistoryView) -> None:
    handle(view, [e for e in EVERYTHING if e is not RESERVED])
    before = documents(view)["customers"]

    assert handle(view, [RESERVED]) == [False]  # late: version 2 after version 3
    assert documents(view)["customers"] == before
    for event in EVERYTHING:
        # A refusal adds only facts. It has no version to compare.
        assert handle(view, [event]) == [event is REFUSED], event.event_type
    assert documents(view)["customers"] == before


def test_orders_of_an_unknown_customer_make_no_customer(
    view: OrderHistoryView, queries: OrderHistoryQueries
) -> None:
    handle(view, [*ORDER_10, RESERVED])
    assert queries.find_history(JANE, None, 10, None) is None
    assert queries.count_customers() == 0
    assert queries.find_order(10) is not None

    assert handle(view, [CREATED]) == [False]  # later versions are known; the name is a fact
    found = history(view)
    assert (found.name, found.available_credit) == ("Jane Doe", Money(600))
    assert order_ids(found) == [10]
    assert queries.count_customers() == 1


def test_all_orders_and_splits_of_an_erasure_remove_the_name_for_good(
    view: OrderHistoryView, queries: OrderHistoryQueries
) -> None:
    events = [CREATED, RESERVED, ERASED, ORDER_10[0]]
    handle(view, events)
    expected = documents(view)
    assert "jane" not in str(expected).lower()
    erased = {"_id": JANE, "erased": True, "version": 0}
    assert (expected["names"], expected["erased"]) == ([erased], [erased])
    for number, permuted in enumerate(itertools.permutations(events)):
        view.drop()
        first = number % 4
        for batch in filter(None, (permuted[:first], permuted[first:], [CREATED])):
            handle(view, batch)
        assert documents(view) == expected, [e.event_type for e in permuted]
        assert queries.find_history(JANE, None, 10, None) is None
        assert queries.count_customers() == 0
        assert queries.find_order(10) is not None
        assert all_pages(view, SearchQuery(parse_query("jane")), 9) == []
        assert all_pages(view, SearchQuery(parse_query(str(JANE))), 9) == [("order", 10)]


def test_erasure_reaches_documents_that_older_code_wrote(
    view: OrderHistoryView, database: Any
) -> None:
    for name in ("customers", "names"):
        database[name].insert_one({"_id": JANE, "name": "Jane Doe", "version": 0})

    handle(view, [ERASED])

    assert "Jane" not in str(documents(view))


def test_order_has_its_timeline_and_its_events_with_deliveries(
    view: OrderHistoryView, queries: OrderHistoryQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queries.find_order(10) is None
    for minute, events in enumerate(([RESERVED], [*ORDER_10, RELEASED], [RESERVED])):
        instant = START + timedelta(minutes=10 - minute)  # clocks of two environments differ
        monkeypatch.setattr(view_module, "now", lambda instant=instant: instant)
        view.handle([Delivery(e, ("a", "b")) for e in events], lambda: 10)

    found = queries.find_order(10)

    assert found is not None
    assert [change.state for change in found.timeline] == ["PENDING", "APPROVED", "CANCELLED"]
    assert [e.occurred_at for e in found.events] == sorted(e.occurred_at for e in found.events)
    deliveries = {e.type: e.deliveries for e in found.events}
    assert deliveries.pop("CustomerCreditReserved") == 4
    twice = ("OrderCreated", "OrderApproved", "OrderCancelled", "CustomerCreditReleased")
    assert deliveries == dict.fromkeys(twice, 2)
    first_seen = {e.type: e.projected_at for e in found.events}
    assert first_seen["CustomerCreditReserved"] == "2026-11-04T09:38:00.000Z"
    last_seen = {e.type: e.last_delivered_at for e in found.events}
    assert last_seen["CustomerCreditReserved"] == "2026-11-04T09:40:00.000Z"


def test_rebuilt_event_has_no_deliveries(
    view: OrderHistoryView, queries: OrderHistoryQueries
) -> None:
    view.project([Projected(ORDER_10[0], START)])

    found = queries.find_order(10)
    assert found is not None
    (event,) = found.events
    assert (event.deliveries, event.projected_at) == (0, "2026-11-04T09:30:00.000Z")
    assert event.last_delivered_at is None


def test_one_of_sixteen_orders_evicts_all_but_the_latest(view: OrderHistoryView) -> None:
    others = [order(OrderCreated, n, customer_id=2) for n in range(161, 300) if n % 16 != 1]
    handle(view, [CREATED, *others])
    most = RECENT_ORDERS + 15
    for ids, expected in (
        (range(1, 146), RECENT_ORDERS),
        (range(146, 161), most),
        ([161], RECENT_ORDERS),
    ):
        create_orders(view, ids)
        held = {c["_id"]: len(c["orders"]) for c in documents(view)["customers"]}
        assert held == {JANE: expected, 2: len(others)}


def test_late_events_bring_no_more_than_fifteen_evicted_orders_back(view: OrderHistoryView) -> None:
    handle(view, [CREATED])
    create_orders(view, range(1, 146))
    for order_id in range(1, 126):
        handle(view, [order(OrderApproved, order_id)])
        assert len(documents(view)["customers"][0]["orders"]) <= RECENT_ORDERS + 15


def test_large_batch_is_written_in_parts(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order_history.view.MAX_UPDATES", 3)
    handle(view, [order(OrderApproved, order_id) for order_id in (5, 8)])
    handle(view, [CREATED, *(order(OrderCreated, order_id) for order_id in range(1, 10))])

    states = {d["_id"]: d["state"] for d in documents(view)["orders"]}
    approved = {order_id for order_id, state in states.items() if state == "APPROVED"}
    assert (len(states), approved) == (9, {5, 8})
    timelines = [d["timeline"].keys() for d in documents(view)["orders"] if d["_id"] in approved]
    assert timelines == [{"1", "2"}, {"1", "2"}]


def test_crash_before_eviction_is_repaired_later_and_never_shown(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle(view, [CREATED])
    with monkeypatch.context() as patch:
        patch.setattr(OrderHistoryView, "_evict", lambda *_: None)
        create_orders(view, range(1, RECENT_ORDERS + 40))
    last = RECENT_ORDERS + 39
    assert len(documents(view)["customers"][0]["orders"]) == last
    for limit in (1, RECENT_ORDERS - 1, RECENT_ORDERS, RECENT_ORDERS + 20):
        assert order_ids(history(view, limit)) == list(range(last, last - limit, -1))

    create_orders(view, [_EVICTION_INTERVAL * 100 + 1])

    assert len(documents(view)["customers"][0]["orders"]) == RECENT_ORDERS


@pytest.mark.parametrize("missing", [None, 100, 119])
def test_eviction_keeps_the_latest_orders_of_a_view_that_was_dropped_since_it_was_read(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch, missing: int | None
) -> None:
    orders = range(120 - RECENT_ORDERS - 10, 120)
    rebuilt = [order_id for order_id in orders if order_id != missing]
    with monkeypatch.context() as patch:
        patch.setattr(OrderHistoryView, "_evict", lambda *_: None)
        create_orders(view, orders)
    write = view._bulk_write

    def write_after_drop(collection: str, updates: list[UpdateOne]) -> list[int]:
        if missing:
            other = OrderHistoryView(view.connection)
            other.drop()
            create_orders(other, rebuilt)
        return write(collection, updates)

    monkeypatch.setattr(view, "_bulk_write", write_after_drop)
    view._evict([JANE])

    held = documents(view)["customers"][0]["orders"].keys()
    assert held == set(map(str, rebuilt[-RECENT_ORDERS:]))


def test_late_event_of_an_evicted_order_is_not_shown(view: OrderHistoryView) -> None:
    handle(view, [CREATED])
    create_orders(view, range(1, RECENT_ORDERS + 2 * _EVICTION_INTERVAL))
    handle(view, [order(OrderApproved, 1)])

    assert 1 not in order_ids(history(view, RECENT_ORDERS - 1))
    assert order_ids(history(view, 5, OrderState.APPROVED)) == [1]


@pytest.mark.parametrize("count", [0, 7, RECENT_ORDERS + 30])
def test_pages_equal_a_plain_model(view: OrderHistoryView, count: int) -> None:
    chance = random.Random(count)
    ids = sorted({*chance.sample(range(1, 10**6), count), *([MAX_ID] if count else [])})
    approved = set(ids[::3])
    in_state = {OrderState.APPROVED: approved, OrderState.PENDING: set(ids) - approved}
    handle(view, [CREATED])
    create_orders(view, ids)
    handle(view, [order(OrderApproved, order_id) for order_id in approved])
    # Customers whose ids begin with the same digits
    handle(view, [order(OrderCreated, 10**7 + c, c) for c in (10, 11, 100)])
    middle = ids[len(ids) // 2] if ids else 5
    states = (None, OrderState.PENDING, OrderState.APPROVED, OrderState.CANCELLED)
    limits = (1, 3, RECENT_ORDERS - 1, RECENT_ORDERS, RECENT_ORDERS + 1, 1000)
    for state, limit, before in itertools.product(states, limits, (None, 1, middle, MAX_ID)):
        wanted = [i for i in reversed(ids) if before is None or i < before]
        if state is not None:
            wanted = [i for i in wanted if i in in_state.get(state, set())]

        found = history(view, limit, state, before)

        assert order_ids(found) == wanted[:limit], (state, limit, before)
        assert found.has_more == (len(wanted) > limit), (state, limit, before)
        for shown in found.orders:
            assert (shown.state == "APPROVED") == (shown.order_id in approved)


NAMES = ("Ann Lee", "anna ANN", "Li Annan", "12 Monkeys", "Approved Smith", "Pen")
TOTALS = (500, 1200, 1250, 1255, 10100)
SEARCHED = (
    *("a", "an", "ann", "anna", "lee", "li", "app", "p", "x"),
    *("12", "12.5", "12.50", "5", "101", "99", "1"),
)


Found = tuple[list[int], int, str, str]
"""The ids of an order and its customer, or of a customer; cents; the customer's name; the order's state."""


def is_found(word: str, found: Found) -> bool:
    ids, cents, name, state = found
    whole, places = divmod(cents, 100)
    is_amount = word == str(whole) or ("." in word and f"{whole}.{places:02}".startswith(word))
    starts = (*name.lower().split(), state.lower())
    return word in map(str, ids) or is_amount or any(text.startswith(word) for text in starts)


def all_pages(view: OrderHistoryView, query: SearchQuery, limit: int) -> list[tuple[str, int]]:
    """Return the kinds and ids of all results, page by page."""
    found: list[tuple[str, int]] = []
    after = None
    for _ in range(200):
        page = OrderHistorySearch(view.connection).search(query, limit, after)
        assert len(page.hits) <= limit
        found += [(hit.kind, hit.facts.id) for hit in page.hits]
        after = page.end
        if after is None:
            return found
    raise AssertionError("no last page")


def test_searches_equal_a_plain_model_in_any_page_size(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "MAX_EXAMINED", 7)
    monkeypatch.setattr(search_module, "BATCH", 3)
    names = {i: NAMES[i % len(NAMES)] for i in range(1, 15)}
    model: dict[tuple[str, int], Found] = {}
    for i in range(100, 130):
        owner, cents = (99 if i % 7 == 0 else 1 + i * i % 14), TOTALS[i // 2 % len(TOTALS)]
        events = [OrderCreated, OrderApproved][: 2 if i % 3 else 1]
        handle(view, [order(event_class, i, owner, cents) for event_class in events])
        model["order", i] = [i, owner], cents, names.get(owner, ""), STATES[events[-1]][1]
    for i, name in names.items():
        cents = TOTALS[i % len(TOTALS)]
        event = CustomerCreated(customer_id=i, name=name, credit_limit=Money(cents))
        handle(view, [at(event, 1)])
        model["customer", i] = [i], cents, name, ""
    chance = random.Random(1)
    for _ in range(60):
        words = chance.sample(SEARCHED, chance.choice((1, 1, 2, 3)))
        state = chance.choice((None, None, OrderState.APPROVED))
        caller = chance.choice((None, None, 5))
        wanted = [
            key
            for key, found in model.items()
            if caller in (None, found[0][-1]) and state in (None, found[3])
            if all(is_found(word, found) for word in words)
        ]
        query = SearchQuery(parse_query(" ".join(words)), state, caller)

        one, few, many = (all_pages(view, query, limit) for limit in (1, 4, 100))

        assert sorted(one) == sorted(wanted), query
        assert one == few == many, query
        assert [kind for kind, _ in one] == sorted(kind for kind, _ in one), "customers first"


def test_writers_that_insert_the_same_documents_at_once_lose_nothing(mongodb_uri: str) -> None:
    for seed in range(5):
        with mongodb.fresh_view(mongodb_uri) as view, ThreadPoolExecutor(8) as threads:
            batches = [[event] for event in EVERYTHING] * 3
            random.Random(seed).shuffle(batches)
            list(threads.map(lambda batch, view=view: handle(view, batch), batches))
            raced = documents(view)
            view.drop()
            handle(view, EVERYTHING)
            assert raced == documents(view)


@pytest.mark.parametrize("collection", ["customers", "orders"])
def test_document_inserted_between_upsert_and_update_keeps_both(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    """Another writer inserts version 1 while version 2 is upserted: the upsert fails with a duplicate key."""
    write = OrderHistoryView._bulk_write
    others = [[CREATED, ORDER_10[0]]]

    def interrupted(self: OrderHistoryView, name: str, updates: list[Any]) -> list[int]:
        if name == collection and others:
            handle(self, others.pop())
            return list(range(len(updates)))  # as if each upsert had met the new document
        return write(self, name, updates)

    monkeypatch.setattr(OrderHistoryView, "_bulk_write", interrupted)
    handle(view, [RESERVED, ORDER_10[1]])
    raced = documents(view)
    view.drop()
    handle(view, [CREATED, RESERVED, *ORDER_10[:2]])
    assert raced == documents(view)


def test_any_failed_write_other_than_a_duplicate_key_fails_the_batch(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    duplicate, too_large = ({"index": 0, "code": code} for code in (11000, 10334))
    concern = {"code": 64, "errmsg": "waiting for replication timed out"}
    failures: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
        *(([too_large], []), ([duplicate, too_large], [])),
        *(([duplicate], [concern]), ([], [concern])),
    ]
    with mongodb.fresh_view(mongodb_uri) as view:
        for errors, concerns in failures:
            error = BulkWriteError({"writeErrors": errors, "writeConcernErrors": concerns})
            fail = Mock(side_effect=error)
            monkeypatch.setattr("pymongo.collection.Collection.bulk_write", fail)
            with pytest.raises(BulkWriteError):
                handle(view, [CREATED])


def test_each_sort_key_has_an_index_also_after_the_view_was_dropped(mongodb_uri: str) -> None:
    recorder = mongodb.Recorder()
    with mongodb.fresh_view(mongodb_uri, event_listeners=[recorder]) as view:
        for _ in range(2):
            created = [command for command in recorder.commands if "createIndexes" in command]
            assert {(c["createIndexes"], *i["key"]) for c in created for i in c["indexes"]} == {
                *(("orders", k) for k in ("customerKey", "stateKey", "totalKey", "stateOrderKey")),
                ("customerTerms", "key"),
            }
            recorder.commands.clear()
            view.drop()


def test_ping_has_a_time_limit(mongodb_uri: str) -> None:
    recorder = mongodb.Recorder()
    with mongodb.fresh_view(mongodb_uri, event_listeners=[recorder]) as view:
        view.ping(5.0)

    (ping,) = (command for command in recorder.commands if "ping" in command)
    assert 0 < ping["maxTimeMS"] <= 5000


def test_batch_is_one_bulk_write_per_collection_the_orders_last(mongodb_uri: str) -> None:
    recorder = mongodb.Recorder()
    with mongodb.fresh_view(mongodb_uri, event_listeners=[recorder]) as view:

        def sent(action: Callable[..., Any], *arguments: Any) -> list[tuple[str, Any]]:
            recorder.commands.clear()
            action(*arguments)
            found = [next(iter(command.items())) for command in recorder.commands]
            return [command for command in found if command[0] != "createIndexes"]

        queries = OrderHistoryQueries(view.connection)
        names = ("customerTerms", "customers", "names", "orders")
        updates = [("update", name) for name in names]
        assert sent(handle, view, EVERYTHING) == updates
        two_orders = [order(OrderCreated, 101), order(OrderCreated, 102)]
        assert sent(handle, view, two_orders) == [updates[1], updates[3]]
        counts = [("count", "names"), ("count", "erased")]  # from the metadata
        assert sent(queries.count_customers) == counts
        assert sent(queries.find_history, JANE, None, 50, None) == [("find", "customers")]
