"""The shipped services, subscribers and projection on in-memory stores, without clock, randomness and waiting."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity

from customers import service as customers_service
from customers.repository import CustomerRepository
from functions.customers import subscriber as customers_function
from functions.orders import subscriber as orders_function
from messaging import domain_event, envelope
from messaging.domain_event import Cause
from messaging.participant import SagaParticipant
from messaging.retry import retry_on_conflict
from messaging.subscriber import BatchResult, EventHandler, Subscriber
from order_history import view as view_module
from order_history.view import OrderHistoryView
from orders import order as order_module
from orders import service as orders_service
from orders.order import OrderNotCancellableError
from orders.repository import OrderRepository
from shared.errors import NotFoundError
from shared.idempotency import Created, IdempotentRequest
from shared.money import Money
from telemetry import metrics
from tests.integration.mongodb import connected
from tests.model.histories import view_violations, violations
from tests.model.stores import MemoryMongo, MemoryTables, State

CUSTOMERS, ORDERS, VIEW = "Customers", "Orders", "OrderHistory"
Event = tuple[str, str]
"""An event's id and the body of the message that carries it."""
START = datetime(2026, 11, 4, 9, 30, tzinfo=UTC)


class _NoDeadLetters:
    def send(self, body: str, reason: str) -> None:
        raise AssertionError(f"unexpected dead letter: {reason}: {body}")


class _Context:
    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 10**9


class System:
    """All services on stores of their own. The caller carries the messages."""

    def __init__(self) -> None:
        self.customers, self.orders, self.view = MemoryTables(), MemoryTables(), MemoryMongo()
        self.customer_repository = CustomerRepository(*_tables(CUSTOMERS), database=self.customers)  # type: ignore[arg-type]
        self.order_repository = OrderRepository(*_tables(ORDERS), database=self.orders)  # type: ignore[arg-type]
        self.history = OrderHistoryView(connected(self.view))
        handlers: dict[str, EventHandler] = {
            CUSTOMERS: _participant(self.customer_repository, customers_function),
            ORDERS: _participant(self.order_repository, orders_function),
            VIEW: self.history,
        }
        self.subscribers = {
            name: Subscriber(handler, _NoDeadLetters())  # type: ignore[arg-type]
            for name, handler in handlers.items()
        }
        self.subscriptions = {
            name: frozenset(event_class.__name__ for event_class in handler.event_classes)
            for name, handler in handlers.items()
        }
        self.store = {CUSTOMERS: self.customers, ORDERS: self.orders, VIEW: self.view}
        self.next_id = 0
        """The id of the next customer or order."""
        self.request = ""
        """The current request. Determines the ids of events that no event caused."""
        self.clock: Callable[[], datetime] = lambda: START

    @contextmanager
    def deterministic(self) -> Iterator[System]:
        """Replace ids, clock, waiting, metrics and logs while the system runs."""
        ids = SimpleNamespace(uuid4=self._request_id, uuid5=uuid.uuid5, UUID=uuid.UUID)
        with pytest.MonkeyPatch.context() as patch:
            for service in (customers_service, orders_service):
                patch.setattr(service, "new_id", lambda: self.next_id)
            for module in (envelope, order_module, view_module):
                patch.setattr(module, "now", lambda: self.clock())  # noqa: PLW0108, the clock may be replaced
            patch.setattr(domain_event, "uuid", ids)
            patch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda _: None))
            patch.setattr(metrics, "count", lambda *_: None)
            decode = lru_cache(maxsize=100_000)(Subscriber._decode_body)
            patch.setattr(Subscriber, "_decode_body", decode)
            logging.disable(logging.CRITICAL)
            try:
                yield self
            finally:
                logging.disable(logging.NOTSET)

    def create_customer(self, name: str, limit: int, key: str) -> int:
        """Create a customer as the API does. `key` is the Idempotency-Key."""
        return self._create(
            customers_service.create_customer, self.customer_repository, name, limit, key
        )

    def create_order(self, customer_id: int, total: int, key: str) -> int:
        """Create an order as the API does."""
        return self._create(
            orders_service.create_order, self.order_repository, customer_id, total, key
        )

    def cancel_order(self, order_id: int, request: str) -> None:
        """Cancel an order as the API does. Do nothing if the API refuses it."""
        self._command(orders_service.cancel_order, self.order_repository, order_id, request)

    def erase_customer(self, customer_id: int, request: str) -> None:
        """Erase a customer as the API does. Do nothing if the API refuses it."""
        self._command(
            customers_service.erase_customer, self.customer_repository, customer_id, request
        )

    def deliver(self, subscriber: str, bodies: Sequence[str]) -> BatchResult:
        """Deliver one batch of messages. The message ids are their indexes."""
        records = [{"messageId": str(i), "body": body} for i, body in enumerate(bodies)]
        return self.subscribers[subscriber].handle_batch({"Records": records}, _Context())

    def published(self, service: str) -> list[Event]:
        """Return the events in the outbox of a service, sorted by id."""
        return list(published(self.store[service].state, service))

    def violations(self, *, finished: bool, view: bool) -> list[str]:
        """Return the broken rules of the present state."""
        tables = ((s, table) for s in (CUSTOMERS, ORDERS) for table in (s, f"{s}Outbox"))
        rows = [self.store[service].all(table) for service, table in tables]
        found = violations(*rows, finished=finished)
        if view:
            documents = {name: self.view.all(name) for name in self.view.list_collection_names()}
            found += view_violations(documents, rows[1], rows[3])
        return found

    def _create(
        self, create: Callable[..., Created], repository: Any, first: Any, amount: int, key: str
    ) -> int:
        self.request = f"{key} as {self.next_id}"
        request = IdempotentRequest(key, f"{first} {amount}", made_at=0)
        cause = Cause(f"request {key}")
        return retry_on_conflict(create, repository, first, Money(amount), cause, request).id

    def _command(
        self, command: Callable[..., object], repository: Any, aggregate_id: int, request: str
    ) -> None:
        self.request = request
        with suppress(NotFoundError, OrderNotCancellableError):
            retry_on_conflict(command, repository, aggregate_id, Cause(request))

    def _request_id(self) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_OID, self.request)


