"""The peers of the benchmarks keep the rules that they are measured by, or their figures would mean nothing."""

from __future__ import annotations

import importlib
import json
from types import ModuleType
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BUS = "peers"
PACKAGE = "tests.benchmarks.peers.functions.peer"


@pytest.fixture
def tables(aws: None, monkeypatch: pytest.MonkeyPatch) -> DynamoDBClient:
    client = boto3.client("dynamodb")
    keys = {
        "Customers": ["customerId", "sk"],
        "Orders": ["orderId"],
        "Outbox": ["aggregateId", "eventId"],
        "Inbox": ["messageId"],
    }
    for table, names in keys.items():
        schema: Any = [
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
        ]
        client.create_table(
            TableName=table,
            KeySchema=schema,
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in names],
            BillingMode="PAY_PER_REQUEST",
        )
        monkeypatch.setenv(table.upper(), table)
    monkeypatch.setenv("EVENT_BUS_NAME", BUS)
    boto3.client("events").create_event_bus(Name=BUS)
    return client


@pytest.fixture(params=["dual_write", "inbox"])
def peer(request: pytest.FixtureRequest, tables: DynamoDBClient) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{request.param}")


def create_customer(limit: int) -> str:
    api = importlib.import_module(f"{PACKAGE}.api")
    answer = api.create_customer({"body": json.dumps({"creditLimit": {"amount": limit}})}, None)
    return str(json.loads(answer["body"])["customerId"])


def create_order(peer: ModuleType, customer_id: str, total: int) -> dict[str, Any]:
    body = json.dumps({"customerId": customer_id, "orderTotal": {"amount": total}})
    order_id = json.loads(peer.create_order({"body": body}, None)["body"])["orderId"]
    return {
        "orderId": order_id,
        "customerId": customer_id,
        "totalCents": total * 100,
        "state": "PENDING",
    }


def batch(event_id: str, detail_type: str, order: dict[str, Any]) -> dict[str, Any]:
    body = {"id": event_id, "detail-type": detail_type, "detail": order}
    return {"Records": [{"body": json.dumps(body)}]}


def available_cents(tables: DynamoDBClient, customer_id: str) -> int:
    key: Any = {"customerId": {"S": customer_id}, "sk": {"S": "CUSTOMER"}}
    return int(tables.get_item(TableName="Customers", Key=key)["Item"]["availableCents"]["N"])


def state(tables: DynamoDBClient, order: dict[str, Any]) -> str:
    key: Any = {"orderId": {"S": order["orderId"]}}
    return tables.get_item(TableName="Orders", Key=key)["Item"]["state"]["S"]


def test_a_credit_limit_is_not_exceeded(peer: ModuleType, tables: DynamoDBClient) -> None:
    customer_id = create_customer(5)

    for number in range(2):
        order = create_order(peer, customer_id, 4)
        peer.customers(batch(f"event-{number}", "OrderCreated", order), None)

    assert available_cents(tables, customer_id) == 100


def test_a_message_that_comes_again_reserves_nothing_more(
    peer: ModuleType, tables: DynamoDBClient
) -> None:
    customer_id = create_customer(10)
    order = create_order(peer, customer_id, 4)

    for _ in range(2):
        peer.customers(batch("event", "OrderCreated", order), None)

    assert available_cents(tables, customer_id) == 600


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("CreditReserved", "APPROVED"), ("CreditReservationFailed", "REJECTED")],
)
def test_an_order_is_decided_once(
    peer: ModuleType, tables: DynamoDBClient, answer: str, expected: str
) -> None:
    order = create_order(peer, create_customer(5), 4)
    assert state(tables, order) == "PENDING"

    peer.orders(batch("event-1", answer, order), None)
    peer.orders(batch("event-2", "CreditReservationFailed", order), None)

    assert state(tables, order) == expected


def test_a_request_that_makes_no_sense_is_refused(peer: ModuleType) -> None:
    for body in ("", "[]", '{"customerId": "1"}', '{"orderTotal": {"amount": 1}}'):
        assert peer.create_order({"body": body}, None)["statusCode"] == 400
