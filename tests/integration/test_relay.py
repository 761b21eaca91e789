"""The relay's handler from the outbox's stream to the queues, on moto, with the rules of template.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_sqs import SQSClient

from customers import service as customers_service
from customers.repository import CustomerRepository
from functions.customers import subscriber as customers_subscriber
from functions.outbox_relay import handler
from orders import service as orders_service
from orders.repository import OrderRepository
from shared.money import Money
from tests.integration.conftest import DeadLetters, LambdaContext, LogLines
from tests.integration.tables import published
from tests.samples import REQUEST, load, to_batch
from tests.template import DEVELOPMENT, resources, sources, target

Messages = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def messages(aws: None, sqs: SQSClient) -> Messages:
    """Create the bus with the template's rules. Return a function that receives the messages of a queue."""
    events = boto3.client("events")
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
    """Return all records of the outbox's stream, as the function receives them."""
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


def test_committed_events_reach_the_queues_of_their_subscribers_unchanged(
    customers: CustomerRepository,
    orders: OrderRepository,
    dynamodb: DynamoDBClient,
    messages: Messages,
) -> None:
    customer_id = customers_service.create_customer(customers, "Jane Doe", Money(500), REQUEST).id
    orders_service.create_order(orders, customer_id, Money(400), REQUEST)
    relay(stream_records(dynamodb, "OrdersOutbox"))
    (order_created,) = messages("CustomersSubscriberQueue")
    customers_subscriber.lambda_handler(to_batch(order_created), LambdaContext())
    relay(stream_records(dynamodb, "CustomersOutbox"))

    (created,) = published(dynamodb, "OrdersOutbox")
    assert order_created["source"] == created.event.source
    assert order_created["detail"] == json.loads(created.to_detail())

    def received(queue: str) -> list[str]:
        return [message["detail-type"] for message in messages(queue)]

    assert received("OrdersSubscriberQueue") == ["CustomerCreditReserved"]
    assert received("OrderHistoryProjectionQueue") == [
        *("OrderCreated", "CustomerCreated", "CustomerCreditReserved")
    ]


def test_erased_name_in_a_stored_event_does_not_reach_the_relay(
    customers: CustomerRepository, dynamodb: DynamoDBClient
) -> None:
    customer_id = customers_service.create_customer(customers, "Jane Doe", Money(500), REQUEST).id
    customers_service.erase_customer(customers, customer_id, REQUEST)
    records = stream_records(dynamodb, "CustomersOutbox")
    (mapping,) = sources(DEVELOPMENT.functions["CustomersOutboxRelayFunction"], "DynamoDB")
    (pattern,) = (json.loads(f["Pattern"]) for f in mapping["FilterCriteria"]["Filters"])

    assert pattern.keys() == {"eventName"}
    types = [
        (
            record["dynamodb"]["NewImage"]["eventType"]["S"],
            record["eventName"] in pattern["eventName"],
        )
        for record in records
    ]
    assert sorted(types) == [
        ("CustomerCreated", False),
        ("CustomerCreated", True),
        ("CustomerErased", True),
    ]


def test_batch_is_logged_in_one_line_and_a_dead_letter_with_its_reason(
    messages: Messages, dead_letters: DeadLetters, log_lines: LogLines
) -> None:
    records = load("orders_outbox_relay_batch")["Records"]
    ids = [record["dynamodb"]["NewImage"]["eventId"]["S"] for record in records]
    del records[1]["dynamodb"]["NewImage"]["eventType"]
    ids.pop(1)

    relay(records)

    received = messages("OrderHistoryProjectionQueue")
    assert [m["detail"]["metadata"]["eventId"] for m in received] == ids
    (letter,) = dead_letters()
    assert json.loads(letter["Body"]) == records[1]
    error, line = log_lines()
    assert error["message"] == "record sent to the dead-letter queue"
    assert error["key"] == records[1]["dynamodb"]["Keys"]
    assert "eventType" in error["reason"]
    assert letter["MessageAttributes"]["reason"]["StringValue"] == error["reason"]
    assert (line["message"], line["level"]) == ("events published", "INFO")
    assert (line["dead_letters"], line["DeadLetters"]) == (1, [1.0])
    assert [event["event_id"] for event in line["events"]] == ids
    keys = {"event_type", "event_id", "correlation_id", "order_id"}
    assert all(event.keys() == keys for event in line["events"])
