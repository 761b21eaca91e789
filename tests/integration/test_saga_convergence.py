"""For any order, any number of deliveries and any split into batches, the services and the view end up consistent.

The shipped subscribers of all three services, on moto and a MongoDB server. Hypothesis draws the requests, and which
messages make the next batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from customers import service as customers_service
from customers.repository import CustomerRepository
from messaging.dynamodb import Database
from messaging.envelope import DomainEventEnvelope
from order_history.view import OrderHistoryView
from orders import service as orders_service
from orders.order import OrderNotCancellableError
from orders.repository import OrderRepository
from shared.errors import NotFoundError
from shared.money import Money
from tests.integration import mongodb
from tests.integration.conftest import LambdaContext
from tests.integration.tables import create_tables, decode, items, snapshot
from tests.model.histories import view_violations, violations
from tests.samples import REQUEST, to_batch, to_message
from tests.template import resources, subscribers

SUBSCRIBERS = subscribers()
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


@cache
def rules() -> list[tuple[str, list[str], list[str]]]:
    """Return the subscriber, the sources and the event types of each EventBridge rule in template.yaml."""
    return [
        (
            name.removesuffix("Rule"),
            rule["EventPattern"]["source"],
            rule["EventPattern"]["detail-type"],
        )
        for name, rule in resources("AWS::Events::Rule").items()
    ]


@dataclass(frozen=True)
class Message:
    """A message to a subscriber."""

    subscriber: str
    event_id: str


class System:
    """All services and the view. The test carries the messages."""

    def __init__(self, view: OrderHistoryView) -> None:
        self.view = view
        self.dynamodb = boto3.client("dynamodb")
        create_tables(self.dynamodb)
        database = Database()
        self.customers = CustomerRepository("Customers", "CustomersOutbox", database=database)
        self.orders = OrderRepository("Orders", "OrdersOutbox", database=database)
        self.messages: dict[Message, DomainEventEnvelope] = {}
        self.undelivered: list[Message] = []
        self.collected: set[str] = set()

    @classmethod
    @contextmanager
    def start(cls, mongodb_uri: str) -> Iterator[System]:
        with (
            mock_aws(),
            mongodb.fresh_view(mongodb_uri) as view,
            pytest.MonkeyPatch.context() as patch,
        ):
            system = cls(view)
            for module in SUBSCRIBERS.values():
                if participant := getattr(module, "participant", None):
                    patch.setattr(participant._repository, "_database", Database())
                    patch.setattr(participant._repository.outbox, "_database", Database())
                elif isinstance(module.subscriber._handler, OrderHistoryView):
                    patch.setattr(module.subscriber, "_handler", view)
            for service in (customers_service, orders_service):
                patch.setattr(service, "new_id", itertools.count(1).__next__)
            yield system

    def request(self, request: Request) -> None:
        """Make a request. A refused one changes nothing."""
        match request:
            case "create customer", limit, _:
                customers_service.create_customer(self.customers, "Jane", Money(limit), REQUEST)
            case "create order", customer_id, total:
                orders_service.create_order(self.orders, customer_id, Money(total), REQUEST)
            case command, number, _:
                try:
                    if command == "cancel":
                        orders_service.cancel_order(self.orders, number, REQUEST)
                    else:
                        customers_service.erase_customer(self.customers, number, REQUEST)
                except (NotFoundError, OrderNotCancellableError):
                    return
        self._collect()

    def deliver(self, subscriber: str, batch: Sequence[Message]) -> None:
        """Deliver a batch of messages, new or redelivered."""
        event = to_batch(*[to_message(self.messages[message]) for message in batch])
        result = SUBSCRIBERS[subscriber].subscriber.handle_batch(event, LambdaContext())
        assert (result.failed, result.dead_letters) == ([], 0)
        self.undelivered = [m for m in self.undelivered if m not in batch]
        if subscriber != "OrderHistoryProjection":
            self._collect()

    def check(self, *, finished: bool) -> None:
        """Check the tables; with `finished`, also the view."""
        tables = [items(self.dynamodb, table) for table in TABLES]
        assert violations(*tables, finished=finished) == []
        if finished:
            assert view_violations(mongodb.documents(self.view), tables[1], tables[3]) == []

    def contents(self) -> tuple[Any, Any]:
        return snapshot(self.dynamodb), mongodb.documents(self.view)

    def _collect(self) -> None:
        """Send new events to the subscribers of the rules that match them."""
        stored = [i for table in TABLES if "Outbox" in table for i in items(self.dynamodb, table)]
        for item in stored:
            if item["eventId"]["S"] in self.collected:
                continue
            envelope = decode(item)
            self.collected.add(envelope.metadata.event_id)
            for subscriber, sources, types in rules():
                if envelope.event.source in sources and envelope.event_type in types:
                    message = Message(subscriber, envelope.metadata.event_id)
                    self.messages[message] = envelope
                    self.undelivered.append(message)
        self.check(finished=False)


def play(system: System, asked_for: list[Request], data: st.DataObject) -> None:
    """Make all requests and deliver all messages, in any order and in any batches, some of them repeatedly."""
    waiting = list(asked_for)
    while waiting or system.undelivered:
        choices = [*waiting[:1], *dict.fromkeys(m.subscriber for m in system.undelivered)]
        choice = data.draw(st.sampled_from(choices), label="step")
        if not isinstance(choice, str):
            system.request(waiting.pop(0))
            continue
        new = [m for m in system.undelivered if m.subscriber == choice]
        old = [m for m in system.messages if m.subscriber == choice and m not in new]
        first = data.draw(st.sampled_from(new))
        others = st.lists(st.sampled_from([*new, *old]), max_size=MAX_BATCH - 1)
        batch = data.draw(st.permutations([first, *data.draw(others)]), label="batch")
        system.deliver(choice, batch)


# Finding the smallest failing example takes Hypothesis up to five minutes.
@pytest.mark.timeout(400)
@given(asked_for=requests, data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_batches_end_consistent_and_redelivering_everything_changes_nothing(
    mongodb_uri: str, asked_for: list[Request], data: st.DataObject
) -> None:
    assert {subscriber for subscriber, _, _ in rules()} == SUBSCRIBERS.keys()
    with System.start(mongodb_uri) as system:
        play(system, asked_for, data)
        system.check(finished=True)
        before = system.contents()

        for message in data.draw(st.permutations(list(system.messages)), label="again"):
            system.deliver(message.subscriber, [message])

        assert system.contents() == before
