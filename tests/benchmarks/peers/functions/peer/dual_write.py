"""Dual write: store the change, then publish the event. A crash between the two loses the event. No outbox."""

from __future__ import annotations

import json
import os
from typing import Any

from botocore.exceptions import ClientError

from . import wire
from .api import decide_in, dynamodb, events, parse_order, reserve_in, transact
from .wire import Item


def _publish(source: str, event_type: str, event: Item) -> None:
    entry = {
        "EventBusName": os.environ["EVENT_BUS_NAME"],
        "Source": f"customers-and-orders.{source}",
        "DetailType": event_type,
        "Detail": json.dumps(event),
    }
    if events.put_events(Entries=[entry])["FailedEntryCount"]:
        raise RuntimeError("the bus refused the event")


def create_order(event: Item, _context: Any) -> Item:
    """Store the PENDING order, then publish OrderCreated."""
    try:
        order = parse_order(event)
    except wire.InvalidRequestError as error:
        return wire.refusal(event, error)
    dynamodb.put_item(
        TableName=os.environ["ORDERS_TABLE"],
        Item=wire.order_item(order, 1),
        ConditionExpression="attribute_not_exists(orderId)",
    )
    created = wire.envelope("Order", order["orderId"], 1, order, None)
    _publish("orders", "OrderCreated", created)
    return wire.answer(event, 200, {"orderId": order["orderId"]}, order_id=order["orderId"])


def customers(batch: Item, _context: Any) -> Item:
    """Reserve credit for each order of a batch, then publish the outcome."""
    return wire.one_by_one(batch, _reserve)


def orders(batch: Item, _context: Any) -> Item:
    """Approve or reject each order of a batch, then publish the decision."""
    return wire.one_by_one(batch, _decide)


def _reserve(message: Item) -> None:
    cause, order = message["detail"]["metadata"], message["detail"]["data"]
    is_reserved, data, writes = reserve_in(os.environ["CUSTOMERS_TABLE"], order)
    kind = "CustomerCreditReserved" if is_reserved else "CustomerCreditReservationFailed"
    failed = transact(writes) if writes else []
    if failed and not failed[1]:  # not a redelivery whose reservation exists
        raise wire.ConflictError
    version = data.pop("version", 0)
    _publish(
        "customers", kind, wire.envelope("Customer", order["customerId"], version, data, cause)
    )


def _decide(message: Item) -> None:
    state = "APPROVED" if message["detail-type"] == "CustomerCreditReserved" else "REJECTED"
    order_id = message["detail"]["data"]["orderId"]
    found = decide_in(os.environ["ORDERS_TABLE"], order_id, state)
    if found is None:
        return
    data, write = found
    try:
        dynamodb.put_item(**write["Put"])
    except ClientError as error:
        raise wire.ConflictError from error
    cause = message["detail"]["metadata"]
    decided = wire.envelope("Order", order_id, 2, data, cause)
    _publish("orders", f"Order{state.capitalize()}", decided)
