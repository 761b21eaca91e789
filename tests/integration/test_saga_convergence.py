"""Whatever the order and the number of deliveries, the services and the view end up consistent.

The real subscribers of all three services, on moto and a MongoDB server. Hypothesis says what clients ask
for and when, which message is delivered next, and which ones come again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from customers import service as customers_service
from customers.customer import Customer
from functions.customers import api as customers_api
from functions.customers import subscriber as customers_subscriber
from functions.order_history import projection
from functions.orders import api as orders_api
from functions.orders import subscriber as orders_subscriber
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from messaging.subscriber import Subscriber
from order_history.view import OrderHistoryView
from orders import service as orders_service
from orders.events import OrderState, RejectionReason
from orders.order import Order, OrderNotCancellableError
from shared.money import Money
from tests.integration import mongodb
from tests.integration.conftest import LambdaContext
from tests.integration.tables import create_tables, items, published, snapshot
from tests.samples import to_batch, to_message
from tests.template import resources, target

MAX_CUSTOMERS = 3
SUBSCRIBERS: dict[str, Subscriber] = {
    "CustomersSubscriber": customers_subscriber.subscriber,
    "OrdersSubscriber": orders_subscriber.subscriber,
    "OrderHistoryProjection": projection.subscriber,
}


# What clients ask for


@dataclass(frozen=True)
class CreateCustomer:
    limit: int
    """In cents."""


@dataclass(frozen=True)
class CreateOrder:
    customer_id: int
    """Customers are created as 1, 2, 3: there may be no such customer yet, or ever."""
    total: int
    """In cents."""


@dataclass(frozen=True)
class CancelOrder:
    order_number: int
    """Of the orders there are. It is refused unless the order is approved by then."""


Command = CreateCustomer | CreateOrder | CancelOrder

commands = st.lists(
    st.builds(CreateCustomer, st.integers(0, 1000))
    | st.builds(CreateOrder, st.integers(1, MAX_CUSTOMERS), st.integers(1, 700))
    | st.builds(CreateOrder, st.integers(1, MAX_CUSTOMERS), st.integers(1, 700))
    | st.builds(CancelOrder, st.integers(0, 5)),
    min_size=2,
    max_size=10,
)


@dataclass(frozen=True)
class Delivery:
    """A message to a subscriber. Tells its event by what happened: its id is another in each run."""

    subscriber: str
    event_type: str
    aggregate_id: int
    order_id: int


Step = Command | Delivery


# The system


def subscribers_of(envelope: DomainEventEnvelope) -> list[str]:
    """Who is sent the event, by the rules of template.yaml."""
    return [
        target(rule["Targets"][0]["Arn"]).removesuffix("Queue")
        for rule in resources("AWS::Events::Rule").values()
        if envelope.event.source in rule["EventPattern"]["source"]
        and envelope.event_type in rule["EventPattern"]["detail-type"]
    ]


class System:
    """All services and the view. The test is what carries messages from the outboxes to the subscribers."""

    def __init__(self, view: OrderHistoryView) -> None:
        self.view = view
        self.dynamodb = boto3.client("dynamodb")
        create_tables(self.dynamodb)
        self.order_ids: list[int] = []
        self.customer_ids: list[int] = []
        self.messages: dict[Delivery, dict[str, Any]] = {}
        """What was ever sent, in the order in which it was published."""
        self.delivered: list[Delivery] = []
        """What was delivered at least once, in that order."""
        self._items: dict[str, list[dict[str, Any]]] = {"Customers": [], "Orders": []}
        """What is in the services' tables."""

    @classmethod
    @contextmanager
    def start(cls, mongodb_uri: str) -> Iterator[System]:
        with (
            mock_aws(),
            mongodb.fresh_view(mongodb_uri) as view,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(projection, "view", view)
            for service in (customers_service, orders_service):
                patch.setattr(service, "new_id", itertools.count(1).__next__)
            yield cls(view)

    def do(self, step: Step) -> None:
        """The step is done; what it published is among the messages, and credit is as it must be."""
        match step:
            case CreateCustomer(limit) if len(self.customer_ids) < MAX_CUSTOMERS:
                changed = "Customers"
                name = f"Customer {len(self.customer_ids) + 1}"
                customer_id = customers_service.create_customer(
                    customers_api.customers, name, Money(limit), Cause("a request")
                )
                self.customer_ids.append(customer_id)
            case CreateOrder(customer_id, total):
                changed = "Orders"
                order_id = orders_service.create_order(
                    orders_api.orders, customer_id, Money(total), Cause("a request")
                )
                self.order_ids.append(order_id)
            case CancelOrder(number) if self.order_ids:
                changed = "Orders"
                self._cancel(self.order_ids[number % len(self.order_ids)])
            case Delivery(subscriber):
                changed = subscriber.removesuffix("Subscriber")
                self.deliver(step)
            case _:
                return
        if changed in self._items:  # the projection writes to no table
            self._items[changed] = items(self.dynamodb, changed)
            self._collect(f"{changed}Outbox")
            self.check_credit()

    def undelivered(self) -> list[Delivery]:
        return [delivery for delivery in self.messages if delivery not in self.delivered]

    def _cancel(self, order_id: int) -> None:
        try:
            orders_service.cancel_order(orders_api.orders, order_id, Cause("a request"))
        except OrderNotCancellableError:
            return

    def deliver(self, delivery: Delivery) -> None:
        """The message is handled, for the first time or again."""
        batch = to_batch(self.messages[delivery])
        answer = SUBSCRIBERS[delivery.subscriber].handle_batch(batch, LambdaContext())
        assert answer == {"batchItemFailures": []}
        if delivery not in self.delivered:
            self.delivered.append(delivery)

    def _collect(self, outbox: str) -> None:
        for envelope in sorted(published(self.dynamodb, outbox), key=happening):
            event_type, aggregate_id, order_id = happening(envelope)
            subscribers = subscribers_of(envelope)
            assert subscribers, "an event that nobody listens to is lost"
            for subscriber in subscribers:
                delivery = Delivery(subscriber, event_type, aggregate_id, order_id)
                message = self.messages.setdefault(delivery, to_message(envelope))
                assert message == to_message(envelope), "something was told twice"

    # What must be so

    def orders(self) -> list[Order]:
        return [orders_service.find_order(orders_api.orders, i) for i in self.order_ids]

    def customers(self) -> list[Customer]:
        found = [
            customers_service.find_customer(customers_api.customers, i) for i in self.customer_ids
        ]
        return sorted(found, key=lambda customer: customer.id)

    def check_credit(self) -> None:
        """At any time: nobody has spent more than there is."""
        approved: dict[int, int] = {}
        for item in self._items["Orders"]:
            if item["state"]["S"] == OrderState.APPROVED:
                customer_id = int(item["customerId"]["N"])
                total = int(item["orderTotalCents"]["N"])
                approved[customer_id] = approved.get(customer_id, 0) + total
        reserved: dict[int, int] = {}
        customers = {}
        for item in self._items["Customers"]:
            customer_id = int(item["customerId"]["N"])
            if item["itemType"]["S"] == "Reservation":
                cents = int(item["reservedCents"]["N"])
                reserved[customer_id] = reserved.get(customer_id, 0) + cents
            else:
                customers[customer_id] = item
        assert approved.keys() | reserved.keys() <= customers.keys()
        for customer_id, item in customers.items():
            held = int(item["reservedCreditCents"]["N"])
            assert held == reserved.get(customer_id, 0)
            assert approved.get(customer_id, 0) <= held <= int(item["creditLimitCents"]["N"])

    def check_the_end(self) -> None:
        """When all is delivered: every order is decided, and exactly the approved ones hold credit."""
        orders = self.orders()
        assert all(order.state is not OrderState.PENDING for order in orders)
        for customer in self.customers():
            approved = [
                order.order_total.cents
                for order in orders
                if order.state is OrderState.APPROVED and order.customer_id == customer.id
            ]
            assert customer.reserved_credit == Money(sum(approved))

    def check_view(self) -> None:
        """When all is delivered: the view tells what the services would."""
        orders = self.orders()
        assert self.view.count_customers() == len(self.customer_ids)
        for customer in self.customers():
            document = self.view.find_customer(customer.id)
            assert document == {
                "_id": customer.id,
                "name": customer.name,
                "creditLimitCents": customer.credit_limit.cents,
                "availableCreditCents": customer.available_credit.cents,
                "version": customer.version,
                **self._orders_of(customer.id),
            }
        for order in orders:
            document = self.view.find_order(order.id)
            assert document is not None
            assert document["customerId"] == order.customer_id
            assert facts_in(document) == facts_of(order)
            assert sorted(document["timeline"]) == [str(n) for n in range(1, order.version + 1)]
            assert document["timeline"][str(order.version)]["state"] == order.state
            self._check_events_of(order.id)
        unknown = {order.customer_id for order in orders} - set(self.customer_ids)
        assert all(self.view.find_customer(customer_id) is None for customer_id in unknown)

    def _orders_of(self, customer_id: int) -> dict[str, Any]:
        document = self.view.find_customer(customer_id) or {}
        embedded = document.get("orders", {})
        expected = {str(o.id): facts_of(o) for o in self.orders() if o.customer_id == customer_id}
        assert {key: facts_in(order) for key, order in embedded.items()} == expected
        return {"orders": embedded} if embedded else {}

    def _check_events_of(self, order_id: int) -> None:
        """All events that concern the order are in the view, and each came after what it answers."""
        events = self.view.find_events(order_id, limit=100, after=None)
        told = {d.event_type for d in self.messages if d.order_id == order_id}
        assert sorted(event["type"] for event in events) == sorted(told)
        assert all(event["deliveries"] >= 1 for event in events)
        ids = {event["_id"] for event in events}
        assert all(event["causationId"] in {None, *ids} for event in events)

    def everything(self) -> tuple[Any, Any]:
        """All that is stored anywhere."""
        return snapshot(self.dynamodb), mongodb.documents(self.view)

    def outcome(self) -> dict[int, tuple[OrderState, RejectionReason | None]]:
        return {order.id: (order.state, order.rejection_reason) for order in self.orders()}


def happening(envelope: DomainEventEnvelope) -> tuple[str, int, int]:
    """What happened, to whom, because of which order: no two events have that in common."""
    event = envelope.event
    return type(event).__name__, event.aggregate_id, getattr(event, "order_id", 0)


def facts_of(order: Order) -> tuple[Any, ...]:
    return order.order_total.cents, order.state, order.rejection_reason, order.version


def facts_in(document: dict[str, Any]) -> tuple[Any, ...]:
    names = ("orderTotalCents", "state", "rejectionReason", "version")
    return tuple(document[name] for name in names)


def play(system: System, asked_for: list[Command], data: st.DataObject) -> list[Step]:
    """All commands are done and all messages delivered, in any order; some of these again and again.

    Gives all steps that were made.
    """
    steps: list[Step] = []
    waiting = list(asked_for)
    while waiting or system.undelivered():
        choices: list[Step] = [*waiting[:1], *system.undelivered()]
        if system.delivered and data.draw(st.integers(0, 3), label="redeliver") == 3:
            choices = list(system.delivered)
        step = data.draw(st.sampled_from(choices), label="step")
        if waiting and step is waiting[0]:
            del waiting[0]
        steps.append(step)
        system.do(step)
    return steps


# Finding the smallest example that fails takes Hypothesis up to five minutes.
pytestmark = pytest.mark.timeout(400)
slow_but_sure = settings(
    max_examples=24, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@given(asked_for=commands, data=st.data())
@slow_but_sure
def test_everything_is_consistent_in_the_end_and_stays_so_when_all_of_it_is_delivered_again(
    mongodb_uri: str, asked_for: list[Command], data: st.DataObject
) -> None:
    with System.start(mongodb_uri) as system:
        play(system, asked_for, data)

        system.check_the_end()
        system.check_view()
        before = system.everything()
        for delivery in data.draw(st.permutations(list(system.messages)), label="again"):
            system.deliver(delivery)
        assert system.everything() == before


@given(asked_for=commands, data=st.data())
@settings(slow_but_sure, max_examples=10)
def test_deliveries_that_are_repeated_make_no_difference(
    mongodb_uri: str, asked_for: list[Command], data: st.DataObject
) -> None:
    with System.start(mongodb_uri) as system:
        steps = play(system, asked_for, data)
        with_repetitions = system.outcome(), system.customers(), list(system.messages)

    with System.start(mongodb_uri) as system:
        for step in steps:
            if step not in system.delivered:
                system.do(step)

        assert (system.outcome(), system.customers(), list(system.messages)) == with_repetitions
