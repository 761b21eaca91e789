"""Commands of Customers and Orders with their repositories, on moto. test_*_api.py has their outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from customers import service as customers_service
from customers.repository import CustomerRepository
from messaging.retry import WriteConflictError, retry_on_conflict
from orders import service as orders_service
from orders.events import OrderState
from orders.repository import OrderRepository
from shared.errors import IdempotencyKeyReusedError
from shared.idempotency import LIFETIME_SECONDS, Created, IdempotentRequest
from shared.money import Money
from tests.integration.conftest import AwsCalls
from tests.integration.tables import insert_customer, insert_order, items, published, snapshot
from tests.samples import JANE, ORDER, REQUEST


@dataclass
class Service:
    """One of the two services, with its create command. The aggregates differ by their amount."""

    name: str
    module: Any
    repository: Any
    _create: Callable[..., Created]

    def create(self, cents: int = 500, request: IdempotentRequest | None = None) -> Created:
        return self._create(Money(cents), request=request)


@pytest.fixture(params=["Customers", "Orders"])
def service(
    request: pytest.FixtureRequest, customers: CustomerRepository, orders: OrderRepository
) -> Service:
    if request.param == "Customers":
        create = partial(customers_service.create_customer, customers, "Jane Doe", cause=REQUEST)
        return Service("Customers", customers_service, customers, create)
    create = partial(orders_service.create_order, orders, 1, cause=REQUEST)
    return Service("Orders", orders_service, orders, create)


def request_at(made_at: int, fingerprint: str = "a", key: str = "key") -> IdempotentRequest:
    return IdempotentRequest(key, fingerprint, made_at)


def test_generated_id_that_is_taken_is_replaced(
    service: Service, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter([1, 1, 2])
    monkeypatch.setattr(service.module, "new_id", lambda: next(ids))
    service.create(500)
    before = items(dynamodb, service.name)

    created = retry_on_conflict(service.create, 700, request=request_at(1000))

    assert created.id == 2
    assert all(item in items(dynamodb, service.name) for item in before)
    assert len(items(dynamodb, f"{service.name}Idempotency")) == 1
    assert len(published(dynamodb, f"{service.name}Outbox")) == 2


def test_created_aggregate_comes_with_its_published_event(
    service: Service, dynamodb: DynamoDBClient
) -> None:
    created = service.create()

    assert published(dynamodb, f"{service.name}Outbox") == [created.event]
    assert created.event.event.aggregate_id == created.id


def test_erasing_returns_the_published_event_and_nothing_when_repeated(
    customers: CustomerRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    insert_customer(customers)

    erased = customers_service.erase_customer(customers, JANE, REQUEST)

    assert published(dynamodb, "CustomersOutbox")[-1] == erased
    assert [request["ConsistentRead"] for request in aws_calls.requests("Query")] == [True]
    for item in items(dynamodb, "CustomersOutbox"):
        detail = item["detail"]["S"]
        assert detail == json.dumps(json.loads(detail), separators=(",", ":")), "no spaces"
    assert customers_service.erase_customer(customers, JANE, REQUEST) is None
    with pytest.raises(customers_service.CustomerNotFoundError, match="Customer 7 does not exist"):
        customers_service.erase_customer(customers, 7, REQUEST)


def test_reads_of_aggregates_are_consistent(service: Service, aws_calls: AwsCalls) -> None:
    service.repository.find(service.create().id)
    service.repository.list(10, None)

    assert [r["ConsistentRead"] for r in aws_calls.requests("GetItem")] == [True]
    for request in aws_calls.requests("BatchGetItem"):  # of customers, which are listed by index
        assert request["RequestItems"]["Customers"]["ConsistentRead"] is True


def test_list_shows_the_current_credit_and_no_reservations(customers: CustomerRepository) -> None:
    insert_customer(customers)
    before, after = (customers_service.find_customer(customers, JANE) for _ in range(2))
    for order_id in range(10, 14):
        after.reserve_credit(order_id, Money(100))
    customers._database.write(customers.update(before, after))

    (listed,), _ = customers.list(2, None)

    assert (listed.id, listed.available_credit) == (JANE, Money(100))


def test_order_changed_since_it_was_loaded_is_a_conflict(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    insert_order(orders, state=OrderState.APPROVED)
    stale = dynamodb.get_item(TableName="Orders", Key={"orderId": {"N": str(ORDER)}})
    orders_service.cancel_order(orders, ORDER, REQUEST)
    before = snapshot(dynamodb)

    aws_calls.answer("GetItem", lambda _call, _request: stale)
    with pytest.raises(WriteConflictError):
        orders_service.cancel_order(orders, ORDER, REQUEST)

    assert snapshot(dynamodb) == before


def test_key_can_be_reused_from_the_second_on_in_which_it_expires(service: Service) -> None:
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
    created = service.create(request=request_at(1_800_000_000))

    (item,) = items(dynamodb, f"{service.name}Idempotency")
    assert item["expiresAt"] == {"N": str(1_800_000_000 + 24 * 60 * 60)}
    assert item["aggregateId"] == {"N": str(created.id)}
