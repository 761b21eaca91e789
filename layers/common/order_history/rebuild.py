"""Rebuilding the view from the outboxes, while the system runs.

The outboxes are the log of all that was ever published. They are read in parts, a segment of one table each,
and every event goes through the projection once more; its version guards let newer news stand, whichever of
the two comes first. So nothing has to be stopped, and a part that is read twice changes nothing.

How far each part has come is kept in the view itself: whoever goes on needs nothing else, and should the view
be lost meanwhile, so is that, and the rebuild starts from the beginning.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import boto3
from aws_lambda_powertools import Logger

from messaging.domain_event import EventDecoder, InvalidEventError
from order_history.projection import EVENTS, project
from order_history.view import Document, OrderHistoryView

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = Logger(child=True)

_PAGE = 1000
"""Items per Scan, which also ends at a megabyte."""
_CHUNK = 100
"""Items between two looks at the clock, at most."""
_PROJECTED_TYPES = {event_class.__name__ for event_class in EVENTS}

Item = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One segment of one outbox, and how far it was read."""

    name: str
    outbox: str
    segment: int
    segments: int
    cursor: str = ""
    """Key of the last item that was read, in DynamoDB's JSON; empty before the first."""
    read: int = 0
    projected: int = 0
    unreadable: int = 0
    """Items that hold no event as its class declares it."""
    state: str = "open"
    """`done` when the segment was read to its end."""

    @classmethod
    def of(cls, document: Document) -> Self:
        fields = {name: value for name, value in document.items() if name != "_id"}
        return cls(name=document["_id"], **fields)

    def to_document(self) -> Document:
        """What is kept of it, and what is answered."""
        fields = asdict(self)
        return {"_id": fields.pop("name"), **fields}


class Rebuild:
    """Reads the tables in `outboxes` (by the name of the service) into the view."""

    def __init__(self, view: OrderHistoryView, outboxes: Mapping[str, str]) -> None:
        self._view = view
        self._outboxes = outboxes
        self._decoder = EventDecoder(EVENTS)

    def begin(self, segments: int) -> None:
        """Nothing was read yet, of `segments` parts of each outbox. The view is as it was."""
        self.end()
        self._view.ensure_indexes(once=False)  # somebody may have dropped the database
        for outbox in self._outboxes:
            for segment in range(segments):
                part = Part(f"{outbox} {segment + 1}/{segments}", outbox, segment, segments)
                self._view.rebuilding.insert_one(part.to_document())

    def end(self) -> None:
        """Nothing is left of a rebuild, but what it has made."""
        self._view.rebuilding.drop()

    def parts(self) -> list[Part]:
        """The parts of the rebuild that was begun; none if none was, or if the view was lost since."""
        return sorted((Part.of(d) for d in self._view.rebuilding.find()), key=lambda p: p.name)

    def advance(self, name: str, seconds: float, limit_seconds: float) -> None:
        """The view has some more of what the part holds. Nothing happens if there is no such part.

        After `seconds` no other page is begun; `limit_seconds` end within a page, the rest of which is read
        once more the next time. How far it has come is saved after each page, and at the end.
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
        for chunk in _chunks(items):
            # From version to version each write finds an older one, and needs no second try: a third less of them.
            for item in sorted(chunk, key=_version):
                outcome = self._project(item)
                projected += outcome is True
                unreadable += outcome is False
            read += len(chunk)
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

    def _scan(self, part: Part) -> tuple[list[Item], Item | None]:
        """The page behind the part's cursor, and the key to go on from."""
        start: Any = {"ExclusiveStartKey": json.loads(part.cursor)} if part.cursor else {}
        page = self._dynamodb.scan(
            TableName=self._outboxes[part.outbox],
            Segment=part.segment,
            TotalSegments=part.segments,
            Limit=_PAGE,
            # What was written before the view was dropped must not be overlooked: nobody projects it again.
            ConsistentRead=True,
            ProjectionExpression="aggregateId, eventId, aggregateVersion, #source, eventType, detail",
            ExpressionAttributeNames={"#source": "source"},
            **start,
        )
        return page["Items"], page.get("LastEvaluatedKey")

    def _project(self, item: Item) -> bool | None:
        """Whether the item's event is in the view now; None if it has no place there."""
        event_type = item.get("eventType", {}).get("S")
        if event_type not in _PROJECTED_TYPES:
            return None
        try:
            detail = json.loads(item["detail"]["S"])
            envelope = self._decoder.decode(item["source"]["S"], event_type, detail)
        except (InvalidEventError, KeyError, ValueError, RecursionError) as error:
            logger.warning(
                "unreadable item passed over", extra={"reason": str(error), "key": _key(item)}
            )
            return False
        project(envelope, self._view)
        return True

    def _save(self, part: Part) -> None:
        # No upsert: if the view was dropped meanwhile, the part is to stay lost.
        fields = part.to_document()
        self._view.rebuilding.update_one({"_id": fields.pop("_id")}, {"$set": fields})

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return boto3.client("dynamodb")


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in the order of the table, in which those of one aggregate lie together; each chunk is of one."""
    for _, of_one in groupby(items, key=lambda item: item["aggregateId"]["S"]):
        rest = list(of_one)
        while rest:
            yield rest[:_CHUNK]
            rest = rest[_CHUNK:]


def _version(item: Item) -> int:
    return int(item.get("aggregateVersion", {}).get("N", 0))


def _key(item: Item) -> Item:
    return {name: item[name] for name in ("aggregateId", "eventId")}
