"""AWS on moto with the tables of template.yaml, a MongoDB server, and what Lambda gives to a function."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from aws_lambda_powertools import Logger
from botocore.loaders import create_loader
from moto import mock_aws

from customers.repository import CustomerRepository
from messaging.dynamodb import Database
from order_history.view import OrderHistoryView
from orders.repository import OrderRepository
from tests.integration import mongodb
from tests.integration.tables import create_tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

LogLines = Callable[[], list[dict[str, Any]]]
DeadLetters = Callable[[], list["MessageTypeDef"]]


@pytest.fixture(scope="session", autouse=True)
def descriptions_of_aws_are_read_once() -> Iterator[None]:
    """Each test has new clients, and else each of them would read megabytes of JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS account with nothing in it."""
    with mock_aws():
        yield


@pytest.fixture
def dynamodb(aws: None) -> DynamoDBClient:
    """Empty tables, called by their logical ids."""
    client = boto3.client("dynamodb")
    create_tables(client)
    return client


@pytest.fixture
def customers(dynamodb: DynamoDBClient) -> CustomerRepository:
    return CustomerRepository(
        "Customers", "CustomersOutbox", "CustomersIdempotency", database=Database()
    )


@pytest.fixture
def orders(dynamodb: DynamoDBClient) -> OrderRepository:
    return OrderRepository("Orders", "OrdersOutbox", "OrdersIdempotency", database=Database())


@pytest.fixture
def sqs(aws: None) -> SQSClient:
    return boto3.client("sqs")


@pytest.fixture
def dead_letters(sqs: SQSClient) -> DeadLetters:
    """What is in the dead-letter queue that the functions are told of."""
    url = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    assert url == os.environ["DEAD_LETTER_QUEUE_URL"]

    def receive() -> list[MessageTypeDef]:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return answer.get("Messages", [])

    return receive


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB server: that of TEST_MONGODB_URI, or an embedded one started for this run."""
    if uri := os.environ.get("TEST_MONGODB_URI"):
        yield uri
        return
    with mongodb.start(tmp_path_factory.mktemp("mongodb")) as uri:
        yield uri


@pytest.fixture
def view(mongodb_uri: str) -> Iterator[OrderHistoryView]:
    with mongodb.fresh_view(mongodb_uri) as view:
        yield view


@dataclass(frozen=True)
class LambdaContext:
    """Lambda's context object, as far as it is looked at."""

    function_name: str = "customers-and-orders-tests"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:tests"
    aws_request_id: str = "invocation"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 10_000


@pytest.fixture
def context() -> LambdaContext:
    return LambdaContext()


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    """What the functions have logged in this test, a line each."""
    stream = io.StringIO()
    handler = Logger().registered_handler
    assert hasattr(handler, "setStream")
    previous = handler.setStream(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    handler.setStream(previous)