def _tables(service: str) -> tuple[str, str, str]:
    return service, f"{service}Outbox", f"{service}Idempotency"


def _participant(repository: Any, function: Any) -> SagaParticipant[Any]:
    participant: SagaParticipant[Any] = SagaParticipant(repository)
    participant._handlers = function.participant._handlers  # the shipped wiring
    return participant


@lru_cache(maxsize=100_000)
def message(text: str) -> Event:
    """Return the event of an outbox item, as EventBridge delivers it."""
    item = json.loads(text)
    detail = json.loads(item["detail"]["S"])
    body = {"source": item["source"]["S"], "detail-type": item["eventType"]["S"], "detail": detail}
    return item["eventId"]["S"], json.dumps(body)


@lru_cache(maxsize=100_000)
def published(state: State, service: str) -> tuple[Event, ...]:
    """Return the events in the outbox of a service, sorted by id."""
    outbox = f"{service}Outbox"
    return tuple(sorted(message(text) for (table, _), text in state if table == outbox))


@lru_cache(maxsize=100_000)
def answered(state: State, service: str) -> frozenset[str]:
    """Return the ids of the events that the events in the outbox of a service answer."""
    details = (json.loads(body)["detail"] for _, body in published(state, service))
    causes = (detail["metadata"]["causationId"] for detail in details)
    return frozenset(cause for cause in causes if cause)


@lru_cache(maxsize=100_000)
def event_type(body: str) -> str:
    """Return the type of the event in a message."""
    return str(json.loads(body)["detail-type"])


@lru_cache(maxsize=100_000)
def describe(body: str) -> str:
    """Return an event as text, such as `OrderCreated of order 11`."""
    decoded = json.loads(body)
    data = decoded["detail"]["data"]
    about = f"order {data['orderId']}" if "orderId" in data else f"customer {data['customerId']}"
    return f"{decoded['detail-type']} of {about}"
