"""Fixtures: AWS on moto with the tables of template.yaml, a MongoDB server, and Lambda's context."""

from __future__ import annotations

import copy
import io
import json
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partialmethod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
import tenacity
from aws_lambda_powertools import Logger
from botocore.client import BaseClient
from botocore.loaders import create_loader
from moto import mock_aws
from moto.dynamodb.models.table import Table

from customers.repository import CustomerRepository
from messaging import dynamodb as dynamodb_module
from messaging import relay as relay_module
from messaging.dynamodb import Database
from order_history.view import OrderHistoryView
from orders.repository import OrderRepository
from tests.integration import mongodb
from tests.integration.tables import create_tables, shuffled_scan

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

LogLines = Callable[[], list[dict[str, Any]]]
DeadLetters = Callable[[], list["MessageTypeDef"]]


@pytest.fixture(scope="session", autouse=True)
def cached_service_descriptions() -> Iterator[None]:
    """Read botocore's megabytes of JSON once, not once per test: each test has clients of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield


@pytest.fixture(autouse=True)
def shuffled_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans return items in the order of a hash, as DynamoDB does."""
    monkeypatch.setattr(Table, "scan", partialmethod(shuffled_scan, short_pages=False))


@pytest.fixture
def short_pages(shuffled_scans: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of scans end early, as at DynamoDB's size limit."""
    monkeypatch.setattr(Table, "scan", partialmethod(shuffled_scan, short_pages=True))


@pytest.fixture
def aws() -> Iterator[None]:
    """An empty AWS account."""
    with mock_aws():
        yield


@pytest.fixture
def dynamodb(aws: None) -> DynamoDBClient:
    """Empty tables, named by their logical ids."""
    client = boto3.client("dynamodb")
    create_tables(client)
    return client


@pytest.fixture
def customers(dynamodb: DynamoDBClient) -> CustomerRepository:
    names = ("Customers", "CustomersOutbox", "CustomersIdempotency")
    return CustomerRepository(*names, database=Database())


@pytest.fixture
def orders(dynamodb: DynamoDBClient) -> OrderRepository:
    return OrderRepository("Orders", "OrdersOutbox", "OrdersIdempotency", database=Database())


Answer = Exception | Callable[[Callable[[], Any], dict[str, Any]], Any]
"""An error to raise, or a function of (moto's own answer as a function, the request's parameters)."""


@dataclass
class AwsCalls:
    """The calls to AWS that were made, and the answers that replace moto's."""

    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: defaultdict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.made]

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for made, parameters in self.made if made == operation]

    def answer(self, operation: str, *answers: Answer) -> None:
        """Give each of the answers to one of the next calls of the operation."""
        self.answers[operation].extend(answers)


@pytest.fixture
def aws_calls(aws: None, monkeypatch: pytest.MonkeyPatch) -> AwsCalls:
    calls = AwsCalls()
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def intercept(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        calls.made.append((operation, copy.deepcopy(parameters)))
        answers = calls.answers[operation]
        answer = answers.popleft() if answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer(lambda: call(client, operation, parameters), parameters)
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", intercept)
    return calls


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Do not wait between attempts, but record for how many seconds the code would have waited."""
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append)
    # Each module's own name for the clock: threads of other tests use `time`, too.
    for module in (tenacity.nap, dynamodb_module, relay_module):
        monkeypatch.setattr(module, "time", clock)
    return slept


@pytest.fixture
def sqs(aws: None) -> SQSClient:
    return boto3.client("sqs")


@pytest.fixture
def dead_letters(sqs: SQSClient) -> DeadLetters:
    """Receive the messages of the dead-letter queue at DEAD_LETTER_QUEUE_URL."""
    url = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    assert url == os.environ["DEAD_LETTER_QUEUE_URL"]

    def receive() -> list[MessageTypeDef]:
        letters: list[MessageTypeDef] = []
        while found := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            letters += found
        return letters

    return receive


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server at TEST_MONGODB_URI, or an embedded one started for this run."""
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
    """The parts of Lambda's context object that the functions read."""

    function_name: str = "customers-and-orders-tests"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:tests"
    aws_request_id: str = "invocation"

    remaining_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@pytest.fixture
def context() -> LambdaContext:
    return LambdaContext()


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    """Read the lines that the functions have logged in this test."""
    stream = io.StringIO()
    handler = Logger().registered_handler
    assert hasattr(handler, "setStream")
    previous = handler.setStream(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    handler.setStream(previous)
