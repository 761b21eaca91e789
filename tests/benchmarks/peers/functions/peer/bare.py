"""Bare with batches: the guarantees of Customers and Orders in boto3, without frameworks, layers or a domain model.

A batch is one read and one transaction, event ids are derived from their causes, versions guard the aggregates.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from . import wire
from .api import create_order, decided, dynamodb, transact
from .wire import Item

__all__ = ["create_order", "customers", "orders"]
Decide = Callable[[list[Item]], list[tuple[str, Item, list[Item]]]]
"""From messages to, for each changed one: its event id, the outbox put, the writes of its aggregate."""


def customers(batch: Item, _context: Any) -> Item:
    """Reserve credit for the orders of a batch."""
    return _handle(batch, _reserve)


def orders(batch: Item, _context: Any) -> Item:
    """Approve or reject the orders of a batch."""
    return _handle(batch, _decide_orders)


def _handle(batch: Item, decide: Decide) -> Item:
    messages = {record["messageId"]: json.loads(record["body"]) for record in batch["Records"]}
    failed: list[str] = []
    try:
        wire.with_retries(partial(_commit, list(messages.values()), decide))
    except Exception:  # noqa: BLE001, one failing message must not fail its neighbours
        for message_id, message in messages.items():
            try:
                wire.with_retries(partial(_commit, [message], decide))
            except Exception as error:  # noqa: BLE001
                failed.append(message_id)
                line = {"level": "ERROR", "message": "event handler failed", "error": str(error)}
                print(json.dumps(line))
    wire.log("batch handled", events=[wire.log_keys(message) for message in messages.values()])
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _commit(messages: list[Item], decide: Decide) -> None:
    """Commit the messages in one transaction. Drop those whose answer is in the outbox already."""
    pending = {message["detail"]["metadata"]["eventId"]: message for message in messages}
    while pending:
        changes = decide(list(pending.values()))
        if not changes:
            return
        outbox = [put for _, put, _ in changes]
        aggregates: dict[str, Item] = {}
        for _, _, writes in changes:  # of an aggregate that changed twice, the last item counts
            for write in writes:
                item = write["Put"]["Item"]
                key = json.dumps([item[k] for k in ("customerId", "orderId", "sk") if k in item])
                first = aggregates.get(key, write)["Put"]
                aggregates[key] = {"Put": {**first, "Item": item}}
        failed = transact([*outbox, *aggregates.values()])
        if not failed:
            return
        duplicates = [change[0] for change, known in zip(changes, failed, strict=False) if known]
        if not duplicates:
            raise wire.ConflictError
        for event_id in duplicates:
            del pending[event_id]


def _load(table: str, keys: list[Item]) -> list[Item]:
    unique = list({json.dumps(key): key for key in keys}.values())
    request = {table: {"Keys": unique, "ConsistentRead": True}}
    found: list[Item] = []
    while request:
        got = dynamodb.batch_get_item(RequestItems=request)
        found += got["Responses"].get(table, [])
        request = got.get("UnprocessedKeys") or {}
    return found


def _reserve(messages: list[Item]) -> list[tuple[str, Item, list[Item]]]:
    table, outbox = os.environ["CUSTOMERS_TABLE"], os.environ["CUSTOMERS_OUTBOX_TABLE"]
    wanted = [message["detail"]["data"] for message in messages]
    keys = [
        {"customerId": {"N": str(order["customerId"])}, "sk": {"S": "CUSTOMER"}} for order in wanted
    ]
    customers = {item["customerId"]["N"]: item for item in _load(table, keys)}
    changes = []
    for message, order in zip(messages, wanted, strict=True):
        customer_id, sk = str(order["customerId"]), f"RESERVATION#{order['orderId']}"
        customer = customers.get(customer_id)
        version = int(customer["version"]["N"]) if customer else 0
        data = {"customerId": order["customerId"], "orderId": order["orderId"]}
        writes: list[Item] = []
        if customer is None:
            kind = "CustomerValidationFailed"
        elif (left := int(customer["availableCents"]["N"]) - order["orderTotalCents"]) < 0:
            kind = "CustomerCreditReservationFailed"
            data["availableCreditCents"] = int(customer["availableCents"]["N"])
        else:
            kind = "CustomerCreditReserved"
            data["availableCreditCents"] = left
            changed = {"availableCents": {"N": str(left)}, "version": {"N": str(version + 1)}}
            customers[customer_id] = after = customer | changed
            reserved = {"N": str(order["orderTotalCents"])}
            reservation = {
                "customerId": {"N": customer_id},
                "sk": {"S": sk},
                "reservedCents": reserved,
            }
            writes = [
                wire.put(table, after, "version = :version", version=version),
                wire.put(table, reservation, "attribute_not_exists(sk)"),
            ]
            version += 1
        cause = message["detail"]["metadata"]
        event = wire.envelope("Customer", order["customerId"], version, data, cause)
        put = wire.outbox_put(outbox, "customers", kind, event)
        changes.append((cause["eventId"], put, writes))
    return changes


def _decide_orders(messages: list[Item]) -> list[tuple[str, Item, list[Item]]]:
    table, outbox = os.environ["ORDERS_TABLE"], os.environ["ORDERS_OUTBOX_TABLE"]
    keys = [{"orderId": {"N": str(m["detail"]["data"]["orderId"])}} for m in messages]
    items = {item["orderId"]["N"]: item for item in _load(table, keys)}
    changes = []
    for message in messages:
        order = items[str(message["detail"]["data"]["orderId"])]
        if order["state"]["S"] != "PENDING":
            continue
        state = "APPROVED" if message["detail-type"] == "CustomerCreditReserved" else "REJECTED"
        data = decided(order, state)
        after = wire.order_item(data, 2)
        items[order["orderId"]["N"]] = after
        cause = message["detail"]["metadata"]
        event = wire.envelope("Order", data["orderId"], 2, data, cause)
        put = wire.outbox_put(outbox, "orders", f"Order{state.capitalize()}", event)
        write = wire.put(table, after, "version = :version", version=1)
        changes.append((cause["eventId"], put, [write]))
    return changes
