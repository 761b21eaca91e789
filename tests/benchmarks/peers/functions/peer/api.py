"""Functions that all peers share: the API of customers, the relay of an outbox, and the start check."""

from __future__ import annotations

import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from . import wire
from .wire import Item

CONFIG = (
    Config(parameter_validation=False, user_agent="benchmark") if "TUNED" in os.environ else None
)
"""boto3's defaults; with TUNED the settings of Customers and Orders, which take less processor time."""
dynamodb: Any = boto3.client("dynamodb", config=CONFIG)
events: Any = boto3.client("events", config=CONFIG)
MAX_ENTRIES = 10


def create_customer(event: Item, _context: Any) -> Item:
    """Write the customer and CustomerCreated in one transaction."""
    try:
        name, cents = wire.parse(event, {"name": wire.text, "creditLimit": wire.limit_cents})
    except wire.InvalidRequestError as error:
        return wire.refusal(event, error)
    customer_id = wire.new_id()
    item = {
        "customerId": {"N": str(customer_id)},
        "sk": {"S": "CUSTOMER"},
        "name": {"S": name},
        "creditLimitCents": {"N": str(cents)},
        "availableCents": {"N": str(cents)},
        "version": {"N": "1"},
    }
    data = {"customerId": customer_id, "name": name, "creditLimitCents": cents}
    created = wire.envelope("Customer", customer_id, 1, data, None)
    table = os.environ["CUSTOMERS_OUTBOX_TABLE"]
    writes = [
        wire.outbox_put(table, "customers", "CustomerCreated", created),
        wire.put(os.environ["CUSTOMERS_TABLE"], item, "attribute_not_exists(sk)"),
    ]
    dynamodb.transact_write_items(TransactItems=writes)
    return wire.answer(event, 200, {"customerId": customer_id}, customer_id=customer_id)


def parse_order(event: Item) -> Item:
    """Return the data of a new PENDING order. Raises: InvalidRequestError."""
    customer_id, cents = wire.parse(
        event, {"customerId": wire.identifier, "orderTotal": wire.total_cents}
    )
    return wire.order_data(wire.new_id(), customer_id, cents, wire.now(), "PENDING")


def create_order(event: Item, _context: Any) -> Item:
    """Write the PENDING order and OrderCreated in one transaction."""
    try:
        order = parse_order(event)
    except wire.InvalidRequestError as error:
        return wire.refusal(event, error)
    created = wire.envelope("Order", order["orderId"], 1, order, None)
    table = os.environ["ORDERS_OUTBOX_TABLE"]
    item = wire.order_item(order, 1)
    writes = [
        wire.outbox_put(table, "orders", "OrderCreated", created),
        wire.put(os.environ["ORDERS_TABLE"], item, "attribute_not_exists(orderId)"),
    ]
    dynamodb.transact_write_items(TransactItems=writes)
    return wire.answer(event, 200, {"orderId": order["orderId"]}, order_id=order["orderId"])


def relay(batch: Item, _context: Any) -> None:
    """Publish a batch of outbox records in their order. Raises: RuntimeError if the bus refuses one."""
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
    for start in range(0, len(entries), MAX_ENTRIES):
        if events.put_events(Entries=entries[start : start + MAX_ENTRIES])["FailedEntryCount"]:
            raise RuntimeError("the bus refused events")
    published = [
        {
            "event_type": image["eventType"]["S"],
            "event_id": image["eventId"]["S"],
            "correlation_id": image["correlationId"]["S"],
            "aggregate_id": image["aggregateId"]["S"],
        }
        for image in (record["dynamodb"]["NewImage"] for record in batch["Records"])
    ]
    wire.log("events published", events=published)


def reserve_in(customers_table: str, order: Item) -> tuple[bool, Item, list[Item]]:
    """Load the order's customer and decide. Return whether there is credit, the event data, and the writes."""
    key = {"customerId": {"N": str(order["customerId"])}, "sk": {"S": "CUSTOMER"}}
    found = dynamodb.get_item(TableName=customers_table, Key=key, ConsistentRead=True)
    customer = found["Item"]
    version = int(customer["version"]["N"])
    available = int(customer["availableCents"]["N"]) - order["orderTotalCents"]
    data = {"customerId": order["customerId"], "orderId": order["orderId"]}
    if available < 0:
        return False, data | {"availableCreditCents": available + order["orderTotalCents"]}, []
    item = customer | {
        "availableCents": {"N": str(available)},
        "version": {"N": str(version + 1)},
    }
    reservation = {
        "customerId": key["customerId"],
        "sk": {"S": f"RESERVATION#{order['orderId']}"},
        "reservedCents": {"N": str(order["orderTotalCents"])},
    }
    writes = [
        wire.put(customers_table, item, "version = :version", version=version),
        wire.put(customers_table, reservation, "attribute_not_exists(sk)"),
    ]
    return True, data | {"availableCreditCents": available, "version": version + 1}, writes


def decide_in(orders_table: str, order_id: int, state: str) -> tuple[Item, Item] | None:
    """Load the order. Return the data of its decision and the write, or None if it was decided before."""
    key = {"orderId": {"N": str(order_id)}}
    order = dynamodb.get_item(TableName=orders_table, Key=key, ConsistentRead=True)["Item"]
    if order["state"]["S"] != "PENDING":
        return None
    data = decided(order, state)
    return data, wire.put(orders_table, wire.order_item(data, 2), "version = :version", version=1)


def decided(order: Item, state: str) -> Item:
    """Return the data of the order in its new state."""
    cents, customer_id = int(order["orderTotalCents"]["N"]), int(order["customerId"]["N"])
    created_at = order["createdAt"]["S"]
    return wire.order_data(int(order["orderId"]["N"]), customer_id, cents, created_at, state)


def transact(writes: list[Item]) -> list[bool]:
    """Commit the writes. Return which conditions failed if the transaction was cancelled for that, else []."""
    try:
        dynamodb.transact_write_items(TransactItems=writes)
    except ClientError as error:
        failed = wire.failed_conditions(error)
        if not any(failed):
            raise wire.ConflictError from error
        return failed
    return []


def up(event: Item, _context: Any) -> Item:
    """Answer the runner's question whether the system is up."""
    return wire.answer(event, 200, {})
