"""Choreography with an outbox, and an inbox: each message handled is marked in a table of its own.

As filipsnastins/transactional-messaging-patterns-with-aws-dynamodb-streams-sns-sqs-lambda does it: the aggregate,
the outbox item and the marker are one transaction, and the marker's condition drops a message that comes again.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import boto3

from .api import InvalidRequestError, answer, order_item, parse_order
from .credit import decision, failed, reservation

dynamodb: Any = boto3.client("dynamodb")
events: Any = boto3.client("events")


def _outbox(source: str, event_type: str, order: dict[str, Any]) -> Any:
    item = {
        "aggregateId": {"S": order["orderId"]},
        "eventId": {"S": str(uuid.uuid4())},
        "source": {"S": source},
        "eventType": {"S": event_type},
        "detail": {"S": json.dumps(order)},
    }
    condition = "attribute_not_exists(eventId)"
    table = os.environ["OUTBOX"]
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": condition}}


def _inbox(message_id: str) -> Any:
    return {
        "Put": {
            "TableName": os.environ["INBOX"],
            "Item": {"messageId": {"S": message_id}},
            "ConditionExpression": "attribute_not_exists(messageId)",
        }
    }


def create_order(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    try:
        order_id, customer_id, total = parse_order(event)
    except InvalidRequestError as error:
        return answer(400, {"detail": str(error)})
    order = {
        "orderId": order_id,
        "customerId": customer_id,
        "totalCents": total,
        "state": "PENDING",
    }
    put: Any = {
        "Put": {
            "TableName": os.environ["ORDERS"],
            "Item": order_item(order_id, customer_id, total),
            "ConditionExpression": "attribute_not_exists(orderId)",
        }
    }
    dynamodb.transact_write_items(TransactItems=[put, _outbox("orders", "OrderCreated", order)])
    return answer(200, {"orderId": order_id})


def _is_handled(message_id: str) -> bool:
    """The public implementation asks before it does the work; the marker's condition is for those who race."""
    key = {"messageId": {"S": message_id}}
    table = os.environ["INBOX"]
    return "Item" in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)


def customers(batch: dict[str, Any], _context: Any) -> None:
    for record in batch["Records"]:
        message = json.loads(record["body"])
        order, marker = message["detail"], f"customers#{message['id']}"
        if _is_handled(marker):
            continue
        try:
            dynamodb.transact_write_items(
                TransactItems=[
                    _inbox(marker),
                    _outbox("customers", "CreditReserved", order),
                    *reservation(order["customerId"], order["orderId"], order["totalCents"]),
                ]
            )
        except dynamodb.exceptions.TransactionCanceledException as error:
            is_handled, _, no_credit, is_reserved = (
                code == "ConditionalCheckFailed" for code in failed(error)
            )
            if no_credit and not is_handled and not is_reserved:
                refusal = _outbox("customers", "CreditReservationFailed", order)
                dynamodb.transact_write_items(TransactItems=[_inbox(marker), refusal])
            elif not is_handled and not is_reserved:
                raise
        print(json.dumps({"message": "event handled", "order_id": order["orderId"]}))


def orders(batch: dict[str, Any], _context: Any) -> None:
    for record in batch["Records"]:
        message = json.loads(record["body"])
        order, marker = message["detail"], f"orders#{message['id']}"
        if _is_handled(marker):
            continue
        state = "APPROVED" if message["detail-type"] == "CreditReserved" else "REJECTED"
        decided = {**order, "state": state}
        try:
            dynamodb.transact_write_items(
                TransactItems=[
                    _inbox(marker),
                    _outbox("orders", f"Order{state.capitalize()}", decided),
                    {"Update": decision(order["orderId"], state)},
                ]
            )
        except dynamodb.exceptions.TransactionCanceledException as error:
            if "ConditionalCheckFailed" not in failed(error):
                raise
        print(json.dumps({"message": "event handled", "order_id": order["orderId"]}))


def relay(batch: dict[str, Any], _context: Any) -> None:
    entries: list[Any] = []
    for record in batch["Records"]:
        image = record["dynamodb"]["NewImage"]
        entries.append(
            {
                "EventBusName": os.environ["EVENT_BUS_NAME"],
                "Source": image["source"]["S"],
                "DetailType": image["eventType"]["S"],
                "Detail": image["detail"]["S"],
            }
        )
    for start in range(0, len(entries), 10):
        if events.put_events(Entries=entries[start : start + 10])["FailedEntryCount"]:
            raise RuntimeError("the bus did not take all events")
    print(json.dumps({"message": "events published", "published": len(entries)}))
