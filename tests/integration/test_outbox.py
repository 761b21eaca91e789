"""The one transaction that writes aggregate and event: what it means when DynamoDB does not take it, on moto."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from pynamodb.exceptions import PutError, PynamoDBException, TransactWriteError

from customers import service as customers_service
from customers.repository import CustomerRepository
from messaging.domain_event import Cause
from messaging.retry import EventAlreadyPublishedError, WriteConflictError, retry_on_conflict
from orders import service as orders_service
from orders.repository import OrderRepository
from shared.money import Money
from tests.integration.tables import items, published, snapshot
from tests.samples import an_event_id

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Refuse = Callable[..., list[str]]
ORDER_CREATED = Cause("a request", an_event_id("order created"))


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Makes AWS answer an operation with an error, `times` times; gives the list of the operations called."""
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def refuse(operation: str, error: Exception, times: int = 1) -> list[str]:
        called: list[str] = []

        def answer(client: BaseClient, name: str, parameters: dict[str, Any]) -> Any:
            called.append(name)
            if name == operation and called.count(operation) <= times:
                raise error
            return call(client, name, parameters)

        monkeypatch.setattr(BaseClient, "_make_api_call", answer)
        return called

    return refuse


def cancelled(*codes: str) -> ClientError:
    """A transaction is cancelled, for a reason per item: "None" for those that were not the reason."""
    reasons = [{"Code": code, "Message": "..."} for code in codes]
    error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
    return ClientError(error, "TransactWriteItems")


def answered(code: str, operation: str = "TransactWriteItems") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "..."}}, operation)


def code_of(error: Exception) -> str:
    """What a test with the error is called."""
    answer: Any = getattr(error, "response", None) or {"Error": {"Code": type(error).__name__}}
    codes = [reason["Code"] for reason in answer.get("CancellationReasons", [])]
    return "-".join(codes or [answer["Error"]["Code"]])


CONTENTION = [
    cancelled("None", "TransactionConflict"),
    cancelled("TransactionConflict", "None"),
    cancelled("None", "ThrottlingError"),
    cancelled("ProvisionedThroughputExceeded", "None"),
    answered("TransactionInProgressException"),
    answered("ThrottlingException"),
    answered("ProvisionedThroughputExceededException"),
    answered("RequestLimitExceeded"),
]


@pytest.mark.parametrize("error", CONTENTION, ids=code_of)
def test_contention_and_throttling_mean_that_the_command_may_be_tried_again(
    orders: OrderRepository, dynamodb: DynamoDBClient, refuse: Refuse, error: ClientError
) -> None:
    refuse("TransactWriteItems", error)

    with pytest.raises(WriteConflictError):
        orders_service.create_order(orders, 1, Money(400), Cause("a request"))

    order_id = orders_service.create_order(orders, 1, Money(400), Cause("a request"))
    assert [e.event.aggregate_id for e in published(dynamodb, "OrdersOutbox")] == [order_id]


@pytest.mark.parametrize(
    "code", ["TransactionConflictException", "ThrottlingException", "RequestLimitExceeded"]
)
def test_contention_for_an_event_alone_means_the_same(
    customers: CustomerRepository, dynamodb: DynamoDBClient, refuse: Refuse, code: str
) -> None:
    refuse("PutItem", answered(code, "PutItem"))

    retry_on_conflict(
        customers_service.reserve_credit, customers, 99, 7, Money(1), cause=ORDER_CREATED
    )

    assert len(published(dynamodb, "CustomersOutbox")) == 1


FAILURES = [
    cancelled("None", "ValidationError"),
    answered("AccessDeniedException"),
    answered("InternalServerError"),
    ReadTimeoutError(endpoint_url="https://dynamodb"),
]


@pytest.mark.parametrize("error", FAILURES, ids=code_of)
def test_any_other_failure_is_raised_as_it_is(
    orders: OrderRepository, refuse: Refuse, error: Exception
) -> None:
    called = refuse("TransactWriteItems", error)

    with pytest.raises(TransactWriteError):
        retry_on_conflict(
            orders_service.create_order, orders, 1, Money(400), cause=Cause("a request")
        )

    assert called == ["TransactWriteItems"]


