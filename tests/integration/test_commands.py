"""Commands of Customers and Orders with their repositories, on moto."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from customers import service as customers_service
from customers.customer import Customer
from customers.events import CustomerCreated
from customers.repository import CustomerRepository
from messaging.domain_event import Cause
from messaging.retry import WriteConflictError, retry_on_conflict
from orders import service as orders_service
from orders.events import OrderCancelled, OrderCreated, OrderState, RejectionReason
from orders.order import Order, OrderNotCancellableError
from orders.repository import OrderRepository
from shared.errors import IdempotencyKeyReusedError
from shared.idempotency import LIFETIME_SECONDS, Created, IdempotentRequest
from shared.money import ZERO, Money
from tests.integration.conftest import AwsCalls
from tests.integration.tables import items, published, snapshot

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REQUEST = Cause("a request")


@dataclass
class Service:
    """One of the two services, with its create command. The aggregates differ by their amount."""

    name: str
    module: Any
    repository: Any
    _create: Callable[..., Created]

    def create(self, cents: int = 500, request: IdempotentRequest | None = None) -> Created:
        return self._create(Money(cents), request=request)

    def list_all(self, limit: int) -> list[list[Any]]:
        """Return all pages."""
        pages, after = [], None
        while True:
            page, after = self.repository.list(limit, after)
            pages.append(page)
            if after is None:
                return pages


@pytest.fixture(params=["Customers", "Orders"])
def service(
    request: pytest.FixtureRequest, customers: CustomerRepository, orders: OrderRepository
) -> Service:
    if request.param == "Customers":
        create = partial(customers_service.create_customer, customers, "Jane Doe", cause=REQUEST)
        return Service("Customers", customers_service, customers, create)
    create = partial(orders_service.create_order, orders, 1, cause=REQUEST)
    return Service("Orders", orders_service, orders, create)


def idempotent(key: str = "a key", cents: int = 500, caller: str = "me") -> IdempotentRequest:
    return IdempotentRequest.of(key, caller, {"cents": cents})


def approve(orders: OrderRepository, order_id: int) -> Order:
    order = orders_service.find_order(orders, order_id)
    order.approve()
    orders._database.write(orders.update(Order(**{**vars(order), "version": 1}), order))
    return order


# Create and find


def test_created_customer_is_found_and_its_event_is_in_the_outbox(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    created = customers_service.create_customer(customers, "Jane Doe", Money(500), REQUEST)

    found = customers_service.find_customer(customers, created.id)
    assert found == Customer(created.id, "Jane Doe", Money(500), ZERO, version=1)
    (envelope,) = published(dynamodb, "CustomersOutbox")
    assert envelope == created.event
    assert envelope.event == CustomerCreated(
        customer_id=created.id, name="Jane Doe", credit_limit=Money(500)
    )
    metadata = envelope.metadata
    assert (metadata.aggregate_version, metadata.correlation_id, metadata.causation_id) == (
        1,
        "a request",
        None,
    )


def test_created_order_is_pending_and_its_event_is_in_the_outbox(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    created = orders_service.create_order(orders, 1, Money(400), REQUEST)

    order = orders_service.find_order(orders, created.id)
    assert order == Order(created.id, 1, Money(400), order.created_at, version=1)
    assert order.state is OrderState.PENDING
    (envelope,) = published(dynamodb, "OrdersOutbox")
    assert envelope == created.event
    assert envelope.event == OrderCreated(
        order_id=created.id,
        customer_id=1,
        order_total=Money(400),
        state=OrderState.PENDING,
        rejection_reason=None,
        created_at=order.created_at,
    )


def test_unknown_ids_are_not_found(customers: CustomerRepository, orders: OrderRepository) -> None:
    with pytest.raises(customers_service.CustomerNotFoundError):
        customers_service.find_customer(customers, 1)
    with pytest.raises(orders_service.OrderNotFoundError):
        orders_service.find_order(orders, 1)


def test_generated_id_that_is_taken_is_replaced(
    service: Service, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter([1, 1, 2])
    monkeypatch.setattr(service.module, "new_id", lambda: next(ids))
    service.create(500)
    before = items(dynamodb, service.name)

    created = retry_on_conflict(service.create, 700, idempotent())

    assert created.id == 2
    assert all(item in items(dynamodb, service.name) for item in before)
    assert len(published(dynamodb, f"{service.name}Outbox")) == 2


def test_reads_of_aggregates_are_consistent(service: Service, aws_calls: AwsCalls) -> None:
    service.repository.find(service.create().id)
    service.repository.list(10, None)

    assert [r["ConsistentRead"] for r in aws_calls.requests("GetItem")] == [True]
    for request in aws_calls.requests("BatchGetItem"):  # of customers, which are listed by index
        assert request["RequestItems"]["Customers"]["ConsistentRead"] is True


# List


@pytest.mark.usefixtures("short_pages")
def test_pages_hold_every_aggregate_exactly_once(service: Service) -> None:
    assert service.list_all(10) == [[]]
    created = [service.create(n, idempotent(f"key {n}")).id for n in range(100, 113)]

    for limit in (1, 2, 3, 5, 13, 100):
        pages = service.list_all(limit)
        assert sorted(a.id for page in pages for a in page) == sorted(created), limit
        assert max(map(len, pages)) <= limit
    assert [len(page) for page in service.list_all(5)] == [4, 5, 4, 0], "shorter than the limit"


def test_list_shows_the_current_credit_and_no_reservations(
    customers: CustomerRepository,
) -> None:
    created = customers_service.create_customer(customers, "Jane Doe", Money(500), REQUEST)
    before = customers_service.find_customer(customers, created.id)
    after = customers_service.find_customer(customers, created.id)
    for order_id in range(10, 14):
        after.reserve_credit(order_id, Money(100))
    customers._database.write(customers.update(before, after))

    (listed,), _ = customers.list(2, None)

    assert (listed.id, listed.available_credit) == (created.id, Money(100))


# Cancel


def test_approved_order_is_cancelled_once(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    order_id = orders_service.create_order(orders, 1, Money(400), REQUEST).id
    approve(orders, order_id)

    envelope = orders_service.cancel_order(orders, order_id, Cause("another request"))
    before = snapshot(dynamodb)
    repeated = orders_service.cancel_order(orders, order_id, REQUEST)

    assert envelope is not None
    assert isinstance(envelope.event, OrderCancelled)
    assert (envelope.metadata.aggregate_version, envelope.metadata.correlation_id) == (
        3,
        "another request",
    )
    assert envelope in published(dynamodb, "OrdersOutbox")
    assert orders_service.find_order(orders, order_id).state is OrderState.CANCELLED
    assert repeated is None
    assert snapshot(dynamodb) == before


def test_pending_rejected_or_unknown_order_cannot_be_cancelled(
    orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    pending = orders_service.create_order(orders, 1, Money(400), REQUEST).id
    rejected = orders_service.create_order(orders, 1, Money(400), REQUEST).id
    order = orders_service.find_order(orders, rejected)
    order.reject(RejectionReason.INSUFFICIENT_CREDIT)
    orders._database.write(orders.update(Order(**{**vars(order), "version": 1}), order))
    before = snapshot(dynamodb)

    for order_id in (pending, rejected):
        with pytest.raises(OrderNotCancellableError):
            orders_service.cancel_order(orders, order_id, REQUEST)
    with pytest.raises(orders_service.OrderNotFoundError):
        orders_service.cancel_order(orders, 1, REQUEST)

    assert snapshot(dynamodb) == before


def test_order_changed_since_it_was_loaded_is_a_conflict(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    order_id = orders_service.create_order(orders, 1, Money(400), REQUEST).id
    approve(orders, order_id)
    stale = dynamodb.get_item(TableName="Orders", Key={"orderId": {"N": str(order_id)}})
    orders_service.cancel_order(orders, order_id, REQUEST)
    before = snapshot(dynamodb)

    aws_calls.answer("GetItem", lambda _call, _request: stale)
    with pytest.raises(WriteConflictError):
        orders_service.cancel_order(orders, order_id, REQUEST)

    assert snapshot(dynamodb) == before


# Idempotency-Key


def test_replayed_request_creates_nothing_and_returns_the_original_id(
    service: Service, dynamodb: DynamoDBClient
) -> None:
    first = service.create(request=idempotent())
    before = snapshot(dynamodb)

    assert service.create(request=idempotent()) == Created(first.id)
    with pytest.raises(IdempotencyKeyReusedError):
        service.create(501, idempotent(cents=501))

    assert snapshot(dynamodb) == before


def test_another_key_or_caller_or_no_key_creates_another_aggregate(service: Service) -> None:
    requests = [idempotent(), idempotent("another"), idempotent(caller="you"), None, None]

    assert len({service.create(request=request).id for request in requests}) == 5


def test_key_can_be_reused_from_the_second_on_in_which_it_expires(service: Service) -> None:
    def request_at(made_at: int, fingerprint: str) -> IdempotentRequest:
        return IdempotentRequest("key", fingerprint, made_at)

    first = service.create(request=request_at(1000, "a"))
    with pytest.raises(IdempotencyKeyReusedError):
        service.create(request=request_at(1000 + LIFETIME_SECONDS - 1, "b"))
    second = service.create(request=request_at(1000 + LIFETIME_SECONDS, "b"))

    assert second.id != first.id
    replayed = service.create(request=request_at(1000 + LIFETIME_SECONDS + 1, "b"))
    assert replayed == Created(second.id)


def test_key_is_stored_with_its_expiry_as_unix_time(
    service: Service, dynamodb: DynamoDBClient
) -> None:
    created = service.create(request=IdempotentRequest("key", "fingerprint", 1_800_000_000))

    (item,) = items(dynamodb, f"{service.name}Idempotency")
    assert item["expiresAt"] == {"N": str(1_800_000_000 + 24 * 60 * 60)}
    assert item["aggregateId"] == {"N": str(created.id)}
