"""X-Ray: nothing where an invocation is not traced; where it is, the trace goes through the outbox."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from functions.customers import subscriber as customers_subscriber
from functions.orders import api as orders_api
from functions.outbox_relay import handler as relay
from messaging.relay import Relay
from telemetry import tracing
from tests.integration.api import send
from tests.integration.conftest import LambdaContext
from tests.integration.tables import items
from tests.samples import load, messages

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT_ID, PARENT_ID = "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
HEADER = f"Root={ROOT_ID};Parent={PARENT_ID};Sampled=1"
NOT_TRACED = {
    "no trace": {},
    "not sampled": {"_X_AMZN_TRACE_ID": HEADER.replace("Sampled=1", "Sampled=0")},
    "switched off": {"_X_AMZN_TRACE_ID": HEADER, "POWERTOOLS_TRACE_DISABLED": "true"},
}


class Daemon:
    """X-Ray's daemon, as far as it is sent things."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)

    @property
    def address(self) -> str:
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def next(self) -> dict[str, Any]:
        """What was sent, without the header that the daemon needs before it."""
        header, _, document = self.socket.recv(65_535).partition(b"\n")
        assert json.loads(header) == {"format": "json", "version": 1}
        subsegment: dict[str, Any] = json.loads(document)
        return subsegment

    def is_left_alone(self) -> bool:
        """Whether nothing more was sent. A datagram to this machine has arrived when it has been sent."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(65_535)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    listening = Daemon()
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", listening.address)
    yield listening
    listening.socket.close()


@pytest.fixture
def traced(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """The invocation is part of a trace."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER)
    return daemon


@pytest.mark.parametrize("environment", NOT_TRACED.values(), ids=NOT_TRACED)
def test_what_is_not_traced_sends_nothing_and_writes_nothing(
    dynamodb: DynamoDBClient,
    daemon: Daemon,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    send(orders_api, "orders_api_create")

    (item,) = items(dynamodb, "OrdersOutbox")
    assert "traceHeader" not in item
    assert daemon.is_left_alone()


def test_a_request_is_found_by_its_order_and_its_correlation(
    dynamodb: DynamoDBClient, traced: Daemon
) -> None:
    before = time.time()
    created = send(orders_api, "orders_api_create")

    subsegment = traced.next()
    assert (subsegment["trace_id"], subsegment["parent_id"]) == (ROOT_ID, PARENT_ID)
    assert subsegment["type"] == "subsegment"
    assert subsegment["name"] == "POST /orders"
    assert subsegment["annotations"] == {
        "correlation_id": created.headers["X-Correlation-Id"],
        "order_id": str(created.json["orderId"]),
        "customer_id": str(load_body()["customerId"]),
    }
    assert before <= subsegment["start_time"] <= subsegment["end_time"] <= time.time()
    assert subsegment["fault"] is False


def load_body() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(load("orders_api_create")["body"])
    return body


def test_a_message_is_found_by_its_event(dynamodb: DynamoDBClient, traced: Daemon) -> None:
    batch = load("customers_subscriber_batch")
    first = next(messages(batch))["detail"]

    customers_subscriber.lambda_handler(batch, LambdaContext())

    subsegment = traced.next()
    assert subsegment["name"] == "OrderCreated"
    annotations = subsegment["annotations"]
    assert annotations["event_id"] == first["metadata"]["eventId"]
    assert annotations["correlation_id"] == first["metadata"]["correlationId"]
    assert annotations["order_id"] == str(first["data"]["orderId"])


def test_a_message_that_fails_is_marked_and_its_error_is_not_told(
    dynamodb: DynamoDBClient, traced: Daemon
) -> None:
    dynamodb.delete_table(TableName="Customers")

    customers_subscriber.lambda_handler(load("customers_subscriber_batch"), LambdaContext())

    subsegment = traced.next()
    assert subsegment["fault"] is True
    assert "cause" not in subsegment


def test_the_trace_goes_from_the_outbox_with_the_event_to_the_bus(
    dynamodb: DynamoDBClient, traced: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(Relay, "_put", lambda _, chunk: sent.extend(e.request for e in chunk))
    send(orders_api, "orders_api_create")
    (item,) = items(dynamodb, "OrdersOutbox")
    untraced = load("outbox_relay_batch")["Records"][0]

    record = {"eventName": "INSERT", "dynamodb": {"NewImage": item}}
    relay.lambda_handler({"Records": [record, untraced]}, LambdaContext())

    assert [entry.get("TraceHeader") for entry in sent] == [HEADER, None]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:2000", "nonsense"])
def test_a_daemon_that_is_not_there_disturbs_nothing(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", HEADER)
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", address)
    done = []

    with tracing.subsegment("GET /orders/{orderId}", {}):
        done.append(True)

    assert done


def test_a_name_has_only_characters_that_x_ray_takes(traced: Daemon) -> None:
    with tracing.subsegment("GET /orders/{orderId}", {"status": 200}):
        pass

    subsegment = traced.next()
    assert subsegment["name"] == "GET /orders/orderId"
    assert subsegment["annotations"] == {}, "only ids are what traces are found by"