@pytest.mark.parametrize(
    "error", [answered("AccessDeniedException", "PutItem"), FAILURES[-1]], ids=code_of
)
def test_any_other_failure_to_publish_an_event_alone_is_raised_as_it_is(
    customers: CustomerRepository, refuse: Refuse, error: Exception
) -> None:
    refuse("PutItem", error)

    with pytest.raises(PutError):
        customers_service.reserve_credit(customers, 99, 7, Money(1), ORDER_CREATED)


def test_a_missing_table_is_no_conflict(orders: OrderRepository, dynamodb: DynamoDBClient) -> None:
    dynamodb.delete_table(TableName="OrdersOutbox")

    with pytest.raises(PynamoDBException):
        orders_service.create_order(orders, 1, Money(400), Cause("a request"))

    assert items(dynamodb, "Orders") == []


def test_that_the_event_was_answered_before_counts_for_more_than_that_somebody_else_was_writing(
    customers: CustomerRepository, refuse: Refuse
) -> None:
    customer_id = customers_service.create_customer(
        customers, "Jane Doe", Money(500), Cause("a request")
    )
    event, customer, reservation = "ConditionalCheckFailed", "TransactionConflict", "None"
    refuse("TransactWriteItems", cancelled(event, customer, reservation))

    with pytest.raises(EventAlreadyPublishedError):
        customers_service.reserve_credit(customers, customer_id, 7, Money(1), ORDER_CREATED)


def test_reasons_come_in_the_order_of_deletes_and_then_puts(
    customers: CustomerRepository, refuse: Refuse
) -> None:
    customer_id = customers_service.create_customer(
        customers, "Jane Doe", Money(500), Cause("a request")
    )
    customers_service.reserve_credit(customers, customer_id, 7, Money(1), ORDER_CREATED)
    reservation, event, customer = "None", "ConditionalCheckFailed", "None"
    refuse("TransactWriteItems", cancelled(reservation, event, customer))

    with pytest.raises(EventAlreadyPublishedError):
        customers_service.release_credit(
            customers, customer_id, 7, Cause("a request", an_event_id("order cancelled"))
        )


# Trying again


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long they would have, in seconds."""
    slept: list[float] = []
    # Only tenacity's own name for the clock: threads of other tests sleep by it, too.
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=slept.append))
    return slept


def test_a_command_is_tried_again_until_nobody_else_is_writing(
    orders: OrderRepository, dynamodb: DynamoDBClient, refuse: Refuse, pauses: list[float]
) -> None:
    refuse("TransactWriteItems", cancelled("None", "TransactionConflict"), times=19)

    retry_on_conflict(orders_service.create_order, orders, 1, Money(400), Cause("a request"))

    assert len(items(dynamodb, "Orders")) == len(published(dynamodb, "OrdersOutbox")) == 1
    assert len(pauses) == 19


def test_a_command_that_still_meets_others_after_four_seconds_is_given_up(
    orders: OrderRepository, dynamodb: DynamoDBClient, refuse: Refuse, pauses: list[float]
) -> None:
    before = snapshot(dynamodb)
    refuse("TransactWriteItems", cancelled("None", "TransactionConflict"), times=20)

    with pytest.raises(WriteConflictError):
        retry_on_conflict(orders_service.create_order, orders, 1, Money(400), Cause("a request"))

    assert snapshot(dynamodb) == before
    assert sum(pauses) < 4.1


def test_a_command_is_tried_anew_on_what_is_there_now(
    customers: CustomerRepository, refuse: Refuse, pauses: list[float]
) -> None:
    customer_id = customers_service.create_customer(
        customers, "Jane Doe", Money(500), Cause("a request")
    )
    conflict = cancelled("None", "TransactionConflict", "None")
    called = refuse("TransactWriteItems", conflict, times=2)

    retry_on_conflict(
        customers_service.reserve_credit, customers, customer_id, 7, Money(1), ORDER_CREATED
    )

    assert called == ["BatchGetItem", "TransactWriteItems"] * 3


@pytest.mark.parametrize("error", [EventAlreadyPublishedError(), ValueError()])
def test_only_conflicts_are_worth_another_try(error: Exception, pauses: list[float]) -> None:
    tries: list[int] = []

    def command() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        retry_on_conflict(command)

    assert len(tries) == 1
