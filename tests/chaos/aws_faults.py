"""Effects of faults in AWS: errors, conflicts, lost answers, partial failures, killed functions."""

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

SILENT_SECONDS = 60.0
"""Longer than the functions' timeouts."""
dice = random.Random(2026)


def answered_with(status: int, code: str) -> Effect:
    """Refuse the request with an error."""

    async def effect(_request: Request, _forward: Forward) -> Response:
        return Response.error(status, code)

    return effect


def cancelled_for(reason: str) -> Effect:
    """Cancel the transaction with the reason at one of its items.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """

    async def effect(request: Request, _forward: Forward) -> Response:
        reasons = [{"Code": "None"} for _ in request.json["TransactItems"]]
        dice.choice(reasons)["Code"] = reason
        return Response.error(400, "TransactionCanceledException", CancellationReasons=reasons)

    return effect


async def answer_lost(request: Request, forward: Forward) -> None:
    """Perform the request, then close the connection."""
    await forward(request)


async def answer_never_sent(_request: Request, _forward: Forward) -> None:
    """Perform nothing and let the caller run into its timeout."""
    await asyncio.sleep(SILENT_SECONDS)


async def request_lost(_request: Request, _forward: Forward) -> None:
    """Perform nothing and close the connection."""


def some_keys_unprocessed(dynamodb: DynamoDBClient) -> Effect:
    """Answer BatchGetItem with one item and return the other keys as unprocessed."""

    async def effect(request: Request, _forward: Forward) -> Response:
        ((table, wanted),) = request.json["RequestItems"].items()
        keys = dice.sample(wanted["Keys"], len(wanted["Keys"]))
        first: Any = {table: {**wanted, "Keys": keys[:1]}}
        answer = await asyncio.to_thread(dynamodb.batch_get_item, RequestItems=first)
        rest = {table: {**wanted, "Keys": keys[1:]}} if keys[1:] else {}
        return Response.ok({"Responses": answer["Responses"], "UnprocessedKeys": rest})

    return effect


def slow(seconds: float) -> Effect:
    """Perform the request after half to twice the delay."""

    async def effect(request: Request, forward: Forward) -> Response:
        await asyncio.sleep(seconds * dice.uniform(0.5, 2))
        return await forward(request)

    return effect


def some_entries_refused(events: EventBridgeClient) -> Effect:
    """Publish some entries of PutEvents and refuse at least one."""

    async def effect(request: Request, _forward: Forward) -> Response:
        entries = request.json["Entries"]
        refused = set(dice.sample(range(len(entries)), dice.randint(1, len(entries))))
        accepted = [entry for position, entry in enumerate(entries) if position not in refused]
        if accepted:  # with an own client: a changed request needs another signature
            await asyncio.to_thread(events.put_events, Entries=accepted)
        refusal = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
        results = [refusal if p in refused else _accepted() for p in range(len(entries))]
        return Response.ok({"FailedEntryCount": len(refused), "Entries": results})

    return effect


class ChangedEvents:
    """Perform a transaction with changed details of its events."""

    def __init__(self, dynamodb: DynamoDBClient, change: Callable[[str], str]) -> None:
        self._dynamodb = dynamodb
        self._change = change
        self.originals: list[Any] = []
        """The outbox items without the change: `{TableName, Item}`."""

    async def write(self, request: Request, _forward: Forward) -> Response:
        items = request.json["TransactItems"]
        for item in items:
            put = item.get("Put", {})
            if "detail" in put.get("Item", {}):
                original = {name: put[name] for name in ("TableName", "Item")}
                self.originals.append(copy.deepcopy(original))
                put["Item"]["detail"]["S"] = self._change(put["Item"]["detail"]["S"])
        await asyncio.to_thread(self._dynamodb.transact_write_items, TransactItems=items)
        return Response.ok({})


def worker_killed(workers: Workers, function: str) -> Effect:
    """Perform the request, then kill the function's processes before they read the answer."""

    async def effect(request: Request, forward: Forward) -> None:
        await forward(request)
        await asyncio.to_thread(workers.kill, function)

    return effect


class UnorderedBus:
    """Accepts events at once. Publishes them late, in reverse order and twice."""

    def __init__(self, events: EventBridgeClient, late_seconds: float) -> None:
        self._events = events
        self._late_seconds = late_seconds
        self._kept: list[Any] = []
        self._delivery: asyncio.Task[None] | None = None

    async def put_events(self, request: Request, _forward: Forward) -> Response:
        entries = request.json["Entries"]
        self._kept += entries
        if self.has_delivered_all():
            self._delivery = asyncio.create_task(self._deliver())
        return Response.ok({"FailedEntryCount": 0, "Entries": [_accepted() for _ in entries]})

    def has_delivered_all(self) -> bool:
        return self._delivery is None or self._delivery.done()

    def abort(self) -> None:
        """Publish no more events. Called by another thread than the event loop's."""
        if self._delivery is not None:
            self._delivery.get_loop().call_soon_threadsafe(self._delivery.cancel)

    async def _deliver(self) -> None:
        while self._kept:
            await asyncio.sleep(self._late_seconds)
            late, self._kept = self._kept[::-1], []
            for entry in late + late:
                await asyncio.to_thread(self._events.put_events, Entries=[entry])


def _accepted() -> dict[str, str]:
    return {"EventId": str(uuid.uuid4())}
