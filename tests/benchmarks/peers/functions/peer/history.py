"""The view of the peers: the documents of Customers and Orders, at most two bulk writes per batch, version guards.

It has the same sort keys and indexes of orders. It lacks the words of customers' names, and erasure.
"""

from __future__ import annotations

import json
import os
import time
from functools import cache
from typing import Any

from pymongo import MongoClient, UpdateOne
from pymongo.errors import BulkWriteError

from . import wire
from .wire import Item

client: MongoClient[Item] = MongoClient(os.environ["MONGODB_URI"], maxPoolSize=2)
database = client.get_default_database()
DUPLICATE_KEY = 11000
MAX_ID = 2**63 - 1


def project(batch: Item, _context: Any) -> Item:
    """Apply a batch of events. Return Lambda's partial batch response."""
    changes: dict[tuple[str, int], list[Any]] = {}
    events = []
    _ensure_indexes()
    for record in batch["Records"]:
        message = json.loads(record["body"])
        events.append(wire.log_keys(message))
        for key, version, latest, facts in _changes(message):
            known = changes.setdefault(key, [0, {}, {}])
            known[2] |= facts
            if version > known[0]:
                known[:2] = [version, latest]
    failed = []
    try:
        for name in {collection for collection, _ in changes}:
            _write(name, {k[1]: c for k, c in changes.items() if k[0] == name})
    except Exception as error:  # noqa: BLE001, all writes of a batch are repeated together
        print(
            json.dumps({"level": "ERROR", "message": "event handler failed", "error": str(error)})
        )
        failed = [{"itemIdentifier": record["messageId"]} for record in batch["Records"]]
    wire.log("batch handled", events=events)
    return {"batchItemFailures": failed}


@cache
def _ensure_indexes() -> None:
    for name in ("customerKey", "stateKey", "totalKey", "stateOrderKey"):
        database["orders"].create_index(name)


def _changes(message: Item) -> list[tuple[tuple[str, int], int, Item, Item]]:
    """Return for each document: its key, the version that guards the latest fields, these, and the facts."""
    data, metadata = message["detail"]["data"], message["detail"]["metadata"]
    version, customer = metadata["aggregateVersion"], ("customers", data["customerId"])
    if message["detail-type"] == "CustomerCreated":
        facts = {"name": data["name"], "creditLimitCents": data["creditLimitCents"]}
        return [(customer, version, {"availableCreditCents": data["creditLimitCents"]}, facts)]
    order = ("orders", data["orderId"])
    event = {"type": message["detail-type"], **metadata}
    path = f"events.{metadata['eventId']}"
    kept = {f"{path}.event": event, f"{path}.deliveries.{round(time.time() * 1000)}": 1}
    if "state" not in data:
        credit = {"availableCreditCents": data.get("availableCreditCents")}
        return [(order, 0, {}, kept), (customer, version, credit, {})]
    path = f"orders.{data['orderId']}"
    customer_key, order_key = f"{data['customerId']:019}", f"{data['orderId']:019}"
    facts = {
        "customerId": data["customerId"],
        "customerKey": f"{customer_key}#{order_key}",
        "orderTotalCents": data["orderTotalCents"],
        "totalKey": f"${data['orderTotalCents']:014}#{MAX_ID - data['orderId']:019}",
        "createdAt": data["createdAt"],
        f"timeline.{version}": {"state": data["state"], "at": metadata["occurredAt"]},
    }
    recent = {
        f"{path}.orderTotalCents": data["orderTotalCents"],
        f"{path}.createdAt": data["createdAt"],
        f"{path}.states.{version}": data["state"],
    }
    latest = {
        "state": data["state"],
        "stateKey": f"{customer_key}#{data['state']}#{order_key}",
        "stateOrderKey": f"{data['state']}#{MAX_ID - data['orderId']:019}",
        "rejectionReason": data["rejectionReason"],
    }
    return [(order, version, latest, facts | kept), (customer, 0, {}, recent)]


def _write(collection: str, changes: dict[int, list[Any]]) -> None:
    upserts, repeated = [], []
    for key, (version, latest, facts) in changes.items():
        if version:
            older = {"_id": key, "version": {"$lt": version}}
            upserts.append(
                UpdateOne(older, {"$set": {**facts, **latest, "version": version}}, True)
            )
        else:
            first = {"$set": facts, "$setOnInsert": {"version": 0}}
            upserts.append(UpdateOne({"_id": key}, first, upsert=True))
    try:
        database[collection].bulk_write(upserts, ordered=False)
    except BulkWriteError as error:
        failed = error.details["writeErrors"]
        if any(found["code"] != DUPLICATE_KEY for found in failed):
            raise
        for key, (version, latest, facts) in (list(changes.items())[f["index"]] for f in failed):
            older = {"_id": key, "version": {"$lt": version}}
            fields = {**facts, **latest, "version": version}
            repeated.append(UpdateOne(older, {"$set": fields}))
            if facts:
                repeated.append(UpdateOne({"_id": key}, {"$set": facts}))
        database[collection].bulk_write(repeated, ordered=False)


def get_order(event: Item, _context: Any) -> Item:
    """Answer with one order of the view."""
    order_id = int(event["pathParameters"]["orderId"])
    found = database["orders"].find_one({"_id": order_id})
    if found is None:
        return wire.answer(event, 404, {"title": "Not Found", "status": 404})
    body = {
        name: found.get(name) for name in ("customerId", "orderTotalCents", "state", "createdAt")
    }
    return wire.answer(event, 200, {"orderId": order_id, **body, "timeline": found["timeline"]})
