"""The view of the peers: a document per order, and a document per customer with the orders in it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError

client: MongoClient[dict[str, Any]] = MongoClient(os.environ["MONGODB_URI"], maxPoolSize=2)
database = client.get_database("peer")


def project(batch: dict[str, Any], _context: Any) -> None:
    for record in batch["Records"]:
        order = json.loads(record["body"])["detail"]
        state = order.get("state")
        if state == "PENDING":  # must not go back behind a decision that came first
            with suppress(DuplicateKeyError):
                database["orders"].insert_one({"_id": order["orderId"], **order})
        elif state:
            key = {"_id": order["orderId"]}
            database["orders"].update_one(key, {"$set": order}, upsert=True)
        entry = {f"orders.{order['orderId']}": order}
        if state != "PENDING":
            customer = {"_id": order["customerId"]}
            database["customers"].update_one(customer, {"$set": entry}, upsert=True)
        print(json.dumps({"message": "event handled", "order_id": order["orderId"]}))
