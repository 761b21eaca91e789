"""The rules that all peers keep: a credit limit is not exceeded, and an order holds its credit once."""

from __future__ import annotations

import os
from typing import Any


def reservation(customer_id: str, order_id: str, total_cents: int) -> list[Any]:
    """The writes that hold the order's total of the customer's credit; they fail if there is not enough of it."""
    return [
        {
            "Update": {
                "TableName": os.environ["CUSTOMERS"],
                "Key": {"customerId": {"S": customer_id}, "sk": {"S": "CUSTOMER"}},
                "UpdateExpression": "SET availableCents = availableCents - :total",
                "ConditionExpression": "availableCents >= :total",
                "ExpressionAttributeValues": {":total": {"N": str(total_cents)}},
            }
        },
        {
            "Put": {
                "TableName": os.environ["CUSTOMERS"],
                "Item": {
                    "customerId": {"S": customer_id},
                    "sk": {"S": f"RESERVATION#{order_id}"},
                    "reservedCents": {"N": str(total_cents)},
                },
                "ConditionExpression": "attribute_not_exists(sk)",
            }
        },
    ]


def decision(order_id: str, state: str) -> dict[str, Any]:
    """The update that decides a PENDING order."""
    return {
        "TableName": os.environ["ORDERS"],
        "Key": {"orderId": {"S": order_id}},
        "UpdateExpression": "SET #state = :state",
        "ConditionExpression": "#state = :pending",
        "ExpressionAttributeNames": {"#state": "state"},
        "ExpressionAttributeValues": {":state": {"S": state}, ":pending": {"S": "PENDING"}},
    }


def failed(error: Any) -> list[str]:
    """Why a transaction was cancelled: a code for each of its writes."""
    return [reason["Code"] for reason in error.response.get("CancellationReasons", [])]
