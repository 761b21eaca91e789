"""An outbox's relay function, invoked to publish events again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from infra.ops.letter import Letter
from infra.ops.target import OperateError, Target
from infra.ops.untrusted import EPOCH, Json, instant, text_at, value_at

TOLERANCE = timedelta(seconds=60)
"""Between the time in an event and the arrival of its record in the stream."""
RECORDS_PER_INVOCATION = 10


class Relay:
    """The relay of a service. Subscribers drop events that they have handled, so publishing again is safe."""

    def __init__(self, target: Target, service: str) -> None:
        self._functions = target.client("lambda")
        self._dynamodb = target.client("dynamodb")
        self._function = target.resource(f"{service}OutboxRelayFunction")
        self._outbox = target.resource(f"{service}Outbox")

    def publish(self, items: Iterable[Json]) -> None:
        """Publish the events in items of the outbox table. Raises: OperateError if the relay fails.

        An event that the relay cannot publish becomes a new dead letter.
        """
        unsent = iter(items)
        while records := [_record(item) for item in islice(unsent, RECORDS_PER_INVOCATION)]:
            answer = self._functions.invoke(
                FunctionName=self._function, Payload=json.dumps({"Records": records})
            )
            if "FunctionError" in answer:
                raise OperateError(f"{self._function} fails: {answer['Payload'].read().decode()}")

    def redrive(self, letter: Letter) -> str:
        """Publish the events that the letter is about, as the outbox table has them now; return an empty text.

        Raises: OperateError if the letter names no events.
        """
        body = letter.body
        if "DDBStreamBatchInfo" in body:
            # Lambda names a part of the stream, which is deleted by now: read the events of that time.
            first, last = (
                instant(text_at(body, "DDBStreamBatchInfo", f"approximateArrivalOf{end}Record"))
                for end in ("First", "Last")
            )
            if EPOCH in (first, last):
                raise OperateError("DDBStreamBatchInfo has no valid times of arrival.")
            self.publish(self._between(first - TOLERANCE, last + TOLERANCE))
        else:
            self.publish([self._item(body)])
        return ""

    def _item(self, body: Json) -> Any:
        """Return the item that the record is about: from the table, or else from the record."""
        keys = {
            name: {"S": text_at(body, "dynamodb", "Keys", name, "S")}
            for name in ("aggregateId", "eventId")
        }
        if not all(key["S"] for key in keys.values()):
            raise OperateError("The letter is neither a record of a stream nor about a batch.")
        found = self._dynamodb.get_item(TableName=self._outbox, Key=keys, ConsistentRead=True)
        item = found.get("Item") or value_at(body, "dynamodb", "NewImage")
        if not item:
            raise OperateError(f"{self._outbox} has no item with these keys.")
        return item

    def _between(self, first: datetime, last: datetime) -> Iterator[Json]:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._outbox,
            FilterExpression="occurredAt BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":first": {"S": first.isoformat(timespec="milliseconds")},
                ":last": {"S": last.isoformat(timespec="milliseconds")},
            },
        )
        for page in pages:
            yield from page["Items"]


def _record(item: Json) -> Json:
    keys = {name: item[name] for name in ("aggregateId", "eventId")}
    return {"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": item}}
