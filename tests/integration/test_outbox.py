"""DynamoDB's answers to reads and conditional writes, and the meaning of a cancelled transaction, on moto."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity
from botocore.exceptions import ClientError, ReadTimeoutError
from mypy_boto3_dynamodb import DynamoDBClient

from customers.customer import Customer
from customers.repository import CustomerRepository
from messaging import dynamodb as dynamodb_module
from messaging.domain_event import Cause
from messaging.dynamodb import ConditionFailedError, Database
from messaging.outbox import EventAlreadyPublishedError
from messaging.retry import WriteConflictError, retry_on_conflict
from orders import service
from orders.order import Order
from orders.repository import OrderRepository
from shared.money import Money
from tests.integration.conftest import AwsCalls
from tests.integration.tables import items, published, snapshot
from tests.samples import REQUEST, an_event_id, wrap


def cancelled(*codes: str) -> ClientError:
    """Return the error of a cancelled transaction, with a reason per item ("None" for an item that is no reason)."""
    reasons = [{"Code": code, "Message": "..."} for code in codes]
    error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
    return ClientError(error, "TransactWriteItems")


def answered(code: str, operation: str = "TransactWriteItems") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "..."}}, operation)


def create(orders: OrderRepository) -> int:
    return service.create_order(orders, 1, Money(400), REQUEST).id


def approval(orders: OrderRepository, order_id: int, cause: str) -> tuple[Any, Any]:
    """Return an approval of the PENDING order and its writes, neither of them committed."""
    before, after = (service.find_order(orders, order_id) for _ in range(2))
    approved = wrap(after.approve(), after.version, Cause("a request", cause))
    return [approved], orders.update(before, after)


CONFLICTS = [
    *(
        cancelled(*codes)
        for codes in (("None", "TransactionConflict"), ("ThrottlingError", "None"))
    ),
    *(cancelled("None", c) for c in ("ProvisionedThroughputExceeded", "ConditionalCheckFailed")),
    *map(answered, ("TransactionInProgressException", "ThrottlingException")),
    *map(answered, ("ProvisionedThroughputExceededException", "RequestLimitExceeded")),
]
FAILURES = [
    cancelled("None", "ValidationError"),
    answered("AccessDeniedException"),
    answered("InternalServerError"),
    ReadTimeoutError(endpoint_url="https://dynamodb"),
]


def test_conflicts_and_throttling_are_retried_until_the_command_commits(
    orders: OrderRepository,
    dynamodb: DynamoDBClient,
    aws_calls: AwsCalls,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenacity.wait, "random", SimpleNamespace(uniform=lambda _, high: high))
    aws_calls.answer("TransactWriteItems", *CONFLICTS)

    order_id = retry_on_conflict(create, orders)

    assert len(CONFLICTS) == 8
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0.25, 0.25]
    assert [e.event.aggregate_id for e in published(dynamodb, "OrdersOutbox")] == [order_id]


def test_conflict_of_a_single_write_is_a_conflict(
    orders: OrderRepository, aws_calls: AwsCalls
) -> None:
    envelope = wrap(Order.create(1, 1, Money(400))[1])
    for code in ("TransactionConflictException", "ThrottlingException", "RequestLimitExceeded"):
        aws_calls.answer("PutItem", answered(code, "PutItem"))
        with pytest.raises(WriteConflictError):
            orders.outbox.write([envelope])
    aws_calls.answer("PutItem", answered("AccessDeniedException", "PutItem"))
    with pytest.raises(ClientError):
        orders.outbox.write([envelope])


def test_other_failures_are_raised_unchanged_and_not_retried(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    for number, error in enumerate(FAILURES, 1):
        aws_calls.answer("TransactWriteItems", error)
        with pytest.raises(Exception) as raised:  # noqa: PT011, compared below
            retry_on_conflict(create, orders)
        assert not isinstance(raised.value, WriteConflictError)
        assert len(aws_calls.requests("TransactWriteItems")) == number
    assert items(dynamodb, "Orders") == []


def test_event_expires_if_the_outbox_has_a_retention(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (0, 30):
        monkeypatch.setenv("OUTBOX_RETENTION_DAYS", str(days))
        orders = OrderRepository("Orders", "OrdersOutbox", database=Database())
        envelope = wrap(Order.create(1, 1, Money(400))[1])
        orders.outbox.write([envelope])

        (item,) = (
            i
            for i in items(dynamodb, "OrdersOutbox")
            if i["eventId"]["S"] == envelope.metadata.event_id
        )
        expiry = envelope.metadata.occurred_at + timedelta(days=days)
        assert item.get("expiresAt") == ({"N": str(int(expiry.timestamp()))} if days else None)


def test_duplicate_event_counts_for_more_than_a_version_conflict(
    orders: OrderRepository, dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    order_id = create(orders)
    cause = an_event_id("credit reserved")
    events, writes = approval(orders, order_id, cause)
    repeated, stale_writes = approval(orders, order_id, cause)
    orders.outbox.write(events, writes)
    before = snapshot(dynamodb)

    with pytest.raises(EventAlreadyPublishedError) as raised:
        orders.outbox.write(repeated, stale_writes)
    assert list(raised.value.event_ids) == [events[0].metadata.event_id]

    both = cancelled("ConditionalCheckFailed", "TransactionConflict")
    aws_calls.answer("TransactWriteItems", both)
    with pytest.raises(EventAlreadyPublishedError):
        orders.outbox.write(repeated, stale_writes)
    assert snapshot(dynamodb) == before


def test_reservation_that_appeared_or_disappeared_meanwhile_is_a_conflict(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer, reserved = (Customer.create(1, "A name", Money(500))[0] for _ in range(2))
    reserved.reserve_credit(7, Money(100))

    _, appearing = customers.update(customer, reserved)
    _, disappearing = customers.update(reserved, customer)
    with pytest.raises(ConditionFailedError):
        customers._database.write([disappearing])
    customers._database.write([appearing])
    with pytest.raises(ConditionFailedError, match=r"^Customers$"):
        customers._database.write([appearing])
    customers._database.write([disappearing])
    assert items(dynamodb, "Customers") == []


def test_more_than_a_hundred_items_are_refused_before_they_are_sent(
    orders: OrderRepository, aws_calls: AwsCalls
) -> None:
    events = [wrap(Order.create(n, 1, Money(400))[1]) for n in range(1, 102)]

    with pytest.raises(ValueError, match="101 items"):
        orders.outbox.write(events)

    assert aws_calls.operations == []
    orders.outbox.write(events[1:])


def leave_unprocessed(call: Any, request: dict[str, Any]) -> Any:
    """Answer one key of a BatchGetItem and leave the others unprocessed."""
    ((table, wanted),) = request["RequestItems"].items()
    first, *others = wanted["Keys"]
    request["RequestItems"][table] = {**wanted, "Keys": [first]}
    return {**call(), "UnprocessedKeys": {table: {**wanted, "Keys": others}} if others else {}}


def leave_all_unprocessed(_call: Any, request: dict[str, Any]) -> Any:
    return {"Responses": {}, "UnprocessedKeys": request["RequestItems"]}


def test_unprocessed_keys_are_read_again_and_after_five_attempts_are_a_conflict(
    orders: OrderRepository,
    aws_calls: AwsCalls,
    pauses: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jitter = SimpleNamespace(uniform=lambda low, high: (low, high))
    monkeypatch.setattr(dynamodb_module, "random", jitter)
    ids = [create(orders) for _ in range(6)]
    keys = [{"orderId": {"N": str(order_id)}} for order_id in ids]

    aws_calls.answer("BatchGetItem", leave_all_unprocessed, *[leave_unprocessed] * 4)
    found = Database().get_all("Orders", keys[:4])
    assert sorted(item["orderId"]["N"] for item in found) == sorted(map(str, ids[:4]))
    assert all(
        request["RequestItems"]["Orders"]["ConsistentRead"] is True
        for request in aws_calls.requests("BatchGetItem")
    )
    assert pauses == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 0.8)]

    aws_calls.answer("BatchGetItem", *[leave_unprocessed] * 5)
    with pytest.raises(WriteConflictError):
        Database().get_all("Orders", keys)


def test_outbox_has_the_trace_header_of_a_sampled_invocation_and_of_no_other(
    orders: OrderRepository, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    ids = [create(orders)]
    for header, disabled in ((sampled[:-1] + "0", ""), (sampled, "true"), (sampled, "")):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
        monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", disabled)
        ids.append(create(orders))

    stored = {i["aggregateId"]["S"]: i.get("traceHeader") for i in items(dynamodb, "OrdersOutbox")}
    assert [stored[str(order_id)] for order_id in ids] == [None, None, None, {"S": sampled}]


def test_client_of_dynamodb_is_made_before_the_first_call(
    dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database()
    monkeypatch.setattr("botocore.session.Session.create_client", None)

    assert database.get("Orders", {"orderId": {"N": "1"}}) is None


def test_client_of_dynamodb_has_time_outs_of_seconds_and_its_own_name(
    dynamodb: DynamoDBClient,
) -> None:
    config: Any = Database()._connection.client.meta.config

    assert (config.connect_timeout, config.read_timeout) == (1, 2)
    assert config.retries["total_max_attempts"] == 2
    assert config.user_agent.startswith("customers-and-orders")
