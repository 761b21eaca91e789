"""An outbox's relay, told to publish something once more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from infra.ops.dead_letters.letter import DeadLetter, Json
from infra.ops.target import OperateError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient

# Lambda says when records came to the stream; what they tell of happened a little before.
TOLERANCE = timedelta(seconds=60)
RECORDS_PER_INVOCATION = 10


class RelayError(OperateError):
    """A letter's events are not on the bus."""


@dataclass(frozen=True)
class Relay:
    """The relay function, and the outbox table whose events it publishes."""

    function: str
    outbox: str
    functions: LambdaClient
    dynamodb: DynamoDBClient

    @classmethod
    def with_dead_letters_in(
        cls, queue_arn: str, functions: LambdaClient, dynamodb: DynamoDBClient
    ) -> Self:
        """The function whose stream's records are sent to the queue when all else has failed.

        Raises: RelayError if there is none.
        """
        for page in functions.get_paginator("list_event_source_mappings").paginate():
            for mapping in page["EventSourceMappings"]:
                on_failure = mapping.get("DestinationConfig", {}).get("OnFailure", {})
                if on_failure.get("Destination") == queue_arn:
                    outbox = mapping["EventSourceArn"].split(":table/")[1].split("/")[0]
                    return cls(mapping["FunctionArn"], outbox, functions, dynamodb)
        raise RelayError(f"No function has its dead letters in {queue_arn}.")

    def publish(self, letter: DeadLetter) -> None:
        """The relay has done with the letter's records what it does with all. What it parks is a new letter.

        Raises: RelayError if it has failed, or if the letter is not about records.
        """
        self._publish(list(self._records(letter.body)))

    def publish_item(self, item: Any) -> None:
        """The event in an item of the outbox is on the bus, once more.

        Raises: RelayError if the relay has failed.
        """
        self._publish([_record(item)])

    def _publish(self, records: list[Json]) -> None:
        for start in range(0, len(records), RECORDS_PER_INVOCATION):
            payload = json.dumps({"Records": records[start : start + RECORDS_PER_INVOCATION]})
            answer = self.functions.invoke(FunctionName=self.function, Payload=payload)
            if "FunctionError" in answer:
                raise RelayError(answer["Payload"].read().decode())

    def _records(self, body: Json) -> Iterator[Json]:
        """The records that the letter is about, with the items as the outbox has them now.

        The relay parks a record, or its keys if it is large. Lambda says of a batch only when it came
        to the stream, which is forgotten by then: all events of that time are published again.
        """
        if batch := body.get("DDBStreamBatchInfo"):
            first = _instant(batch["approximateArrivalOfFirstRecord"]) - TOLERANCE
            last = _instant(batch["approximateArrivalOfLastRecord"]) + TOLERANCE
            yield from map(_record, self._items_between(first, last))
            return
        parked = body.get("dynamodb", {})
        if "Keys" not in parked:
            raise RelayError("It is neither a stream's record nor what Lambda says of some.")
        item = self._item(parked["Keys"]) or parked.get("NewImage")
        if item is None:
            raise RelayError(f"{self.outbox} has no such item any more.")
        yield _record(item)

    def _item(self, keys: Any) -> Any:
        answer = self.dynamodb.get_item(TableName=self.outbox, Key=keys, ConsistentRead=True)
        return answer.get("Item")

    def _items_between(self, first: datetime, last: datetime) -> Iterator[Any]:
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.outbox,
            FilterExpression="occurredAt BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":first": {"S": first.isoformat(timespec="milliseconds")},
                ":last": {"S": last.isoformat(timespec="milliseconds")},
            },
        )
        for page in pages:
            yield from page["Items"]


def _record(item: Any) -> Json:
    keys = {name: item[name] for name in ("aggregateId", "eventId")}
    return {"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": item}}


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
