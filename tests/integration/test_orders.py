"""The Orders service with its repository, on moto."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from messaging.domain_event import Cause
from messaging.retry import EventAlreadyPublishedError, WriteConflictError, retry_on_conflict
from orders import service
from orders.events import (
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderRejected,
    OrderState,
    RejectionReason,
)
from orders.order import Order, OrderNotCancellableError
from orders.repository import OrderRepository
from shared.errors import IdempotencyKeyReusedError
from shared.money import Money
from tests.integration.tables import items, published, snapshot
from tests.samples import an_event_id

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REQUEST = Cause("a request")
RESERVED = Cause("a request", an_event_id("credit reserved"))
NOT_RESERVED = Cause("a request", an_event_id("credit not reserved"))
INSUFFICIENT = RejectionReason.INSUFFICIENT_CREDIT


def create(orders: OrderRepository) -> int:
    return service.create_order(orders, 1, Money(400), REQUEST)


def events_of(dynamodb: DynamoDBClient) -> list[type]:
    """The types of the events that were published, by version."""
    envelopes = published(dynamodb, "OrdersOutbox")
    return [type(e.event) for e in sorted(envelopes, key=lambda e: e.metadata.aggregate_version)]


# Creating, finding, listing


def test_a_created_order_is_pending_and_found_as_created(orders: OrderRepository) -> None:
    order_id = create(orders)

    order = service.find_order(orders, order_id)

    assert order == Order(order_id, 1, Money(400), order.created_at, OrderState.PENDING, version=1)


def test_an_order_and_the_event_of_its_creation_are_written_together(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    order_id = create(orders)

    (envelope,) = published(dynamodb, "OrdersOutbox")
    assert len(items(dynamodb, "Orders")) == 1
    assert envelope.event == OrderCreated(
        order_id=order_id,
        customer_id=1,
        order_total=Money(400),
        state=OrderState.PENDING,
        rejection_reason=None,
        created_at=service.find_order(orders, order_id).created_at,
    )
    assert envelope.metadata.correlation_id == "a request"


def test_an_order_that_was_not_created_is_not_found(orders: OrderRepository) -> None:
    with pytest.raises(service.OrderNotFoundError):
        service.find_order(orders, 1)


def test_an_id_that_is_taken_is_not_taken_again(
    orders: OrderRepository, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter([1, 1, 2])
    monkeypatch.setattr(service, "new_id", lambda: next(ids))

    created = [retry_on_conflict(create, orders) for _ in range(2)]

    assert created == [1, 2]
    assert len(published(dynamodb, "OrdersOutbox")) == 2


def all_pages(orders: OrderRepository, limit: int) -> Iterator[list[Order]]:
    after = None
    while True:
        page, after = orders.list(limit, after)
        yield page
        if after is None:
            return


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_the_list_has_every_order_once_over_all_its_pages_and_no_idempotency_keys(
    orders: OrderRepository, limit: int
) -> None:
    created = {
        service.create_order(orders, 1, Money(400), REQUEST, key)
        for key in ("a key", "another", None, "a third", None, "a fourth", "a fifth")
    }

    pages = list(all_pages(orders, limit))

    listed = [order.id for page in pages for order in page]
    assert len(listed) == len(created)
    assert set(listed) == created
    assert all(len(page) <= limit for page in pages)


# Deciding


def test_reserved_credit_approves_a_pending_order(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    order_id = create(orders)

    service.note_credit_reserved(orders, order_id, RESERVED)

    order = service.find_order(orders, order_id)
    assert order.state is OrderState.APPROVED
    assert order.version == 2
    assert events_of(dynamodb) == [OrderCreated, OrderApproved]


@pytest.mark.parametrize("reason", RejectionReason)
def test_credit_that_was_not_reserved_rejects_a_pending_order(
    orders: OrderRepository, dynamodb: DynamoDBClient, reason: RejectionReason
) -> None:
    order_id = create(orders)

    service.note_credit_not_reserved(orders, order_id, reason, NOT_RESERVED)

    order = service.find_order(orders, order_id)
    assert (order.state, order.rejection_reason) == (OrderState.REJECTED, reason)
    assert events_of(dynamodb) == [OrderCreated, OrderRejected]


def test_an_order_whose_fate_is_decided_keeps_it(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    order_id = create(orders)
    service.note_credit_reserved(orders, order_id, RESERVED)
    before = snapshot(dynamodb)

    service.note_credit_reserved(orders, order_id, RESERVED)
    service.note_credit_not_reserved(orders, order_id, INSUFFICIENT, NOT_RESERVED)

    assert snapshot(dynamodb) == before


def test_an_order_that_is_not_there_cannot_be_decided(orders: OrderRepository) -> None:
    with pytest.raises(service.OrderNotFoundError):
        service.note_credit_reserved(orders, 1, RESERVED)


def test_two_answers_to_the_same_event_are_one_too_many(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    order_id = create(orders)
    stale = service.find_order(orders, order_id)
    service.note_credit_reserved(orders, order_id, RESERVED)
    before = snapshot(dynamodb)

    event = stale.note_credit_reserved()
    with pytest.raises(EventAlreadyPublishedError):
        orders.save(stale, event, RESERVED)

    assert snapshot(dynamodb) == before


def test_an_order_that_was_changed_since_it_was_loaded_is_not_saved(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    order_id = create(orders)
    stale = service.find_order(orders, order_id)
    service.note_credit_reserved(orders, order_id, RESERVED)
    before = snapshot(dynamodb)

    event = stale.note_credit_not_reserved(INSUFFICIENT)
    with pytest.raises(WriteConflictError):
        orders.save(stale, event, NOT_RESERVED)

    assert snapshot(dynamodb) == before


# Cancelling


def test_an_approved_order_is_cancelled(orders: OrderRepository, dynamodb: DynamoDBClient) -> None:
    order_id = create(orders)
    service.note_credit_reserved(orders, order_id, RESERVED)

    order = service.cancel_order(orders, order_id, Cause("another request"))

    assert order == service.find_order(orders, order_id)
    assert order.state is OrderState.CANCELLED
    assert events_of(dynamodb) == [OrderCreated, OrderApproved, OrderCancelled]


def test_an_order_is_cancelled_once(orders: OrderRepository, dynamodb: DynamoDBClient) -> None:
    order_id = create(orders)
    service.note_credit_reserved(orders, order_id, RESERVED)
    service.cancel_order(orders, order_id, REQUEST)
    before = snapshot(dynamodb)

    again = service.cancel_order(orders, order_id, REQUEST)

    assert again.state is OrderState.CANCELLED
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize("rejected", [False, True])
def test_an_order_that_is_not_approved_is_not_cancelled(
    orders: OrderRepository, dynamodb: DynamoDBClient, rejected: bool
) -> None:
    order_id = create(orders)
    if rejected:
        service.note_credit_not_reserved(orders, order_id, INSUFFICIENT, NOT_RESERVED)
    before = snapshot(dynamodb)

    with pytest.raises(OrderNotCancellableError):
        service.cancel_order(orders, order_id, REQUEST)

    assert snapshot(dynamodb) == before


def test_an_order_that_is_not_there_is_not_cancelled(orders: OrderRepository) -> None:
    with pytest.raises(service.OrderNotFoundError):
        service.cancel_order(orders, 1, REQUEST)


# The Idempotency-Key


def test_the_same_request_with_the_same_key_creates_one_order(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    first = service.create_order(orders, 1, Money(400), REQUEST, "a key")
    before = snapshot(dynamodb)

    second = service.create_order(orders, 1, Money(400), Cause("another request"), "a key")

    assert second == first
    assert snapshot(dynamodb) == before


@pytest.mark.parametrize(("customer_id", "total"), [(2, 400), (1, 401)])
def test_another_request_with_the_same_key_is_refused(
    orders: OrderRepository, dynamodb: DynamoDBClient, customer_id: int, total: int
) -> None:
    service.create_order(orders, 1, Money(400), REQUEST, "a key")
    before = snapshot(dynamodb)

    with pytest.raises(IdempotencyKeyReusedError):
        service.create_order(orders, customer_id, Money(total), REQUEST, "a key")

    assert snapshot(dynamodb) == before


def test_a_key_that_has_expired_is_good_again_though_nobody_has_removed_it_yet(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    first = service.create_order(orders, 1, Money(400), REQUEST, "a key")
    (key_item,) = [i for i in items(dynamodb, "Orders") if "expiresAt" in i]
    expired = {**key_item, "expiresAt": {"N": str(int(time.time()) - 1)}}
    dynamodb.put_item(TableName="Orders", Item=expired)

    second = service.create_order(orders, 2, Money(1), REQUEST, "a key")

    assert second != first
    assert service.create_order(orders, 2, Money(1), REQUEST, "a key") == second
