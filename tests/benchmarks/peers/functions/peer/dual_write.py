"""Choreography without an outbox: write the item, then put the event. What stops between the two loses the event."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

import boto3

from .api import InvalidRequestError, answer, order_item, parse_order
from .credit import decision, failed, reservation

dynamodb: Any = boto3.client("dynamodb")
events: Any = boto3.client("events")


def _publish(source: str, event_type: str, detail: dict[str, Any]) -> None:
    entry = {
        "EventBusName": os.environ["EVENT_BUS_NAME"],
        "Source": source,
        "DetailType": event_type,
        "Detail": json.dumps(detail),
    }
    if events.put_events(Entries=[entry])["FailedEntryCount"]:
        raise RuntimeError("the bus did not take the event")


def create_order(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    try:
        order_id, customer_id, total = parse_order(event)
    except InvalidRequestError as error:
        return answer(400, {"detail": str(error)})
    dynamodb.put_item(
        TableName=os.environ["ORDERS"],
        Item=order_item(order_id, customer_id, total),
        ConditionExpression="attribute_not_exists(orderId)",
    )
    detail = {"orderId": order_id, "customerId": customer_id, "totalCents": total}
    _publish("orders", "OrderCreated", {**detail, "state": "PENDING"})
    return answer(200, {"orderId": order_id})


def customers(batch: dict[str, Any], _context: Any) -> None:
    for record in batch["Records"]:
        order = json.loads(record["body"])["detail"]
        answer_type = "CreditReserved"
        try:
            dynamodb.transact_write_items(
                TransactItems=reservation(
                    order["customerId"], order["orderId"], order["totalCents"]
                )
            )
        except dynamodb.exceptions.TransactionCanceledException as error:
            no_credit, is_reserved = (code == "ConditionalCheckFailed" for code in failed(error))
            if is_reserved:  # by an earlier delivery, which may not have come as far as the event
                pass
            elif no_credit:
                answer_type = "CreditReservationFailed"
            else:
                raise
        _publish("customers", answer_type, order)
        print(json.dumps({"message": "event handled", "order_id": order["orderId"]}))


def orders(batch: dict[str, Any], _context: Any) -> None:
    for record in batch["Records"]:
        message = json.loads(record["body"])
        order = message["detail"]
        state = "APPROVED" if message["detail-type"] == "CreditReserved" else "REJECTED"
        # Else it was decided by an earlier delivery, which may not have come as far as the event.
        with suppress(dynamodb.exceptions.ConditionalCheckFailedException):
            dynamodb.update_item(**decision(order["orderId"], state))
        _publish("orders", f"Order{state.capitalize()}", {**order, "state": state})
        print(json.dumps({"message": "event handled", "order_id": order["orderId"]}))
