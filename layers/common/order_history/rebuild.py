"""Rebuild of the view from the outboxes, while the system runs.

The outboxes are the log of all published events, as far as they have not expired. They are read in parts, a segment of one table each, and every event
is projected again. The projection converges for any order of events, so nothing has to be stopped, and reading a part
twice changes nothing.

The progress is kept in the view itself. If the view is lost during a rebuild, the progress is lost with it, and the
rebuild starts from the beginning.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import boto3
from aws_lambda_powertools import Logger

from messaging.envelope import EventDecoder, InvalidEventError
from order_history.connection import Document
from order_history.projection import EVENTS, Projected
from order_history.view import OrderHistoryView
from shared.clock import now

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = Logger(child=True)

PAGE = 1000
"""Items per Scan, which also ends after 1 MB."""
CHUNK = 500
"""Items that are projected together."""

Item = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One segment of one outbox, and the progress of reading it."""

    name: str
    outbox: str
    segment: int
    segments: int
    cursor: str = ""
    """Key of the last item that was read, in DynamoDB's JSON; empty before the first."""
    read: int = 0
    projected: int = 0
    unreadable: int = 0
    """Items that are not valid events."""
    state: str = "open"
    """`done` when the whole segment was read."""

    @classmethod
    def of(cls, document: Document) -> Self:
        """Create a part from its document in the view."""
        fields = {name: value for name, value in document.items() if name != "_id"}
        return cls(name=document["_id"], **fields)

    def to_document(self) -> Document:
        """Return the part as a document."""
        fields = asdict(self)
        return {"_id": fields.pop("name"), **fields}


class Rebuild:
    """Projects the events of the tables in `outboxes` (by the name of the service) to the view."""

    def __init__(self, view: OrderHistoryView, outboxes: Mapping[str, str]) -> None:
        self._view = view
        self._outboxes = outboxes
        self._decoder = EventDecoder(EVENTS)

    def begin(self, segments: int) -> None:
        """Start a rebuild with `segments` parts per outbox. The view keeps its documents."""
        self.end()
        self._view.ensure_indexes()  # the database may have been dropped
        for outbox in self._outboxes:
            for segment in range(segments):
                part = Part(f"{outbox} {segment + 1}/{segments}", outbox, segment, segments)
                self._view.rebuilding.insert_one(part.to_document())

    def end(self) -> None:
        """Delete the progress of the rebuild. The view keeps its documents."""
        self._view.rebuilding.drop()

    def parts(self) -> list[Part]:
        """Return the parts of the current rebuild; none if none was started, or if the view was lost since."""
        return sorted((Part.of(d) for d in self._view.rebuilding.find()), key=lambda p: p.name)

    def advance(self, name: str, seconds: float, limit_seconds: float) -> None:
        """Read more of a part and save the progress after each page. Do nothing if the part does not exist.

        After `seconds` no further page is started. After `limit_seconds` a page is left, and continued next time.
        """
        started = time.monotonic()
        part = next((p for p in self.parts() if p.name == name), None)
        while part is not None and part.state == "open":
            part = self._read_page(part, started + limit_seconds)
            self._save(part)
            if time.monotonic() > started + min(seconds, limit_seconds):
                return

    def _read_page(self, part: Part, deadline: float) -> Part:
        items, last_key = self._scan(part)
        read = projected = unreadable = 0
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            events = [event for item in chunk if (event := self._decode(item)) is not None]
            if events:
                self._view.project(events)
            read += len(chunk)
            projected += len(events)
            unreadable += len(chunk) - len(events)
            if time.monotonic() > deadline and read < len(items):
                last_key = _key(chunk[-1])
                break
        return replace(
            part,
            cursor=json.dumps(last_key) if last_key else "",
            read=part.read + read,
            projected=part.projected + projected,
            unreadable=part.unreadable + unreadable,
            state="open" if last_key else "done",
        )

    def _scan(self, part: Part) -> tuple[Sequence[Item], Item | None]:
        """Return the page after the part's cursor, and the key to continue from."""
        start: Any = {"ExclusiveStartKey": json.loads(part.cursor)} if part.cursor else {}
        page = self._dynamodb.scan(
            TableName=self._outboxes[part.outbox],
            Segment=part.segment,
            TotalSegments=part.segments,
            Limit=PAGE,
            # An event that was written before the view was dropped must be read: it is not projected again otherwise.
            ConsistentRead=True,
            ProjectionExpression="aggregateId, eventId, #source, eventType, detail",
            ExpressionAttributeNames={"#source": "source"},
            **start,
        )
        return page["Items"], page.get("LastEvaluatedKey")

    def _decode(self, item: Item) -> Projected | None:
        """Decode an outbox item. Return None, and log the reason, if it is unreadable."""
        try:
            detail = json.loads(item["detail"]["S"])
            source, event_type = item["source"]["S"], item["eventType"]["S"]
            return Projected(self._decoder.decode(source, event_type, detail), now())
        except (InvalidEventError, KeyError, TypeError, ValueError, RecursionError) as error:
            logger.warning(
                "outbox item unreadable", extra={"reason": str(error), "key": _key(item)}
            )
            return None

    def _save(self, part: Part) -> None:
        # Not an upsert: if the view was dropped meanwhile, the part must stay lost.
        fields = part.to_document()
        self._view.rebuilding.update_one({"_id": fields.pop("_id")}, {"$set": fields})

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return boto3.client("dynamodb")


def _key(item: Item) -> Item:
    return {name: item[name] for name in ("aggregateId", "eventId")}
