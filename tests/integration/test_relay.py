"""The relay from the outbox's stream to the bus, on moto, with the rules and queues of template.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError

from customers import service as customers_service
from customers.repository import CustomerRepository
from functions.outbox_relay import handler
from messaging import relay as relay_module
from messaging.domain_event import Cause
from messaging.relay import EventsNotPublishedError
from orders import service as orders_service
from orders.repository import OrderRepository
from shared.money import Money
from tests.integration.conftest import DeadLetters, LambdaContext, LogLines
from tests.integration.tables import published
from tests.samples import an_event_id, load, schema_of
from tests.template import resources, target

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient

KIB = 1024
Messages = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def messages(aws: None, sqs: SQSClient) -> Messages:
    """The bus with the template's rules; gives the messages that have arrived in a queue, oldest first."""
    events: EventBridgeClient = boto3.client("events")
    events.create_event_bus(Name="customers-and-orders")
    for name, rule in resources("AWS::Events::Rule").items():
        pattern = json.dumps(rule["EventPattern"])
        events.put_rule(Name=name, EventBusName="customers-and-orders", EventPattern=pattern)
        for number, rule_target in enumerate(rule["Targets"]):
            queue = target(rule_target["Arn"])
            sqs.create_queue(QueueName=queue)
            arn = f"arn:aws:sqs:us-east-1:123456789012:{queue}"
            targets: Any = [{"Id": str(number), "Arn": arn}]
            events.put_targets(Rule=name, EventBusName="customers-and-orders", Targets=targets)

    def receive(queue: str) -> list[dict[str, Any]]:
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        bodies: list[dict[str, Any]] = []
        while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [json.loads(message["Body"]) for message in received]
        return bodies

    return receive


