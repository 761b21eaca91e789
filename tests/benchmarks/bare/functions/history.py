"""The last hop of the bare pipeline: it hears of every event, and writes to MongoDB once per order."""

from __future__ import annotations

import json
import os
from typing import Any

from pymongo import MongoClient

client: MongoClient[dict[str, Any]] = MongoClient(os.environ["MONGODB_URI"], maxPoolSize=2)
collection = client.get_database("bare")["orders"]


def project(batch: dict[str, Any], _context: Any) -> None:
    print("history", len(batch["Records"]))
    for record in batch["Records"]:
        message = json.loads(record["body"])
        if message["source"] != "decided":
            continue
        order_id = message["detail"]["orderId"]
        collection.update_one({"_id": order_id}, {"$set": {"state": "APPROVED"}}, upsert=True)


def get_order(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    print("history get")
    found = collection.find_one({"_id": event["pathParameters"]["orderId"]})
    return {"statusCode": 200 if found else 404, "body": json.dumps(found or {})}
