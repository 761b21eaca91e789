"""Inbox table: an outbox, and a marker of each handled message in a table of its own. One message at a time.

As filipsnastins/transactional-messaging-patterns-with-aws-dynamodb-streams-sns-sqs-lambda does it: look for the
marker, load the aggregate, then commit aggregate, outbox item and marker in one transaction.
"""

from __future__ import annotations

import os
from typing import Any

from . import wire
from .api import create_order, decide_in, dynamodb, reserve_in, transact
from .wire import Item

__all__ = ["create_order", "customers", "orders"]


def customers(batch: Item, _context: Any) -> Item:
    """Reserve credit for each order of a batch."""
    return wire.one_by_one(batch, _reserve)


def orders(batch: Item, _context: Any) -> Item:
    """Approve or reject each order of a batch."""
    return wire.one_by_one(batch, _decide)


def _reserve(message: Item) -> None:
    cause, order = message["detail"]["metadata"], message["detail"]["data"]
    if _is_handled(cause):
        return
    is_reserved, data, writes = reserve_in(os.environ["CUSTOMERS_TABLE"], order)
    kind = "CustomerCreditReserved" if is_reserved else "CustomerCreditReservationFailed"
    version = data.pop("version", 0)
    event = wire.envelope("Customer", order["customerId"], version, data, cause)
    outbox = os.environ["CUSTOMERS_OUTBOX_TABLE"]
    _commit([_marker(cause), wire.outbox_put(outbox, "customers", kind, event), *writes])


def _decide(message: Item) -> None:
    cause = message["detail"]["metadata"]
    if _is_handled(cause):
        return
    state = "APPROVED" if message["detail-type"] == "CustomerCreditReserved" else "REJECTED"
    order_id = message["detail"]["data"]["orderId"]
    found = decide_in(os.environ["ORDERS_TABLE"], order_id, state)
    if found is None:
        return
    data, write = found
    event = wire.envelope("Order", order_id, 2, data, cause)
    outbox = os.environ["ORDERS_OUTBOX_TABLE"]
    put = wire.outbox_put(outbox, "orders", f"Order{state.capitalize()}", event)
    _commit([_marker(cause), put, write])


def _key(cause: Item) -> Item:
    return {"messageId": {"S": cause["eventId"]}}


def _is_handled(cause: Item) -> bool:
    table = os.environ["INBOX_TABLE"]
    return "Item" in dynamodb.get_item(TableName=table, Key=_key(cause), ConsistentRead=True)


def _marker(cause: Item) -> Item:
    return wire.put(os.environ["INBOX_TABLE"], _key(cause), "attribute_not_exists(messageId)")


def _commit(writes: list[Item]) -> None:
    """Commit the writes. Do nothing if the marker exists. Raises: ConflictError."""
    failed = transact(writes)
    if failed and not failed[0]:
        raise wire.ConflictError