def stream_records(dynamodb: DynamoDBClient, outbox: str) -> list[dict[str, Any]]:
    """All records of the outbox's stream, as the function gets them."""
    streams = boto3.client("dynamodbstreams")
    arn = dynamodb.describe_table(TableName=outbox)["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    answer = streams.get_records(ShardIterator=iterator["ShardIterator"])
    records: list[dict[str, Any]] = json.loads(json.dumps(answer["Records"], default=str))
    return records


def relay(records: list[dict[str, Any]]) -> None:
    handler.lambda_handler({"Records": records}, LambdaContext())


def event_ids(messages: list[dict[str, Any]]) -> list[str]:
    return [message["detail"]["metadata"]["eventId"] for message in messages]


def sample_records() -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = load("outbox_relay_batch")["Records"]
    return records


def sample_event_ids() -> list[str]:
    return [r["dynamodb"]["Keys"]["eventId"]["S"] for r in sample_records()]


# From the outbox to the queues


def test_what_the_services_write_reaches_those_who_listen_to_it(
    customers: CustomerRepository,
    orders: OrderRepository,
    dynamodb: DynamoDBClient,
    messages: Messages,
) -> None:
    customer_id = customers_service.create_customer(
        customers, "Jane Doe", Money(500), Cause("a request")
    )
    order_id = orders_service.create_order(orders, customer_id, Money(400), Cause("a request"))
    created = Cause("a request", an_event_id("order created"))
    customers_service.reserve_credit(customers, customer_id, order_id, Money(400), created)

    for outbox in ("CustomersOutbox", "OrdersOutbox"):
        relay(stream_records(dynamodb, outbox))

    def types_in(queue: str) -> list[str]:
        return [message["detail-type"] for message in messages(queue)]

    assert types_in("CustomersSubscriberQueue") == ["OrderCreated"]
    assert types_in("OrdersSubscriberQueue") == ["CustomerCreditReserved"]
    assert types_in("OrderHistoryProjectionQueue") == [
        "CustomerCreated",
        "CustomerCreditReserved",
        "OrderCreated",
    ]


def test_an_event_arrives_as_it_was_written(
    orders: OrderRepository, dynamodb: DynamoDBClient, messages: Messages
) -> None:
    orders_service.create_order(orders, 1, Money(400), Cause("a request"))
    (envelope,) = published(dynamodb, "OrdersOutbox")

    relay(stream_records(dynamodb, "OrdersOutbox"))

    (message,) = messages("CustomersSubscriberQueue")
    assert message["source"] == envelope.event.source
    assert message["detail"] == json.loads(envelope.to_detail())
    schema_of(message["detail-type"]).validate(message["detail"])


def test_the_sample_batch_is_published_in_order(
    messages: Messages, context: LambdaContext, log_lines: LogLines
) -> None:
    handler.lambda_handler(load("outbox_relay_batch"), context)

    assert event_ids(messages("OrderHistoryProjectionQueue")) == sample_event_ids()
    (line,) = log_lines()
    assert line["published"] == 4
    assert [event["event_id"] for event in line["events"]] == sample_event_ids()
    assert all(event["correlation_id"] and event["order_id"] for event in line["events"])


def test_nothing_is_lost_of_a_hundred_records(messages: Messages) -> None:
    records = [record for record in sample_records() for _ in range(25)]

    relay(records)

    expected = [event_id for event_id in sample_event_ids() for _ in range(25)]
    assert event_ids(messages("OrderHistoryProjectionQueue")) == expected


# What the bus does not take


class Refusing:
    """Stands between the relay and the bus. Each call is answered by the next of `answers`, then by the bus.

    An answer is an error to raise, or the positions of the entries that are refused.
    """

    def __init__(self, answers: list[Exception | set[int]]) -> None:
        self._answers = answers
        self.calls: list[list[str]] = []
        self._call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def __call__(self, client: BaseClient, name: str, parameters: dict[str, Any]) -> Any:
        if name != "PutEvents":
            return self._call(client, name, parameters)
        entries = parameters["Entries"]
        sent = [json.loads(entry["Detail"])["metadata"]["eventId"] for entry in entries]
        self.calls.append(sent)
        answer = self._answers.pop(0) if self._answers else set()
        if isinstance(answer, Exception):
            raise answer
        taken = [entry for position, entry in enumerate(entries) if position not in answer]
        results = iter(self._call(client, name, {"Entries": taken})["Entries"] if taken else [])
        refused = {"ErrorCode": "ThrottlingException", "ErrorMessage": "..."}
        return {
            "FailedEntryCount": len(answer),
            "Entries": [refused if p in answer else next(results) for p in range(len(entries))],
        }


Refuse = Callable[..., Refusing]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    monkeypatch.setattr(relay_module, "time", SimpleNamespace(sleep=lambda _: None))

    def refuse(*answers: Exception | set[int]) -> Refusing:
        between = Refusing(list(answers))

        def call(client: BaseClient, name: str, parameters: dict[str, Any]) -> Any:
            return between(client, name, parameters)

        monkeypatch.setattr(BaseClient, "_make_api_call", call)
        return between

    return refuse


THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "..."}}, "PutEvents")
UNREACHABLE = EndpointConnectionError(endpoint_url="https://events")


def test_only_the_entries_that_were_refused_are_sent_again_and_in_order(
    messages: Messages, refuse: Refuse
) -> None:
    first, second, third, fourth = sample_event_ids()
    bus = refuse({0, 2, 3}, {1})

    relay(sample_records())

    assert bus.calls == [[first, second, third, fourth], [first, third, fourth], [third]]
    assert sorted(event_ids(messages("OrderHistoryProjectionQueue"))) == sorted(sample_event_ids())


def test_nothing_later_is_sent_before_what_was_refused(messages: Messages, refuse: Refuse) -> None:
    records = [record for record in sample_records() for _ in range(3)]
    bus = refuse({9})

    relay(records)

    assert [len(call) for call in bus.calls] == [10, 1, 2]
    assert bus.calls[1] == bus.calls[0][9:]


@pytest.mark.parametrize("error", [THROTTLED, UNREACHABLE])
def test_a_call_that_failed_is_made_again(
    messages: Messages, refuse: Refuse, error: Exception
) -> None:
    bus = refuse(error, error, error)

    relay(sample_records())

    assert bus.calls == [sample_event_ids()] * 4
    assert event_ids(messages("OrderHistoryProjectionQueue")) == sample_event_ids()


