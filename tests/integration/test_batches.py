"""A batch is one unit of work: the subscribers of Customers and Orders on moto, with their calls counted."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient

from customers.customer import Customer
from customers.events import (
    CustomerCreditReservationFailed,
    CustomerCreditReserved,
    CustomerValidationFailed,
)
from customers.repository import CustomerRepository
from customers.service import reserve_credit
from functions.customers import subscriber as customers_subscriber
from messaging import retry
from messaging import subscriber as subscriber_module
from messaging.domain_event import Cause, DomainEvent
from messaging.envelope import DomainEventEnvelope
from messaging.participant import SagaParticipant
from messaging.retry import WriteConflictError
from messaging.subscriber import Delivery, Handled
from orders.events import OrderCreated
from orders.order import Order
from shared.money import Money
from telemetry import metrics
from telemetry.metrics import Metric
from tests.integration.conftest import AwsCalls, LambdaContext, LogLines
from tests.integration.tables import insert_customer, items, published, snapshot
from tests.integration.test_outbox import cancelled as cancelled_by
from tests.samples import to_batch, to_message

JANE, JOHN, MARY = 1, 2, 3
LIMIT = 500
WRITES = ("TransactWriteItems", "PutItem", "DeleteItem")


@pytest.fixture(autouse=True)
def three_customers(customers: CustomerRepository, aws_calls: AwsCalls) -> None:
    """Jane, John and Mary exist, each with a credit limit of 5.00. Calls are counted from here on."""
    for customer_id in (JANE, JOHN, MARY):
        insert_customer(customers, customer_id, LIMIT)
    metrics.take()
    aws_calls.made.clear()


def created(order_id: int, customer_id: int = JANE, total: int = 100) -> DomainEventEnvelope:
    _, event = Order.create(order_id, customer_id, Money(total))
    return DomainEventEnvelope.wrap(event, 1, Cause(f"request {order_id}"))


def cancelled(order_id: int, customer_id: int = JANE, total: int = 100) -> DomainEventEnvelope:
    order, _ = Order.create(order_id, customer_id, Money(total))
    order.approve()
    return DomainEventEnvelope.wrap(order.cancel(), 3, Cause(f"request {order_id}"))


def deliver(*envelopes: DomainEventEnvelope, remaining_ms: int = 30_000) -> list[str]:
    """Handle the events as one batch. Return the ids of the failed messages: message-1, message-2, ..."""
    batch = to_batch(*map(to_message, envelopes))
    context = LambdaContext(remaining_ms=remaining_ms)
    response = customers_subscriber.lambda_handler(batch, context)
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def answers(dynamodb: DynamoDBClient) -> dict[str, type[DomainEvent]]:
    """Return the type of the event published in answer to each event, by the id of the latter."""
    envelopes = published(dynamodb, "CustomersOutbox")
    answered = [(e.metadata.causation_id, type(e.event)) for e in envelopes]
    assert len({cause for cause, _ in answered if cause}) == sum(bool(c) for c, _ in answered)
    return {cause: answer for cause, answer in answered if cause}


def check_credit(dynamodb: DynamoDBClient) -> None:
    """Assert that no limit is exceeded, reservations add up, and versions have no gap."""
    held: dict[str, int] = defaultdict(int)
    versions: dict[str, list[int]] = defaultdict(list)
    stored = items(dynamodb, "Customers")
    for reservation in (i for i in stored if "reservedCents" in i):
        held[reservation["customerId"]["N"]] += int(reservation["reservedCents"]["N"])
    for event in items(dynamodb, "CustomersOutbox"):
        if event["eventType"]["S"] != CustomerCreditReservationFailed.__name__:
            versions[event["aggregateId"]["S"]].append(int(event["aggregateVersion"]["N"]))
    for customer in (i for i in stored if i["sk"]["S"] == "CUSTOMER"):
        customer_id = customer["customerId"]["N"]
        assert held[customer_id] == int(customer["reservedCreditCents"]["N"]) <= LIMIT
        assert sorted(versions[customer_id]) == list(range(1, int(customer["version"]["N"]) + 1))


def writes(aws_calls: AwsCalls) -> list[str]:
    return [operation for operation in aws_calls.operations if operation in WRITES]


def refuse_transactions(aws_calls: AwsCalls, times: int) -> None:
    aws_calls.answer("TransactWriteItems", *[cancelled_by("TransactionConflict")] * times)


def test_batch_of_several_customers_is_one_consistent_read_and_one_transaction(
    dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    batch = [created(10 + n, customer_id) for n, customer_id in enumerate([JANE, JOHN, MARY] * 3)]

    assert deliver(*batch) == []

    assert aws_calls.operations == ["BatchGetItem", "TransactWriteItems"]
    (read,) = aws_calls.requests("BatchGetItem")
    assert read["RequestItems"]["Customers"]["ConsistentRead"] is True
    (transaction,) = aws_calls.requests("TransactWriteItems")
    assert len(transaction["TransactItems"]) == 3 + 9 + 9  # customers, reservations, events
    assert set(answers(dynamodb).values()) == {CustomerCreditReserved}
    check_credit(dynamodb)


def test_single_refusal_is_a_put_item(dynamodb: DynamoDBClient, aws_calls: AwsCalls) -> None:
    assert deliver(created(10, total=LIMIT + 1)) == []
    assert deliver(created(11, customer_id=99)) == []

    assert aws_calls.operations == ["BatchGetItem", "PutItem"] * 2
    refusals = [CustomerCreditReservationFailed, CustomerValidationFailed]
    assert list(answers(dynamodb).values()) == refusals
    versions = [e.metadata.aggregate_version for e in published(dynamodb, "CustomersOutbox")]
    assert versions[-1] == 0, "the customer of a CustomerValidationFailed has no version"


def test_batch_that_changes_nothing_writes_nothing(aws_calls: AwsCalls) -> None:
    assert deliver(cancelled(10), cancelled(11, customer_id=99)) == []

    assert aws_calls.operations == ["BatchGetItem"]


def test_credit_is_decided_in_the_order_of_the_batch(dynamodb: DynamoDBClient) -> None:
    batch = [created(10, total=300), created(11, total=201), created(12, total=200)]

    deliver(*batch)

    assert [answers(dynamodb)[e.metadata.event_id] for e in batch] == [
        CustomerCreditReserved,
        CustomerCreditReservationFailed,
        CustomerCreditReserved,
    ]
    check_credit(dynamodb)


def test_redelivered_batch_changes_nothing(dynamodb: DynamoDBClient, aws_calls: AwsCalls) -> None:
    batch = [created(10, total=300), created(11, total=300), created(12, 99), cancelled(10)]
    deliver(*batch)
    before = snapshot(dynamodb)
    aws_calls.made.clear()

    assert deliver(*batch) == []

    assert aws_calls.operations == ["BatchGetItem", "TransactWriteItems"], "then nothing is left"
    assert snapshot(dynamodb) == before


def test_duplicate_within_a_batch_is_handled_once(
    dynamodb: DynamoDBClient, log_lines: LogLines
) -> None:
    event = created(10)

    assert deliver(event, event, created(11), event) == []

    assert list(answers(dynamodb).values()) == [CustomerCreditReserved] * 2
    check_credit(dynamodb)
    (line,) = log_lines()
    assert line["duplicates"] == 2
    assert [e["order_id"] for e in line["events"]] == [10, 11]


def test_event_that_another_invocation_handles_meanwhile_is_left_out_too(
    dynamodb: DynamoDBClient, aws_calls: AwsCalls
) -> None:
    # Refused, because nothing but the outbox shows that a refusal was handled.
    before, meanwhile = (created(order_id, total=LIMIT + 1) for order_id in (10, 11))
    new = created(12)
    deliver(before)
    aws_calls.made.clear()

    def handle_meanwhile(call: Any, _request: Any) -> Any:
        deliver(meanwhile)
        return call()

    aws_calls.answer("TransactWriteItems", lambda call, _request: call(), handle_meanwhile)
    assert deliver(before, meanwhile, new) == []

    assert writes(aws_calls) == [*["TransactWriteItems"] * 2, "PutItem", "TransactWriteItems"]
    assert len(answers(dynamodb)) == 3
    check_credit(dynamodb)


def test_redelivered_order_is_not_decided_again_when_credit_is_available_later(
    dynamodb: DynamoDBClient, customers: CustomerRepository
) -> None:
    released, refused, unknown = created(10), created(11, JOHN, LIMIT + 1), created(12, 99)
    deliver(released, refused, unknown)
    deliver(cancelled(10))
    dynamodb.update_item(
        TableName="Customers",
        Key={"customerId": {"N": str(JOHN)}, "sk": {"S": "CUSTOMER"}},
        UpdateExpression="SET creditLimitCents = :limit",
        ExpressionAttributeValues={":limit": {"N": str(LIMIT * 10)}},
    )
    insert_customer(customers, 99, LIMIT)
    before = snapshot(dynamodb)

    for event in (released, refused, unknown):
        assert deliver(event) == []

    assert snapshot(dynamodb) == before


def test_conflict_splits_the_batch_by_customer_and_each_is_reloaded(
    dynamodb: DynamoDBClient, aws_calls: AwsCalls, pauses: list[float]
) -> None:
    refuse_transactions(aws_calls, times=1)

    assert deliver(created(10), created(11, JOHN), created(12)) == []

    assert aws_calls.operations == ["BatchGetItem", "TransactWriteItems"] * 3
    transactions = aws_calls.requests("TransactWriteItems")
    assert [len(t["TransactItems"]) for t in transactions] == [8, 5, 3]
    assert len(answers(dynamodb)) == 3
    check_credit(dynamodb)


def test_conflicts_are_retried_with_jitter_and_counted(
    aws_calls: AwsCalls, pauses: list[float], log_lines: LogLines
) -> None:
    refuse_transactions(aws_calls, times=4)

    assert deliver(created(10)) == []

    assert len(pauses) == 3
    assert all(0 <= pause <= 0.25 for pause in pauses)
    assert len(set(pauses)) == 3
    (line,) = log_lines()
    assert line[Metric.CONFLICTS_RETRIED] == [1.0] * 4


def test_customer_in_permanent_conflict_does_not_fail_the_others(
    dynamodb: DynamoDBClient, aws_calls: AwsCalls, pauses: list[float], log_lines: LogLines
) -> None:
    def refuse_jane(call: Any, request: dict[str, Any]) -> Any:
        puts = [item["Put"]["Item"] for item in request["TransactItems"]]
        if any(put.get("customerId") == {"N": str(JANE)} for put in puts):
            error: Any = {"Error": {"Code": "TransactionInProgressException"}}
            raise ClientError(error, "TransactWriteItems")
        return call()

    aws_calls.answer("TransactWriteItems", *[refuse_jane] * 100)
    others = [created(11, JOHN), created(12, MARY), created(13, MARY)]

    assert deliver(created(10), *others) == ["message-1"]

    assert answers(dynamodb).keys() == {e.metadata.event_id for e in others}
    sizes = [len(r["TransactItems"]) for r in aws_calls.requests("TransactWriteItems")]
    assert sizes.count(3) == 2 * 20 + 2, "Jane's retries, and John"
    assert sizes.count(5) == 1, "Mary's two orders, after Jane has failed"
    assert [e["order_id"] for e in log_lines()[-1]["events"]] == [11, 12, 13], "each once"


def test_command_in_conflict_is_retried_at_most_twenty_times_and_for_four_seconds(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []
    clock = [0.0]

    def conflict(seconds: float) -> None:
        attempts.append(1)
        clock[0] += seconds
        raise WriteConflictError

    monkeypatch.setattr("tenacity.time.monotonic", lambda: clock[0])
    for seconds, expected in ((0.0, 20), (1.0, 4), (5.0, 1)):
        attempts.clear()
        with pytest.raises(WriteConflictError):
            retry.retry_on_conflict(conflict, seconds)
        assert len(attempts) == expected


def test_after_a_conflict_a_customer_for_whom_less_than_five_seconds_are_left_is_not_tried(
    aws_calls: AwsCalls,
) -> None:
    refuse_transactions(aws_calls, times=1)
    events = [created(10, JANE), created(11, JOHN), created(12, MARY)]
    deliveries = [Delivery(event, ("a message",)) for event in events]
    left = iter([5.0, 5.0, 4.99])

    handled: list[Handled] = []
    with pytest.raises(TimeoutError):
        handled.extend(customers_subscriber.participant.handle(deliveries, lambda: next(left)))

    assert [h.delivery for h in handled] == deliveries[:2]


def test_after_a_conflict_the_error_of_the_last_customer_that_failed_is_raised(
    aws_calls: AwsCalls,
) -> None:
    refuse_transactions(aws_calls, times=1)
    aws_calls.answer("TransactWriteItems", ZeroDivisionError(), LookupError())
    deliveries = [Delivery(created(10 + c, c), ("a message",)) for c in (JANE, JOHN, MARY)]

    handled: list[Handled] = []
    with pytest.raises(LookupError):
        handled.extend(customers_subscriber.participant.handle(deliveries, lambda: 10))

    assert [h.delivery for h in handled] == deliveries[2:]


def test_registered_handler_is_returned_for_use_as_a_decorator(
    customers: CustomerRepository,
) -> None:
    participant = SagaParticipant(customers)

    assert participant.on(OrderCreated)(reserve_credit) is reserve_credit
    assert set(participant.event_classes) == {OrderCreated}


def test_message_with_less_than_five_seconds_left_is_not_tried(
    aws_calls: AwsCalls, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    assert deliver(created(10), created(11), remaining_ms=4999) == ["message-1", "message-2"]
    assert aws_calls.operations == []
    assert [line["order_id"] for line in log_lines() if line["level"] == "WARNING"] == [10, 11]
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(subscriber_module, "time", clock)

    def fail_slowly(_call: Any, _request: Any) -> Any:
        clock.now += 13
        raise RuntimeError

    aws_calls.answer("BatchGetItem", *[fail_slowly] * 3)
    failed = deliver(created(10), created(11), created(12), remaining_ms=30_000)

    assert failed == ["message-1", "message-2", "message-3"]
    assert aws_calls.operations == ["BatchGetItem"] * 2, "the batch, and its first message alone"
    clock.now = 0.0
    assert deliver(created(10), remaining_ms=5000) == ["message-1"], "the third failure"
    clock.now = 0.0
    assert deliver(created(10), remaining_ms=5000) == [], "five seconds are enough"


def test_after_an_unexpected_error_messages_are_handled_alone_and_only_the_failing_one_is_reported(
    dynamodb: DynamoDBClient, aws_calls: AwsCalls, log_lines: LogLines
) -> None:
    first, broken, third = created(10), created(11), created(12, JOHN)

    def refuse_broken(call: Any, request: dict[str, Any]) -> Any:
        if "RESERVATION#11" in str(request):
            raise ClientError({"Error": {"Code": "ValidationException"}}, "TransactWriteItems")
        return call()

    aws_calls.answer("TransactWriteItems", *[refuse_broken] * 10)

    assert deliver(first, broken, third, broken) == ["message-2", "message-4"]

    assert writes(aws_calls) == ["TransactWriteItems"] * 4
    assert answers(dynamodb).keys() == {first.metadata.event_id, third.metadata.event_id}
    check_credit(dynamodb)
    error, summary = log_lines()
    assert (error["message"], error["level"]) == ("event handler failed", "ERROR")
    assert (error["order_id"], error["retry"]) == (11, True)
    assert (summary["message"], summary["failed"]) == ("batch handled", 2)


def test_a_handler_that_changes_an_aggregate_without_an_event_fails_its_message(
    customers: CustomerRepository, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(customer: Customer | None, order: OrderCreated) -> None:
        assert customer is not None
        customer.reserve_credit(order.order_id, order.order_total)

    monkeypatch.setitem(customers_subscriber.participant._handlers, OrderCreated, forgetful)
    before = snapshot(dynamodb)

    assert deliver(created(1)) == ["message-1"]
    assert snapshot(dynamodb) == before
