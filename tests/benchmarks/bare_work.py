"""What each function does with AWS and the view, in bare boto3 and pymongo: the same calls, a line of log, no more.

No validation, no problem documents, no domain, no retries, no decoding of what nobody looks at.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import boto3
from pymongo import MongoClient

dynamodb: Any = boto3.client("dynamodb")
events: Any = boto3.client("events")
view = MongoClient[Any](os.environ["MONGODB_URI"], maxPoolSize=2)["bare"]
NEW = "attribute_not_exists(eventId)"


def _log(**facts: Any) -> Any:
    print(json.dumps({"level": "INFO", "service": "bench", **facts}))


def _outbox(table: Any, aggregate_id: Any, event_type: Any, data: Any) -> Any:
    event_id = str(uuid.uuid4())
    metadata = {
        "eventId": event_id,
        "aggregateType": "Order",
        "aggregateId": str(aggregate_id),
        "aggregateVersion": 1,
        "occurredAt": "2026-11-04T09:30:10.000Z",
        "correlationId": "5f0c1d2e-3b4a-4c5d-8e6f-7a8b9c0d1e01",
        "causationId": None,
        "schemaVersion": 1,
    }
    item = {
        "aggregateId": {"S": str(aggregate_id)},
        "eventId": {"S": event_id},
        "aggregateVersion": {"N": "1"},
        "source": {"S": "customers-and-orders.orders"},
        "eventType": {"S": event_type},
        "occurredAt": {"S": metadata["occurredAt"]},
        "correlationId": {"S": metadata["correlationId"]},
        "detail": {"S": json.dumps({"metadata": metadata, "data": data})},
    }
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": NEW}}


def _put(table: Any, item: Any, condition: Any) -> Any:
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": condition}}


def _request_marker(table: Any, key_name: Any) -> Any:
    item = {
        key_name: {"N": str(-uuid.uuid4().int % 10**36)},
        "itemType": {"S": "IdempotencyKey"},
        "fingerprint": {"S": "f" * 64},
        "expiresAt": {"N": "1793871010"},
    }
    if key_name == "customerId":
        item["sk"] = {"S": "IDEMPOTENCY_KEY"}
    return _put(table, item, f"attribute_not_exists({key_name})")


def create_customer(event: Any, _context: Any) -> Any:
    body = json.loads(event["body"])
    customer_id = uuid.uuid4().int % 2**53
    limit = round(body["creditLimit"]["amount"] * 100)
    item = {
        "customerId": {"N": str(customer_id)},
        "sk": {"S": "CUSTOMER"},
        "itemType": {"S": "Customer"},
        "listedCustomerId": {"N": str(customer_id)},
        "name": {"S": body["name"]},
        "creditLimitCents": {"N": str(limit)},
        "reservedCreditCents": {"N": "0"},
        "version": {"N": "1"},
    }
    data = {"customerId": customer_id, "name": body["name"], "creditLimitCents": limit}
    writes = [
        _outbox("CustomersOutbox", customer_id, "CustomerCreated", data),
        _put("Customers", item, "attribute_not_exists(sk)"),
    ]
    if "Idempotency-Key" in event["headers"]:
        writes.append(_request_marker("Customers", "customerId"))
    dynamodb.transact_write_items(TransactItems=writes)
    _log(message="request answered", status=200)
    return {"statusCode": 200, "body": json.dumps({"customerId": customer_id})}


def _order(order_id: Any, customer_id: Any, cents: Any, state: Any, version: Any) -> Any:
    item = {
        "orderId": {"N": str(order_id)},
        "itemType": {"S": "Order"},
        "customerId": {"N": str(customer_id)},
        "orderTotalCents": {"N": str(cents)},
        "state": {"S": state},
        "createdAt": {"S": "2026-11-04T09:30:10.000Z"},
        "version": {"N": str(version)},
    }
    data = {
        "orderId": order_id,
        "customerId": customer_id,
        "orderTotalCents": cents,
        "state": state,
        "rejectionReason": None,
        "createdAt": "2026-11-04T09:30:10.000Z",
    }
    return item, data


def create_order(event: Any, _context: Any) -> Any:
    body = json.loads(event["body"])
    order_id = uuid.uuid4().int % 2**53
    cents = round(body["orderTotal"]["amount"] * 100)
    item, data = _order(order_id, body["customerId"], cents, "PENDING", 1)
    writes = [
        _outbox("OrdersOutbox", order_id, "OrderCreated", data),
        _put("Orders", item, "attribute_not_exists(orderId)"),
    ]
    if "Idempotency-Key" in event["headers"]:
        writes.append(_request_marker("Orders", "orderId"))
    dynamodb.transact_write_items(TransactItems=writes)
    _log(message="request answered", status=200)
    return {"statusCode": 200, "body": json.dumps({"orderId": order_id})}


def get_history(event: Any, _context: Any) -> Any:
    found = view["orders"].find_one({"_id": int(event["pathParameters"]["orderId"])})
    _log(message="request answered", status=200)
    return {"statusCode": 200 if found else 404, "body": json.dumps(found or {})}


def _message(record: Any) -> Any:
    return json.loads(record["body"])


def reserve_credit(batch: Any, _context: Any) -> Any:
    for record in batch["Records"]:
        order = _message(record)["detail"]["data"]
        customer_key = {"customerId": {"N": str(order["customerId"])}, "sk": {"S": "CUSTOMER"}}
        key = {**customer_key, "sk": {"S": f"RESERVATION#{order['orderId']}"}}
        answer = dynamodb.batch_get_item(
            RequestItems={"Customers": {"Keys": [customer_key, key], "ConsistentRead": True}}
        )
        (customer,) = answer["Responses"]["Customers"]
        cents = order["orderTotalCents"]
        reserved = int(customer["reservedCreditCents"]["N"]) + cents
        if reserved > int(customer["creditLimitCents"]["N"]):
            raise RuntimeError("no credit")
        version = int(customer["version"]["N"])
        customer |= {
            "reservedCreditCents": {"N": str(reserved)},
            "version": {"N": str(version + 1)},
        }
        put = _put("Customers", customer, "version = :v")
        put["Put"]["ExpressionAttributeValues"] = {":v": {"N": str(version)}}
        reservation = {**key, "itemType": {"S": "Reservation"}, "reservedCents": {"N": str(cents)}}
        event = _outbox("CustomersOutbox", order["customerId"], "CustomerCreditReserved", order)
        writes = [event, put, _put("Customers", reservation, "attribute_not_exists(sk)")]
        dynamodb.transact_write_items(TransactItems=writes)
        _log(message="event handled", event_type="OrderCreated")


def approve_order(batch: Any, _context: Any) -> Any:
    for record in batch["Records"]:
        order_id = _message(record)["detail"]["data"]["orderId"]
        key = {"orderId": {"N": str(order_id)}}
        order = dynamodb.get_item(TableName="Orders", Key=key, ConsistentRead=True)["Item"]
        if order["state"]["S"] != "PENDING":
            raise RuntimeError("not pending")
        cents = int(order["orderTotalCents"]["N"])
        item, data = _order(order_id, int(order["customerId"]["N"]), cents, "APPROVED", 2)
        put = _put("Orders", item, "version = :v")
        put["Put"]["ExpressionAttributeValues"] = {":v": {"N": "1"}}
        event = _outbox("OrdersOutbox", order_id, "OrderApproved", data)
        dynamodb.transact_write_items(TransactItems=[event, put])
        _log(message="event handled", event_type="CustomerCreditReserved")


def relay(batch: Any, _context: Any) -> Any:
    entries = [
        {
            "EventBusName": "bus",
            "Source": record["dynamodb"]["NewImage"]["source"]["S"],
            "DetailType": record["dynamodb"]["NewImage"]["eventType"]["S"],
            "Detail": record["dynamodb"]["NewImage"]["detail"]["S"],
        }
        for record in batch["Records"]
    ]
    events.put_events(Entries=entries)
    _log(message="events published", published=len(entries))


def project(batch: Any, _context: Any) -> Any:
    for record in batch["Records"]:
        message = _message(record)
        order = message["detail"]["data"]
        version = message["detail"]["metadata"]["aggregateVersion"]
        facts = {**order, "version": version}
        older = {"_id": order["orderId"], "version": {"$lt": version}}
        view["orders"].update_one(older, {"$set": facts}, upsert=True)
        path = f"orders.{order['orderId']}"
        absent = {"_id": order["customerId"], path: {"$exists": False}}
        view["customers"].update_one(absent, {"$set": {path: facts}}, upsert=True)
        view["customers"].find_one({"_id": order["customerId"]}, {"orders": 1})
        _log(message="event handled", event_type=message["detail-type"])
