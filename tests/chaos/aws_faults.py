"""What AWS does to its callers on a bad day, as effects of faults in the proxy."""

from __future__ import annotations

import asyncio
import copy
import random
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.chaos.aws_proxy import Effect, Forward
from tests.chaos.http import Request, Response
from tests.chaos.workers import Workers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient

# Longer than any function may take.
FOREVER_SECONDS = 60.0
dice = random.Random(2026)


def answered_with(status: int, code: str) -> Effect:
    """The request is refused, and does nothing."""

    async def effect(_request: Request, _forward: Forward) -> Response:
        return Response.error(status, code)

    return effect


def cancelled_for(reason: str) -> Effect:
    """The transaction is cancelled, for the reason given with one of its items, and writes nothing.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """

    async def effect(request: Request, _forward: Forward) -> Response:
        items = len(request.json["TransactItems"])
        culprit = dice.randrange(items)
        reasons = [{"Code": reason if item == culprit else "None"} for item in range(items)]
        return Response.error(400, "TransactionCanceledException", CancellationReasons=reasons)

    return effect


async def answer_lost(request: Request, forward: Forward) -> None:
    """The request does what it should, and nobody is told."""
    await forward(request)


async def answer_never_sent(_request: Request, _forward: Forward) -> None:
    """The request does nothing, and whoever made it waits for as long as they can."""
    await asyncio.sleep(FOREVER_SECONDS)


async def request_lost(_request: Request, _forward: Forward) -> None:
    """The connection breaks before the request has done anything."""


def some_keys_unprocessed(dynamodb: DynamoDBClient) -> Effect:
    """BatchGetItem gives one of the items, and asks to be asked for the rest again."""

    async def effect(request: Request, _forward: Forward) -> Response:
        ((table, wanted),) = request.json["RequestItems"].items()
        keys = dice.sample(wanted["Keys"], len(wanted["Keys"]))
        first: Any = {table: {**wanted, "Keys": keys[:1]}}
        answer = await asyncio.to_thread(dynamodb.batch_get_item, RequestItems=first)
        rest = {table: {**wanted, "Keys": keys[1:]}} if keys[1:] else {}
        return Response.ok({"Responses": answer["Responses"], "UnprocessedKeys": rest})

    return effect


def slow(seconds: float) -> Effect:
    """The request is carried out, and up to twice so late."""

    async def effect(request: Request, forward: Forward) -> Response:
        await asyncio.sleep(seconds * dice.uniform(0.5, 2))
        return await forward(request)

    return effect


def some_entries_refused(events: EventBridgeClient) -> Effect:
    """The bus takes some of the entries, at most all but one, and refuses the rest."""

    async def effect(request: Request, _forward: Forward) -> Response:
        entries = request.json["Entries"]
        refused = set(dice.sample(range(len(entries)), dice.randint(1, len(entries))))
        taken = [entry for position, entry in enumerate(entries) if position not in refused]
        if taken:  # by a client of ours, because what is changed has to be signed anew
            await asyncio.to_thread(events.put_events, Entries=taken)
        refusal = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
        return Response.ok(
            {
                "FailedEntryCount": len(refused),
                "Entries": [refusal if p in refused else _taken() for p in range(len(entries))],
            }
        )

    return effect


class SpoiledEvents:
    """A transaction is done, but for the event in it, to the detail of which something was done."""

    def __init__(self, dynamodb: DynamoDBClient, spoil: Callable[[str], str]) -> None:
        self._dynamodb = dynamodb
        self._spoil = spoil
        self.originals: list[Any] = []
        """The outbox items as they should have been written, with their tables: `{TableName, Item}`."""

    async def write(self, request: Request, _forward: Forward) -> Response:
        """The answer to TransactWriteItems."""
        originals = copy.deepcopy(request.json["TransactItems"])
        spoiled = copy.deepcopy(originals)
        for original, item in zip(originals, spoiled, strict=True):
            detail = item.get("Put", {}).get("Item", {}).get("detail")
            if detail is not None:
                detail["S"] = self._spoil(detail["S"])
                put = original["Put"]
                self.originals.append({"TableName": put["TableName"], "Item": put["Item"]})
        await asyncio.to_thread(self._dynamodb.transact_write_items, TransactItems=spoiled)
        return Response.ok({})


def worker_killed(workers: Workers, function: str) -> Effect:
    """The request does what it should; the function's processes are killed before they are told."""

    async def effect(request: Request, forward: Forward) -> None:
        await forward(request)
        await asyncio.to_thread(workers.kill, function)

    return effect


class UnorderedBus:
    """Takes events at once, and delivers them late, in reverse order and twice: as a bus may."""

    def __init__(self, events: EventBridgeClient, late_seconds: float) -> None:
        self._events = events
        self._late_seconds = late_seconds
        self._kept: list[Any] = []
        self._delivery: asyncio.Task[None] | None = None

    async def take(self, request: Request, _forward: Forward) -> Response:
        """The answer to PutEvents, whose events are not delivered yet."""
        entries = request.json["Entries"]
        self._kept += entries
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.create_task(self._deliver())
        return Response.ok({"FailedEntryCount": 0, "Entries": [_taken() for _ in entries]})

    def has_delivered_all(self) -> bool:
        """Whether nothing is kept back."""
        return self._delivery is None or self._delivery.done()

    async def _deliver(self) -> None:
        while self._kept:
            await asyncio.sleep(self._late_seconds)
            late, self._kept = self._kept[::-1], []
            for entry in late + late:
                await asyncio.to_thread(self._events.put_events, Entries=[entry])


def _taken() -> dict[str, str]:
    return {"EventId": str(uuid.uuid4())}
