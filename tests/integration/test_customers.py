"""The Customers service with its repository, on moto."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.client import BaseClient

from customers import service
from customers.customer import Customer
from customers.events import (
    CustomerCreated,
    CustomerCreditReleased,
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerEvent,
    CustomerValidationFailed,
)
from customers.repository import CustomerRepository
from messaging.domain_event import Cause
from messaging.retry import EventAlreadyPublishedError, WriteConflictError, retry_on_conflict
from shared import identifiers
from shared.errors import IdempotencyKeyReusedError
from shared.money import ZERO, Money
from tests.integration.tables import items, published, snapshot
from tests.samples import an_event_id

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REQUEST = Cause("a request")
ORDER = 7


def order_created(number: int = 1) -> Cause:
    return Cause("a request", event_id=an_event_id(f"order created {number}"))


def order_cancelled(number: int = 1) -> Cause:
    return Cause("a request", event_id=an_event_id(f"order cancelled {number}"))


def create(customers: CustomerRepository, limit: int = 500, name: str = "Jane Doe") -> int:
    return service.create_customer(customers, name, Money(limit), REQUEST)


def events_of(dynamodb: DynamoDBClient) -> list[type]:
    """The types of the events that were published, by version."""
    envelopes = sorted(
        published(dynamodb, "CustomersOutbox"), key=lambda e: e.metadata.aggregate_version
    )
    return [type(envelope.event) for envelope in envelopes]


# Creating, finding, listing


def test_a_created_customer_is_found_as_created(customers: CustomerRepository) -> None:
    customer_id = create(customers)

    found = service.find_customer(customers, customer_id)

    assert found == Customer(customer_id, "Jane Doe", Money(500), ZERO, version=1)


def test_a_customer_and_the_event_of_its_creation_are_written_together(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers)

    (envelope,) = published(dynamodb, "CustomersOutbox")
    assert len(items(dynamodb, "Customers")) == 1
    assert envelope.event == CustomerCreated(
        customer_id=customer_id, name="Jane Doe", credit_limit=Money(500)
    )
    assert envelope.metadata.aggregate_version == 1
    assert envelope.metadata.correlation_id == "a request"
    assert envelope.metadata.causation_id is None


def test_whoever_was_not_created_is_not_found(customers: CustomerRepository) -> None:
    assert customers.find(1) is None
    with pytest.raises(service.CustomerNotFoundError):
        service.find_customer(customers, 1)


def test_an_id_that_is_taken_is_not_taken_again(
    customers: CustomerRepository, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter([1, 1, 2])
    monkeypatch.setattr(service, "new_id", lambda: next(ids))
    create(customers, name="Jane Doe")

    customer_id = retry_on_conflict(create, customers, name="John Doe")

    assert customer_id == 2
    assert service.find_customer(customers, 1).name == "Jane Doe"
    assert len(published(dynamodb, "CustomersOutbox")) == 2


def all_pages(customers: CustomerRepository, limit: int) -> Iterator[list[Customer]]:
    after = None
    while True:
        page, after = customers.list(limit, after)
        yield page
        if after is None:
            return


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_the_list_has_every_customer_once_over_all_its_pages(
    customers: CustomerRepository, limit: int
) -> None:
    created = {create(customers, name=f"Customer {number}") for number in range(7)}

    pages = list(all_pages(customers, limit))

    listed = [customer.id for page in pages for customer in page]
    assert len(listed) == len(created)
    assert set(listed) == created
    assert all(len(page) <= limit for page in pages)


def test_the_list_has_customers_only_with_their_credit_as_it_is_now(
    customers: CustomerRepository,
) -> None:
    customer_id = service.create_customer(customers, "Jane Doe", Money(500), REQUEST, "a key")
    for order_id in range(10, 14):
        cause = order_created(order_id)
        service.reserve_credit(customers, customer_id, order_id, Money(100), cause)

    listed = [customer for page in all_pages(customers, 2) for customer in page]

    assert [(customer.id, customer.available_credit) for customer in listed] == [
        (customer_id, Money(100))
    ]


def test_of_nobody_the_list_is_empty(customers: CustomerRepository) -> None:
    assert customers.list(10, None) == ([], None)


# Reserving and releasing credit


def test_credit_its_reservation_and_its_event_are_written_together(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers, limit=500)

    service.reserve_credit(customers, customer_id, ORDER, Money(400), order_created())

    found = customers.find(customer_id, ORDER)
    assert found is not None
    assert found.available_credit == Money(100)
    assert found.reservations == {ORDER: Money(400)}
    assert found.version == 2
    (envelope,) = [e for e in published(dynamodb, "CustomersOutbox") if e.metadata.causation_id]
    assert envelope.event == CustomerCreditReserved(
        customer_id=customer_id, order_id=ORDER, available_credit=Money(100)
    )
    assert envelope.metadata.aggregate_version == 2
    assert envelope.metadata.causation_id == order_created().event_id


def test_a_customer_is_loaded_with_the_reservation_in_question_and_no_other(
    customers: CustomerRepository,
) -> None:
    customer_id = create(customers)
    for order_id in (7, 8):
        service.reserve_credit(customers, customer_id, order_id, Money(9), order_created(order_id))

    found = customers.find(customer_id, 8)

    assert found is not None
    assert found.reservations == {8: Money(9)}
    assert found.reserved_credit == Money(18)


def test_lack_of_credit_changes_nothing_but_is_told(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers, limit=500)
    before = items(dynamodb, "Customers")

    service.reserve_credit(customers, customer_id, ORDER, Money(501), order_created())

    assert items(dynamodb, "Customers") == before
    (envelope,) = [e for e in published(dynamodb, "CustomersOutbox") if e.metadata.causation_id]
    assert envelope.event == CustomerCreditReservationFailed(
        customer_id=customer_id, order_id=ORDER, available_credit=Money(500)
    )
    assert envelope.metadata.aggregate_version == 1


def test_a_customer_who_does_not_exist_is_told(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    service.reserve_credit(customers, 99, ORDER, Money(1), order_created())

    (envelope,) = published(dynamodb, "CustomersOutbox")
    assert envelope.event == CustomerValidationFailed(customer_id=99, order_id=ORDER)
    assert envelope.metadata.aggregate_version == 0
    assert items(dynamodb, "Customers") == []


def test_released_credit_leaves_no_reservation(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers, limit=500)
    service.reserve_credit(customers, customer_id, ORDER, Money(400), order_created())

    service.release_credit(customers, customer_id, ORDER, order_cancelled())

    found = customers.find(customer_id, ORDER)
    assert found == Customer(customer_id, "Jane Doe", Money(500), ZERO, version=3)
    assert len(items(dynamodb, "Customers")) == 1
    assert events_of(dynamodb) == [CustomerCreated, CustomerCreditReserved, CustomerCreditReleased]


@pytest.mark.parametrize("known", [True, False])
def test_where_no_credit_is_held_none_is_released(
    customers: CustomerRepository, dynamodb: DynamoDBClient, known: bool
) -> None:
    customer_id = create(customers) if known else 99
    before = snapshot(dynamodb)

    service.release_credit(customers, customer_id, ORDER, order_cancelled())

    assert snapshot(dynamodb) == before


# The same event again


def deliver_again(customers: CustomerRepository, customer_id: int, total: int = 400) -> None:
    """OrderCreated comes once more. Whether it is said to be handled or not, nothing must have changed."""
    try:
        service.reserve_credit(customers, customer_id, ORDER, Money(total), order_created())
    except EventAlreadyPublishedError:
        return


def test_an_order_whose_credit_is_reserved_changes_nothing_when_it_comes_again(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers, limit=1000)
    deliver_again(customers, customer_id)
    before = snapshot(dynamodb)

    deliver_again(customers, customer_id)

    assert snapshot(dynamodb) == before


def test_an_order_refused_for_lack_of_credit_is_not_decided_anew_when_there_is_credit(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers, limit=500)
    service.reserve_credit(customers, customer_id, 8, Money(400), order_created(8))
    service.reserve_credit(customers, customer_id, ORDER, Money(400), order_created())
    service.release_credit(customers, customer_id, 8, order_cancelled(8))
    before = snapshot(dynamodb)

    with pytest.raises(EventAlreadyPublishedError):
        service.reserve_credit(customers, customer_id, ORDER, Money(400), order_created())

    assert snapshot(dynamodb) == before


def test_an_order_refused_for_lack_of_credit_is_refused_once(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers, limit=500)
    deliver_again(customers, customer_id, total=501)
    before = snapshot(dynamodb)

    with pytest.raises(EventAlreadyPublishedError):
        service.reserve_credit(customers, customer_id, ORDER, Money(501), order_created())

    assert snapshot(dynamodb) == before


def test_an_order_of_nobody_is_not_decided_anew_when_there_is_somebody(
    customers: CustomerRepository, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.reserve_credit(customers, 99, ORDER, Money(400), order_created())
    monkeypatch.setattr(service, "new_id", lambda: 99)
    create(customers)
    before = snapshot(dynamodb)

    with pytest.raises(EventAlreadyPublishedError):
        service.reserve_credit(customers, 99, ORDER, Money(400), order_created())

    assert snapshot(dynamodb) == before


def test_an_order_whose_credit_was_released_gets_none_when_it_comes_again(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers)
    deliver_again(customers, customer_id)
    service.release_credit(customers, customer_id, ORDER, order_cancelled())
    before = snapshot(dynamodb)

    with pytest.raises(EventAlreadyPublishedError):
        service.reserve_credit(customers, customer_id, ORDER, Money(400), order_created())

    assert snapshot(dynamodb) == before


def test_credit_is_released_once(customers: CustomerRepository, dynamodb: DynamoDBClient) -> None:
    customer_id = create(customers)
    deliver_again(customers, customer_id)
    service.release_credit(customers, customer_id, ORDER, order_cancelled())
    before = snapshot(dynamodb)

    service.release_credit(customers, customer_id, ORDER, order_cancelled())

    assert snapshot(dynamodb) == before


# Somebody else at the same time


def load(customers: CustomerRepository, customer_id: int, order_id: int) -> Customer:
    customer = customers.find(customer_id, order_id)
    assert customer is not None
    return customer


def test_a_customer_that_was_changed_since_it_was_loaded_is_not_saved(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = create(customers, limit=500)
    stale = load(customers, customer_id, 8)
    service.reserve_credit(customers, customer_id, ORDER, Money(400), order_created())
    before = snapshot(dynamodb)

    event = stale.reserve_credit(8, Money(400))
    with pytest.raises(WriteConflictError):
        customers.save(stale, event, order_created(8))

    assert snapshot(dynamodb) == before


def release(customer: Customer) -> CustomerEvent:
    return customer.release_credit(ORDER)


def reserve(customer: Customer) -> CustomerEvent:
    customer.reservations.clear()
    return customer.reserve_credit(ORDER, Money(1))


@pytest.mark.parametrize("command", [release, reserve])
def test_a_reservation_that_came_or_went_meanwhile_stops_the_change(
    customers: CustomerRepository, dynamodb: DynamoDBClient, command: Callable[[Customer], Any]
) -> None:
    customer_id = create(customers, limit=500)
    service.reserve_credit(customers, customer_id, ORDER, Money(400), order_created())
    customer = load(customers, customer_id, ORDER)
    if command is release:
        key = {"customerId": {"N": str(customer_id)}, "sk": {"S": f"RESERVATION#{ORDER}"}}
        dynamodb.delete_item(TableName="Customers", Key=key)
    before = snapshot(dynamodb)

    event = command(customer)
    with pytest.raises(WriteConflictError):
        customers.save(customer, event, order_created(2))

    assert snapshot(dynamodb) == before


@pytest.fixture
def one_request_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are isolated from one another, as DynamoDB's are: moto's transactions are not, between threads."""
    lock = threading.Lock()
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def call_alone(client: BaseClient, *args: Any) -> Any:
        with lock:
            answer = call(client, *args)
        time.sleep(0)  # lets another thread in between
        return answer

    monkeypatch.setattr(BaseClient, "_make_api_call", call_alone)


