"""The HTTP API that the peers have in common: customers, and the state of an order. Each creates orders its own way."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import boto3

dynamodb: Any = boto3.client("dynamodb")

Item = dict[str, Any]


class InvalidRequestError(Exception):
    """Answered with 400."""


def answer(status: int, body: Any) -> dict[str, Any]:
    print(json.dumps({"message": "request answered", "status": status}))
    return {"statusCode": status, "body": json.dumps(body)}


def parse(event: dict[str, Any]) -> dict[str, Any]:
    """The JSON object in the body."""
    try:
        body = json.loads(event["body"] or "")
    except ValueError as error:
        raise InvalidRequestError("not JSON") from error
    if not isinstance(body, dict):
        raise InvalidRequestError("no object")
    return body


def cents(body: dict[str, Any], field: str) -> int:
    """The amount in the field, which must be a number of at least zero."""
    money = body.get(field)
    amount = money.get("amount") if isinstance(money, dict) else None
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
        raise InvalidRequestError(f"{field}.amount must be a number")
    return round(amount * 100)


def parse_order(event: dict[str, Any]) -> tuple[str, str, int]:
    """A new order's id, its customer and its total."""
    body = parse(event)
    customer_id = body.get("customerId")
    if not isinstance(customer_id, str):
        raise InvalidRequestError("customerId must be a string")
    return uuid.uuid4().hex, customer_id, cents(body, "orderTotal")


def order_item(order_id: str, customer_id: str, total_cents: int) -> Item:
    return {
        "orderId": {"S": order_id},
        "customerId": {"S": customer_id},
        "totalCents": {"N": str(total_cents)},
        "state": {"S": "PENDING"},
    }


def create_customer(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    try:
        limit = cents(parse(event), "creditLimit")
    except InvalidRequestError as error:
        return answer(400, {"detail": str(error)})
    customer_id = uuid.uuid4().hex
    item = {
        "customerId": {"S": customer_id},
        "sk": {"S": "CUSTOMER"},
        "creditLimitCents": {"N": str(limit)},
        "availableCents": {"N": str(limit)},
    }
    dynamodb.put_item(
        TableName=os.environ["CUSTOMERS"],
        Item=item,
        ConditionExpression="attribute_not_exists(customerId)",
    )
    return answer(200, {"customerId": customer_id})


def get_order(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    key = {"orderId": {"S": event["pathParameters"]["orderId"]}}
    found = dynamodb.get_item(TableName=os.environ["ORDERS"], Key=key, ConsistentRead=True)
    if "Item" not in found:
        return answer(404, {"detail": "no such order"})
    return answer(200, {"orderState": found["Item"]["state"]["S"]})


def up(_event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """What the runner asks to find out whether a system is up."""
    return answer(200, {})
