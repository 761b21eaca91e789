"""The bare pipeline: the hops of Customers and Orders, and at each the least that leads to the next.

One write per hop, no rules, no versions, no idempotency, no validation, boto3 and nothing on top.
What our system takes beyond this is the price of its guarantees.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import boto3

dynamodb = boto3.client("dynamodb")
events = boto3.client("events")


def _next_hop(table: str, order_id: str) -> None:
    item = {"aggregateId": {"S": order_id}, "eventId": {"S": str(uuid.uuid4())}}
    dynamodb.put_item(TableName=os.environ[table], Item=item)


def _order_ids(batch: dict[str, Any]) -> list[str]:
    return [json.loads(record["body"])["detail"]["orderId"] for record in batch["Records"]]


def create_order(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    print("order")  # the emulator waits for a line of log before it answers
    order_id = uuid.uuid4().hex
    _next_hop("ORDERS_OUTBOX", order_id)
    return {"statusCode": 200, "body": json.dumps({"orderId": order_id})}


def get_order(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    print("get")
    key = {"orderId": {"S": event["pathParameters"]["orderId"]}}
    item = dynamodb.get_item(TableName=os.environ["ORDERS"], Key=key, ConsistentRead=True)
    state = "APPROVED" if "Item" in item else "PENDING"
    return {"statusCode": 200, "body": json.dumps({"orderState": state})}


def answer(_event: dict[str, Any], _context: Any) -> dict[str, Any]:
    print("up")
    return {"statusCode": 200, "body": "{}"}


def relay(batch: dict[str, Any], _context: Any) -> None:
    print("relay", len(batch["Records"]))
    entries: list[Any] = [
        {
            "EventBusName": os.environ["EVENT_BUS_NAME"],
            "Source": os.environ["SOURCE"],
            "DetailType": "Order",
            "Detail": json.dumps({"orderId": record["dynamodb"]["Keys"]["aggregateId"]["S"]}),
        }
        for record in batch["Records"]
    ]
    for start in range(0, len(entries), 10):
        events.put_events(Entries=entries[start : start + 10])


def customers(batch: dict[str, Any], _context: Any) -> None:
    print("customers", len(batch["Records"]))
    for order_id in _order_ids(batch):
        _next_hop("CUSTOMERS_OUTBOX", order_id)


def orders(batch: dict[str, Any], _context: Any) -> None:
    print("orders", len(batch["Records"]))
    for order_id in _order_ids(batch):
        dynamodb.put_item(TableName=os.environ["ORDERS"], Item={"orderId": {"S": order_id}})
        _next_hop("ORDERS_DECIDED_OUTBOX", order_id)
