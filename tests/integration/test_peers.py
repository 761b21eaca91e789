"""The peers of the benchmark keep the rules that they are compared by."""

from __future__ import annotations

import importlib
import json
import os
import uuid
from types import ModuleType
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.benchmarks.peers.functions.peer import wire

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PACKAGE = "tests.benchmarks.peers.functions.peer"


@pytest.fixture
def tables(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> DynamoDBClient:
    """The product's tables, and the inbox."""
    dynamodb.create_table(
        TableName="Inbox",
        KeySchema=[{"AttributeName": "messageId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "messageId", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    monkeypatch.setenv("INBOX_TABLE", "Inbox")
    boto3.client("events").create_event_bus(Name=os.environ["EVENT_BUS_NAME"])
    return dynamodb


@pytest.fixture(params=["bare", "inbox", "dual_write"])
def peer(request: pytest.FixtureRequest, tables: DynamoDBClient) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{request.param}")


def create_customer(limit: int) -> int:
    api = importlib.import_module(f"{PACKAGE}.api")
    body = {"name": "Jane Doe", "creditLimit": {"amount": limit}}
    return int(
        json.loads(api.create_customer({"body": json.dumps(body)}, None)["body"])["customerId"]
    )


def create_order(peer: ModuleType, customer_id: int, total: int) -> dict[str, Any]:
    body = json.dumps({"customerId": customer_id, "orderTotal": {"amount": total}})
    order_id = json.loads(peer.create_order({"body": body}, None)["body"])["orderId"]
    return wire.order_data(order_id, customer_id, total * 100, wire.now(), "PENDING")


def message(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    detail = wire.envelope("Order", data["orderId"], 1, data, None)
    body = {"source": "test", "detail-type": kind, "detail": detail}
    return {"messageId": str(uuid.uuid4()), "body": json.dumps(body)}


def handle(handler: Any, *messages: dict[str, Any]) -> None:
    assert handler({"Records": list(messages)}, None) == {"batchItemFailures": []}


def available_cents(tables: DynamoDBClient, customer_id: int) -> int:
    key: Any = {"customerId": {"N": str(customer_id)}, "sk": {"S": "CUSTOMER"}}
    return int(tables.get_item(TableName="Customers", Key=key)["Item"]["availableCents"]["N"])


def state(tables: DynamoDBClient, order: dict[str, Any]) -> str:
    key: Any = {"orderId": {"N": str(order["orderId"])}}
    return tables.get_item(TableName="Orders", Key=key)["Item"]["state"]["S"]


def test_credit_limit_holds_within_and_across_batches(
    peer: ModuleType, tables: DynamoDBClient
) -> None:
    customer_id = create_customer(9)
    orders = [create_order(peer, customer_id, 4) for _ in range(4)]

    handle(peer.customers, *(message("OrderCreated", order) for order in orders[:3]))
    handle(peer.customers, message("OrderCreated", orders[3]))

    assert available_cents(tables, customer_id) == 100


def test_redelivered_message_reserves_once(peer: ModuleType, tables: DynamoDBClient) -> None:
    customer_id = create_customer(10)
    delivered = message("OrderCreated", create_order(peer, customer_id, 4))

    handle(peer.customers, delivered)
    handle(peer.customers, delivered, message("OrderCreated", create_order(peer, customer_id, 1)))

    assert available_cents(tables, customer_id) == 500


def test_order_is_decided_once(peer: ModuleType, tables: DynamoDBClient) -> None:
    outcomes = {
        "CustomerCreditReserved": "APPROVED",
        "CustomerCreditReservationFailed": "REJECTED",
    }
    for first, expected in outcomes.items():
        order = create_order(peer, create_customer(5), 4)
        assert state(tables, order) == "PENDING"

        handle(peer.orders, message(first, order))
        handle(peer.orders, *(message(kind, order) for kind in outcomes))

        assert state(tables, order) == expected


def test_failing_message_does_not_fail_its_neighbours(
    peer: ModuleType, tables: DynamoDBClient
) -> None:
    order = create_order(peer, create_customer(5), 4)
    unknown = message("CustomerCreditReserved", order | {"orderId": 1})

    batch = {"Records": [unknown, message("CustomerCreditReserved", order)]}
    answer = peer.orders(batch, None)

    assert answer == {"batchItemFailures": [{"itemIdentifier": unknown["messageId"]}]}
    assert state(tables, order) == "APPROVED"


def test_invalid_request_returns_400(peer: ModuleType) -> None:
    total = {"amount": 1}
    bodies: tuple[Any, ...] = (
        "",
        [],
        {"customerId": 1},
        {"customerId": 0, "orderTotal": total},
        {"customerId": 1, "orderTotal": total, "extra": 1},
        {"customerId": 1, "orderTotal": {"amount": 0}},
    )
    for body in bodies:
        answer = peer.create_order({"body": json.dumps(body)}, None)
        assert answer["statusCode"] == 400, body
        assert answer["headers"]["Content-Type"] == "application/problem+json"
