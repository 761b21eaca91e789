"""Seeded bugs. Each is a patch of the shipped code in this process; the explorer must find every one."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from customers.customer import Customer, CustomerCreditLimitExceededError
from customers.events import CustomerCreditReleased
from customers.repository import CustomerRepository, CustomersItem
from functions.customers import subscriber as customers_function
from messaging import participant as participant_module
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from messaging.outbox import EventAlreadyPublishedError, Outbox, OutboxItem
from messaging.participant import SagaParticipant
from messaging.retry import WriteConflictError
from messaging.subscriber import Handled, Subscriber
from order_history import view
from order_history.view import OrderHistoryView
from orders.events import OrderCancelled, OrderState
from orders.order import Order
from orders.repository import OrderItem, OrderRepository
from tests.model.stores import MemoryTables

Patch = Callable[[pytest.MonkeyPatch], None]
BUGS: dict[str, Patch] = {}


def bug(patch: Patch) -> Patch:
    BUGS[patch.__name__] = patch
    return patch


@bug
def random_event_ids(patch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    patch.setattr(Cause, "effect_id", lambda *_: str(uuid.UUID(int=next(numbers))))


@bug
def event_type_in_the_event_id(patch: pytest.MonkeyPatch) -> None:
    wrap = DomainEventEnvelope.wrap

    def with_type(event: Any, version: int, cause: Cause) -> DomainEventEnvelope:
        envelope = wrap(event, version, cause)
        event_id = cause.effect_id(f"{event.source}/{type(event).__name__}")
        return replace(envelope, metadata=replace(envelope.metadata, event_id=event_id))

    patch.setattr(DomainEventEnvelope, "wrap", with_type)


@bug
def version_condition_of_customers_dropped(patch: pytest.MonkeyPatch) -> None:
    _weaken_update(patch, CustomerRepository, CustomersItem.sk.exists())


@bug
def version_condition_of_orders_dropped(patch: pytest.MonkeyPatch) -> None:
    _weaken_update(patch, OrderRepository, OrderItem.order_id.exists())


@bug
def outbox_condition_dropped(patch: pytest.MonkeyPatch) -> None:
    insert = Outbox._insert
    anything = OutboxItem.event_id.exists() | OutboxItem.event_id.does_not_exist()
    patch.setattr(Outbox, "_insert", lambda *args: replace(insert(*args), condition=anything))


@bug
def credit_limit_not_checked(patch: pytest.MonkeyPatch) -> None:
    reserve = Customer.reserve_credit

    def unlimited(customer: Customer, order_id: int, total: Any) -> Any:
        limit, customer.credit_limit = customer.credit_limit, total + total + customer.credit_limit
        try:
            reserved = reserve(customer, order_id, total)
        finally:
            customer.credit_limit = limit
        credit = max(customer.available_credit, type(total)(0))
        return replace(reserved, available_credit=credit)

    patch.setattr(Customer, "reserve_credit", unlimited)


@bug
def stale_reads(patch: pytest.MonkeyPatch) -> None:
    """Reads miss the reservations, as an eventually consistent read may."""
    read = MemoryTables.get_all

    def stale(tables: MemoryTables, table: str, keys: Any) -> list[Any]:
        return [item for item in read(tables, table, keys) if "reservedCents" not in item]

    patch.setattr(MemoryTables, "get_all", stale)


@bug
def released_without_a_reservation(patch: pytest.MonkeyPatch) -> None:
    def release(customer: Customer | None, order: Any) -> CustomerCreditReleased | None:
        if customer is None:
            return None
        customer.reservations.setdefault(order.order_id, order.order_total)
        return customer.release_credit(order.order_id)

    shipped = customers_function.participant._handlers
    patch.setattr(customers_function.participant, "_handlers", {**shipped, OrderCancelled: release})


@bug
def refusal_changes_the_version(patch: pytest.MonkeyPatch) -> None:
    reserve = Customer.reserve_credit

    def counted(customer: Customer, *args: Any) -> Any:
        try:
            return reserve(customer, *args)
        except CustomerCreditLimitExceededError:
            customer.version += 1
            raise

    patch.setattr(Customer, "reserve_credit", counted)


@bug
def duplicates_not_removed_from_a_batch(patch: pytest.MonkeyPatch) -> None:
    commit = SagaParticipant._commit

    def without_duplicates(handler: Any, deliveries: Sequence[Any]) -> list[Handled]:
        outbox = handler._repository.outbox
        write = outbox.write

        def refuse(*args: Any) -> None:
            try:
                write(*args)
            except EventAlreadyPublishedError as error:
                raise WriteConflictError from error

        outbox.write = refuse
        try:
            return commit(handler, deliveries)
        finally:
            outbox.write = write

    patch.setattr(SagaParticipant, "_commit", without_duplicates)


@bug
def batch_with_a_duplicate_is_acknowledged_whole(patch: pytest.MonkeyPatch) -> None:
    """A transaction that fails because of one published event counts as handled for all."""
    commit = SagaParticipant._commit

    def trusting(handler: Any, deliveries: Sequence[Any]) -> list[Handled]:
        published, writes = handler._decide(deliveries)
        try:
            if published:
                handler._repository.outbox.write(list(published.values()), writes)
        except EventAlreadyPublishedError:
            return [Handled(delivery, False, None) for delivery in deliveries]
        return commit(handler, deliveries)

    patch.setattr(SagaParticipant, "_commit", trusting)


@bug
def failures_are_acknowledged(patch: pytest.MonkeyPatch) -> None:
    handle = Subscriber.handle_batch

    def optimistic(*args: Any) -> Any:
        result = handle(*args)
        result.failed.clear()
        return result

    patch.setattr(Subscriber, "handle_batch", optimistic)


@bug
def aggregate_and_event_in_two_transactions(patch: pytest.MonkeyPatch) -> None:
    """Dual write: the aggregate first, then its event."""
    write = Outbox.write

    def twice(outbox: Outbox, events: Any, aggregate_writes: Sequence[Any] = ()) -> None:
        if aggregate_writes:
            outbox._database.write(list(aggregate_writes))
        write(outbox, events)

    patch.setattr(Outbox, "write", twice)


@bug
def pending_orders_can_be_cancelled(patch: pytest.MonkeyPatch) -> None:
    cancelled = (OrderState.CANCELLED, OrderCancelled)
    patch.setattr(Order, "cancel", lambda order: order._change(*cancelled))


@bug
def credit_not_copied_before_deciding(patch: pytest.MonkeyPatch) -> None:
    """The loaded state is lost, so that changed reservations are not found."""

    def shallow(aggregates: dict[int, Any]) -> dict[int, Any]:
        return {key: replace(aggregate) for key, aggregate in aggregates.items()}

    patch.setattr(participant_module, "copy", SimpleNamespace(deepcopy=shallow))


@bug
def view_without_guard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(view, "_older", lambda key, _: {"_id": key[1]})


@bug
def view_guard_less_or_equal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(view, "_older", lambda key, c: {"_id": key[1], "version": {"$lte": c.version}})


@bug
def view_drops_facts_of_late_events(patch: pytest.MonkeyPatch) -> None:
    updates = view._updates
    patch.setattr(view, "_updates", lambda key, change: updates(key, change)[:1])


@bug
def view_does_not_retry_refused_upserts(patch: pytest.MonkeyPatch) -> None:
    bulk_write = OrderHistoryView._bulk_write
    patch.setattr(OrderHistoryView, "_bulk_write", lambda *args: bulk_write(*args)[:0])


@bug
def view_restores_names_of_erased_customers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(view, "NOT_ERASED", {})


@bug
def stored_name_not_erased(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "replace_data", lambda *_: [])


def _weaken_update(patch: pytest.MonkeyPatch, repository: Any, condition: Any) -> None:
    update = repository.update

    def weak(self: Any, before: Any, after: Any) -> list[Any]:
        first, *others = update(self, before, after)
        return [replace(first, condition=condition), *others]

    patch.setattr(repository, "update", weak)
