"""For any order, any number of deliveries and any split into batches, the services and the view end up consistent.

The explorer's system (tests/model/system.py) on moto and a MongoDB server. Hypothesis draws the requests, and which
messages make the next batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from messaging.dynamodb import Database
from order_history.view import OrderHistoryView
from tests.integration import mongodb, tables
from tests.integration.tables import create_tables, items, snapshot
from tests.model.histories import view_violations, violations
from tests.model.system import CUSTOMERS, ORDERS, VIEW, Event, System, event_type, message

TABLES = ("Customers", "CustomersOutbox", "Orders", "OrdersOutbox")
MAX_BATCH = 4
Request = tuple[str, int, int]
"""create customer, limit; create order, customer, total; cancel, order; erase, customer."""

requests = st.lists(
    st.one_of(
        st.tuples(st.just("create customer"), st.integers(0, 1000), st.just(0)),
        *[st.tuples(st.just("create order"), st.integers(1, 3), st.integers(1, 700))] * 2,
        st.tuples(st.just("cancel"), st.integers(1, 9), st.just(0)),
        st.tuples(st.just("erase"), st.integers(1, 3), st.just(0)),
    ),
    min_size=2,
    max_size=9,
)


class RealSystem(System):
    """All services and the view on real clients, and the messages that were sent."""

    def __init__(self, view: OrderHistoryView) -> None:
        super().__init__()
        self.dynamodb = boto3.client("dynamodb")
        create_tables(self.dynamodb)
        for repository in (self.customer_repository, self.order_repository):
            repository._database = repository.outbox._database = Database()
        self.history = self.subscribers[VIEW]._handler = view
        self.sent: dict[str, str] = {}
        """The bodies of all messages, as they were when their event was published, by the event's id."""
        self.delivered: set[tuple[str, str]] = set()

    def published(self, service: str) -> list[Event]:
        return [message(text) for text in snapshot(self.dynamodb)[f"{service}Outbox"]]

    def make(self, number: int, request: Request) -> None:
        """Make a request; a customer or order that it creates gets the number as id. A refused one changes nothing."""
        self.next_id, key = number, str(number)
        match request:
            case "create customer", limit, _:
                self.create_customer("Jane", limit, key)
            case "create order", customer_id, total:
                self.create_order(customer_id, total, key)
            case "cancel", order_id, _:
                self.cancel_order(order_id, key)
            case "erase", customer_id, _:
                self.erase_customer(customer_id, key)
        self.check(finished=False)

    def messages(self, subscriber: str) -> list[str]:
        """Return the ids of the events that were sent to the subscriber."""
        for event_id, body in (*self.published(CUSTOMERS), *self.published(ORDERS)):
            self.sent.setdefault(event_id, body)
        wanted = self.subscriptions[subscriber]
        return [event_id for event_id, body in self.sent.items() if event_type(body) in wanted]

    def undelivered(self, subscriber: str) -> list[str]:
        return [i for i in self.messages(subscriber) if (subscriber, i) not in self.delivered]

    def send(self, subscriber: str, batch: Sequence[str]) -> None:
        """Deliver a batch of messages, new or redelivered."""
        result = self.deliver(subscriber, [self.sent[event_id] for event_id in batch])
        assert (result.failed, result.dead_letters) == ([], 0)
        self.delivered |= {(subscriber, event_id) for event_id in batch}
        self.check(finished=False)

    def check(self, *, finished: bool) -> None:
        """Check the tables; with `finished`, also the view and the schemas of the events."""
        rows = [items(self.dynamodb, table) for table in TABLES]
        assert violations(*rows, finished=finished) == []
        if finished:
            assert view_violations(mongodb.documents(self.history), rows[1], rows[3]) == []
            for table in ("CustomersOutbox", "OrdersOutbox"):
                assert len(tables.published(self.dynamodb, table)) == len(rows[TABLES.index(table)])

    def contents(self) -> tuple[Any, Any]:
        return snapshot(self.dynamodb), mongodb.documents(self.history)


def play(system: RealSystem, asked_for: list[Request], data: st.DataObject) -> None:
    """Make all requests and deliver all messages, in any order and in any batches, some of them repeatedly."""
    waiting = list(enumerate(asked_for, 1))
    while True:
        new = {name: ids for name in system.subscribers if (ids := system.undelivered(name))}
        if not (waiting or new):
            return
        choice = data.draw(st.sampled_from([*waiting[:1], *new]), label="step")
        if not isinstance(choice, str):
            system.make(*waiting.pop(0))
            continue
        first = data.draw(st.sampled_from(new[choice]))
        others = st.lists(st.sampled_from(system.messages(choice)), max_size=MAX_BATCH - 1)
        batch = data.draw(st.permutations([first, *data.draw(others)]), label="batch")
        system.send(choice, batch)


# Finding the smallest failing example takes Hypothesis up to five minutes.
@pytest.mark.timeout(400)
@given(asked_for=requests, data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_batches_end_consistent_and_redelivering_everything_changes_nothing(
    mongodb_uri: str, asked_for: list[Request], data: st.DataObject
) -> None:
    with mock_aws(), mongodb.fresh_view(mongodb_uri) as view:
        system = RealSystem(view)
        with system.deterministic():
            play(system, asked_for, data)
            system.check(finished=True)
            before = system.contents()

            everything = [(name, i) for name in system.subscribers for i in system.messages(name)]
            for subscriber, event_id in data.draw(st.permutations(everything), label="again"):
                system.send(subscriber, [event_id])

            assert system.contents() == before
