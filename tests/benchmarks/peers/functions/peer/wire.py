"""Formats that all peers share with Customers and Orders: requests, answers, events, outbox items and log lines."""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]
MAX_CENTS = 10**13
EPOCH_MILLISECONDS = 1_735_689_600_000
"""2025-01-01 UTC: ids are milliseconds since then and 12 random bits."""
ATTEMPTS = 8
"""How often a transaction that conflicts is tried before SQS must redeliver the message."""


class InvalidRequestError(Exception):
    """The request is answered with 400. Its argument is the errors by field."""


def log(message: str, **keys: Any) -> None:
    """Print the invocation's log line, with the keys that the line of Customers and Orders has."""
    service = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    line = {"level": "INFO", "message": message, "timestamp": now(), "service": service, **keys}
    print(json.dumps(line, separators=(",", ":")))


def log_keys(message: Item) -> Item:
    """Return the log keys of a delivered event: of an order's, without the customer."""
    metadata, data = message["detail"]["metadata"], message["detail"]["data"]
    ids = {"customer_id": data.get("customerId"), "order_id": data.get("orderId")}
    if metadata["aggregateType"] == "Order":
        del ids["customer_id"]
    return {
        "event_type": message["detail-type"],
        "event_id": metadata["eventId"],
        "correlation_id": metadata["correlationId"],
        **{key: value for key, value in ids.items() if value is not None},
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> int:
    return (round(time.time() * 1000) - EPOCH_MILLISECONDS) << 12 | random.getrandbits(12)


def answer(event: Item, status: int, body: Any, **keys: Any) -> Item:
    correlation_id = event.get("requestContext", {}).get("requestId")
    request = {"method": event.get("httpMethod"), "route": event.get("resource")}
    log("request handled", **request, status=status, correlation_id=correlation_id, **keys)
    kind = "application/problem+json" if status >= 400 else "application/json"
    return {"statusCode": status, "headers": {"Content-Type": kind}, "body": json.dumps(body)}


def refusal(event: Item, error: InvalidRequestError) -> Item:
    problem = {"type": "about:blank", "title": "Bad Request", "status": 400}
    return answer(event, 400, problem | {"errors": error.args[0]})


def parse(event: Item, fields: dict[str, Callable[[Any], Any]]) -> list[Any]:
    """Return the request's fields, each read by its function. Raises: InvalidRequestError."""
    try:
        body = json.loads(event["body"] or "", parse_float=Decimal)
    except ValueError as error:
        raise InvalidRequestError({"body": "not JSON"}) from error
    if not isinstance(body, dict):
        raise InvalidRequestError({"body": "not an object"})
    errors = dict.fromkeys(body.keys() - fields.keys(), "unknown field")
    values = []
    for name, read in fields.items():
        try:
            values.append(read(body[name]))
        except (KeyError, TypeError, ValueError) as error:
            errors[name] = str(error)
    if errors:
        raise InvalidRequestError(errors)
    return values


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise ValueError("must be a text of 1 to 200 characters")
    return value


def identifier(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise ValueError("must be a positive integer")
    return value


def limit_cents(value: Any) -> int:
    amount = value["amount"] if isinstance(value, dict) and value.keys() == {"amount"} else None
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise ValueError("amount must be a number")  # noqa: TRY004
    cents = amount * 100
    if cents != int(cents) or not 0 <= cents <= MAX_CENTS:
        raise ValueError("amount must have at most two decimal places and not be negative")
    return int(cents)


def total_cents(value: Any) -> int:
    cents = limit_cents(value)
    if not cents:
        raise ValueError("amount must be more than zero")
    return cents


def envelope(kind: str, aggregate_id: int, version: int, data: Item, cause: Item | None) -> Item:
    """Return an event. Its id is derived from the id of its cause, so that it can be written only once."""
    event_id = str(uuid.uuid5(uuid.UUID(cause["eventId"]), kind)) if cause else str(uuid.uuid4())
    metadata = {
        "eventId": event_id,
        "aggregateType": kind,
        "aggregateId": str(aggregate_id),
        "aggregateVersion": version,
        "occurredAt": now(),
        "correlationId": cause["correlationId"] if cause else event_id,
        "causationId": cause["eventId"] if cause else None,
        "schemaVersion": 1,
    }
    return {"metadata": metadata, "data": data}


def order_data(order_id: int, customer_id: int, cents: int, created_at: str, state: str) -> Item:
    reason = "INSUFFICIENT_CREDIT" if state == "REJECTED" else None
    return {
        "orderId": order_id,
        "customerId": customer_id,
        "orderTotalCents": cents,
        "state": state,
        "rejectionReason": reason,
        "createdAt": created_at,
    }


def put(table: str, item: Item, condition: str, **values: Any) -> Item:
    """Return a conditional put of a transaction."""
    write: Item = {"TableName": table, "Item": item, "ConditionExpression": condition}
    if values:
        write["ExpressionAttributeValues"] = {f":{k}": {"N": str(v)} for k, v in values.items()}
    return {"Put": write}


def outbox_put(table: str, source: str, event_type: str, event: Item) -> Item:
    metadata = event["metadata"]
    item = {
        "aggregateId": {"S": metadata["aggregateId"]},
        "eventId": {"S": metadata["eventId"]},
        "aggregateVersion": {"N": str(metadata["aggregateVersion"])},
        "source": {"S": f"customers-and-orders.{source}"},
        "eventType": {"S": event_type},
        "occurredAt": {"S": metadata["occurredAt"]},
        "correlationId": {"S": metadata["correlationId"]},
        "detail": {"S": json.dumps(event)},
    }
    return put(table, item, "attribute_not_exists(eventId)")


def order_item(data: Item, version: int) -> Item:
    return {
        "orderId": {"N": str(data["orderId"])},
        "customerId": {"N": str(data["customerId"])},
        "orderTotalCents": {"N": str(data["orderTotalCents"])},
        "state": {"S": data["state"]},
        "createdAt": {"S": data["createdAt"]},
        "version": {"N": str(version)},
    }


def failed_conditions(error: ClientError) -> list[bool]:
    """Return, for each write of a cancelled transaction, whether its condition failed. Raises: other errors."""
    if error.response["Error"]["Code"] != "TransactionCanceledException":
        raise error
    reasons: Any = error.response.get("CancellationReasons", [])
    return [reason["Code"] == "ConditionalCheckFailed" for reason in reasons]


def one_by_one(batch: Item, handle: Callable[[Item], None]) -> Item:
    """Handle each message by itself. Return Lambda's partial batch response."""
    failed = []
    events = []
    for record in batch["Records"]:
        try:
            message = json.loads(record["body"])
            events.append(log_keys(message))
            with_retries(partial(handle, message))
        except Exception as error:  # noqa: BLE001, one message must not fail its neighbours
            failed.append({"itemIdentifier": record["messageId"]})
            print(
                json.dumps(
                    {"level": "ERROR", "message": "event handler failed", "error": str(error)}
                )
            )
    log("batch handled", events=events)
    return {"batchItemFailures": failed}


class ConflictError(Exception):
    """Another writer changed an aggregate meanwhile."""


def with_retries(attempt: Callable[[], None]) -> None:
    """Repeat the attempt after a conflict, with full jitter. Raises: ConflictError after the last one."""
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except ConflictError:
            if number == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.01 * 2**number))
    return None