def test_orders_that_race_for_credit_do_not_get_more_than_there_is(
    customers: CustomerRepository, dynamodb: DynamoDBClient, one_request_at_a_time: None
) -> None:
    customer_id = create(customers, limit=500)

    def handle(order_id: int) -> None:
        cause = order_created(order_id)
        while True:  # as the queue brings a message again
            try:
                retry_on_conflict(
                    service.reserve_credit, customers, customer_id, order_id, Money(150), cause
                )
            except WriteConflictError:
                continue
            except EventAlreadyPublishedError:
                pass
            return

    deliveries = [order_id for order_id in range(10, 18) for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(handle, deliveries))

    customer = service.find_customer(customers, customer_id)
    reservations = [i for i in items(dynamodb, "Customers") if i["itemType"]["S"] == "Reservation"]
    answers = events_of(dynamodb)
    assert customer.available_credit == Money(50)
    assert len(reservations) == 3
    assert answers.count(CustomerCreditReserved) == 3
    assert answers.count(CustomerCreditReservationFailed) == 5


# The Idempotency-Key


def test_the_same_request_with_the_same_key_creates_one_customer(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    first = service.create_customer(customers, "Jane Doe", Money(500), REQUEST, "a key")
    before = snapshot(dynamodb)

    second = service.create_customer(customers, "Jane Doe", Money(500), Cause("another"), "a key")

    assert second == first
    assert snapshot(dynamodb) == before


def test_another_request_with_the_same_key_is_refused(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    service.create_customer(customers, "Jane Doe", Money(500), REQUEST, "a key")
    before = snapshot(dynamodb)

    with pytest.raises(IdempotencyKeyReusedError):
        service.create_customer(customers, "Jane Doe", Money(501), REQUEST, "a key")

    assert snapshot(dynamodb) == before


def test_the_same_request_with_another_key_or_with_none_creates_another_customer(
    customers: CustomerRepository,
) -> None:
    keys = ["a key", "another key", None, None]

    created = {
        service.create_customer(customers, "Jane Doe", Money(500), REQUEST, key) for key in keys
    }

    assert len(created) == 4


def test_a_key_that_has_expired_is_good_again_though_nobody_has_removed_it_yet(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    first = service.create_customer(customers, "Jane Doe", Money(500), REQUEST, "a key")
    (key_item,) = [
        item for item in items(dynamodb, "Customers") if item["sk"]["S"] == "IDEMPOTENCY_KEY"
    ]
    dynamodb.put_item(
        TableName="Customers", Item={**key_item, "expiresAt": {"N": str(int(time.time()) - 1)}}
    )

    second = service.create_customer(customers, "John Doe", Money(1), REQUEST, "a key")

    assert second != first
    assert service.create_customer(customers, "John Doe", Money(1), REQUEST, "a key") == second


def test_a_key_is_no_customer(customers: CustomerRepository, dynamodb: DynamoDBClient) -> None:
    service.create_customer(customers, "Jane Doe", Money(500), REQUEST, "a key")

    for item in items(dynamodb, "Customers"):
        if item["itemType"]["S"] == "IdempotencyKey":
            number = int(item["customerId"]["N"])
            assert not 1 <= number <= identifiers.MAX_ID
            assert customers.find(number) is None