@pytest.mark.parametrize("answer", [THROTTLED, UNREACHABLE, {2}])
def test_when_the_bus_keeps_refusing_the_whole_batch_must_come_again(
    messages: Messages, refuse: Refuse, answer: Exception | set[int]
) -> None:
    refuse(answer, *([{0} if isinstance(answer, set) else answer] * 3))

    with pytest.raises(EventsNotPublishedError):
        relay(sample_records())

    assert sample_event_ids()[2] not in event_ids(messages("OrderHistoryProjectionQueue"))


def test_a_batch_that_comes_again_is_published_whole(messages: Messages, refuse: Refuse) -> None:
    refuse(THROTTLED, THROTTLED, THROTTLED, THROTTLED)
    with pytest.raises(EventsNotPublishedError):
        relay(sample_records())

    relay(sample_records())

    assert event_ids(messages("OrderHistoryProjectionQueue")) == sample_event_ids()


# What can never be published


def oversized(record: dict[str, Any], kib: int) -> dict[str, Any]:
    image = record["dynamodb"]["NewImage"]
    detail = json.loads(image["detail"]["S"])
    detail["data"]["padding"] = "x" * kib * KIB
    image["detail"]["S"] = json.dumps(detail)
    return record


def test_a_record_that_is_no_event_is_parked_with_its_reason_and_its_neighbours_are_published(
    messages: Messages, dead_letters: DeadLetters, log_lines: LogLines
) -> None:
    records = sample_records()
    del records[1]["dynamodb"]["NewImage"]["eventType"]

    relay(records)

    first, _, third, fourth = sample_event_ids()
    assert event_ids(messages("OrderHistoryProjectionQueue")) == [first, third, fourth]
    (parked,) = dead_letters()
    assert json.loads(parked["Body"]) == records[1]
    assert "eventType" in parked["MessageAttributes"]["reason"]["StringValue"]
    (line,) = [line for line in log_lines() if line["level"] != "INFO"]
    assert (line["level"], line["event_id"]) == ("ERROR", sample_event_ids()[1])
    assert "eventType" in line["reason"]


@pytest.mark.parametrize("kib", [253, 256, 300])
def test_a_record_too_large_for_the_bus_or_the_queue_is_parked_without_its_image(
    messages: Messages, dead_letters: DeadLetters, kib: int
) -> None:
    records = sample_records()
    oversized(records[1], kib)
    image = records[1]["dynamodb"]["NewImage"]
    if kib < 256:  # small enough for the bus, too large for the queue with the reason, and no event
        image["detail"]["S"] = image["detail"]["S"].replace('"data"', '"DATA"')

    relay(records)

    first, _, third, fourth = sample_event_ids()
    assert event_ids(messages("OrderHistoryProjectionQueue")) == [first, third, fourth]
    (parked,) = dead_letters()
    assert json.loads(parked["Body"]) == {"dynamodb": {"Keys": records[1]["dynamodb"]["Keys"]}}


def test_a_batch_that_comes_again_is_not_parked_twice(
    messages: Messages, dead_letters: DeadLetters, refuse: Refuse
) -> None:
    records = sample_records()
    del records[1]["dynamodb"]["NewImage"]["detail"]
    refuse(THROTTLED, THROTTLED, THROTTLED, THROTTLED)
    with pytest.raises(EventsNotPublishedError):
        relay(records)

    relay(records)

    assert len(dead_letters()) == 1


def test_a_batch_of_nothing_but_invalid_records_does_not_hold_up_the_shard(
    messages: Messages, dead_letters: DeadLetters
) -> None:
    relay([{"eventName": "INSERT", "dynamodb": {"Keys": {"eventId": {"S": "x"}}}}, {}])

    assert len(dead_letters()) == 2
    assert messages("OrderHistoryProjectionQueue") == []
