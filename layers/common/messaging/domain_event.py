"""Domain events, what is known about each (its metadata), and both to and from JSON."""

from __future__ import annotations

import json
import re
import typing
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, ClassVar

from shared.clock import format_instant, now, parse_instant
from shared.money import Money

SCHEMA_VERSION = 1
T = typing.TypeVar("T")
_EVENT_ID_NAMESPACE = uuid.UUID("c5b6d2a0-6a0e-5d0c-9c60-0b6f6e2f6a10")


class InvalidEventError(Exception):
    """A message is no event that this system publishes. It can never be handled; the text says why."""


@dataclass(frozen=True, kw_only=True)
class DomainEvent:
    """A fact in the past tense. A subclass declares its facts as fields.

    Fields may be `int`, `str`, `datetime`, `Money`, a `StrEnum`, or one of these `| None`.
    """

    source: ClassVar[str]
    """EventBridge's `source`: the service that publishes the event."""
    aggregate_type: ClassVar[str]

    @property
    def aggregate_id(self) -> int:
        raise NotImplementedError


@dataclass(frozen=True)
class Cause:
    """Why an event happens: the API request at the start of it all, and the event being handled, if any."""

    correlation_id: str
    event_id: str | None = None

    def effect_id(self, source: str) -> str:
        """The id of the event that `source` publishes because of this.

        In answer to an event there is exactly one such id, so a redelivered message tries to write
        the same outbox item a second time, and cannot. The type of the answer is no part of it: an
        order refused for lack of credit must not be decided anew when it is delivered again later.
        """
        if self.event_id is None:
            return str(uuid.uuid4())
        return str(uuid.uuid5(_EVENT_ID_NAMESPACE, f"{self.event_id}/{source}"))


@dataclass(frozen=True, kw_only=True)
class EventMetadata:
    """What is true of every event, whatever its facts."""

    event_id: str
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    """1, 2, 3, ... for each change of the aggregate. An event that tells of a refusal changes nothing
    and carries the version it was decided on; 0 if there is no such aggregate."""
    occurred_at: datetime
    correlation_id: str
    causation_id: str | None
    """Id of the event in answer to which this one was published; None for an API request."""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class DomainEventEnvelope:
    """An event with its metadata.

    Source: Eventuate Tram, io.eventuate.tram.events.subscriber.DomainEventEnvelope.
    """

    metadata: EventMetadata
    event: DomainEvent

    @classmethod
    def wrap(cls, event: DomainEvent, aggregate_version: int, cause: Cause) -> DomainEventEnvelope:
        """`event` as it is published now, because of `cause`."""
        metadata = EventMetadata(
            event_id=cause.effect_id(event.source),
            aggregate_type=event.aggregate_type,
            aggregate_id=str(event.aggregate_id),
            aggregate_version=aggregate_version,
            occurred_at=now(),
            correlation_id=cause.correlation_id,
            causation_id=cause.event_id,
        )
        return cls(metadata, event)

    @property
    def event_type(self) -> str:
        """EventBridge's `detail-type`."""
        return type(self.event).__name__

    @property
    def cause_of_effects(self) -> Cause:
        """The cause of whatever is published in answer to this event."""
        return Cause(self.metadata.correlation_id, self.metadata.event_id)

    def to_detail(self) -> str:
        """EventBridge's `detail`, as JSON: `{"metadata": {...}, "data": {...}}`."""
        detail = {"metadata": _to_json(self.metadata), "data": _to_json(self.event)}
        return json.dumps(detail, separators=(",", ":"))


class EventDecoder:
    """Decodes the events of the given classes, and no others."""

    def __init__(self, event_classes: Iterable[type[DomainEvent]]) -> None:
        self._classes = {(c.source, c.__name__): c for c in event_classes}

    def decode(self, source: object, detail_type: object, detail: object) -> DomainEventEnvelope:
        """The event in an EventBridge message's `source`, `detail-type` and `detail`.

        Fields that are not known are passed over: a publisher may add some within a schema version.

        Raises: InvalidEventError if it is none of the event classes, or not as they declare it.
        """
        event_class = self._classes.get((str(source), str(detail_type)))
        if event_class is None:
            raise InvalidEventError(f"unknown event: {source!r:.80}, {detail_type!r:.80}")
        metadata = decode_metadata(detail)
        assert isinstance(detail, Mapping)
        event = _from_json(event_class, detail.get("data"))
        if metadata.aggregate_id != str(event.aggregate_id):
            raise InvalidEventError("metadata.aggregateId is not the aggregate that data names")
        return DomainEventEnvelope(metadata, event)


def decode_metadata(detail: object) -> EventMetadata:
    """The metadata in an event's `detail`.

    Raises: InvalidEventError if there is none, or of a schema version that is not known.
    """
    if not isinstance(detail, Mapping):
        raise InvalidEventError("detail is no object")
    metadata = _from_json(EventMetadata, detail.get("metadata"))
    if metadata.schema_version != SCHEMA_VERSION:
        raise InvalidEventError(f"unknown schema version {metadata.schema_version}")
    return metadata


@dataclass(frozen=True)
class _Field:
    name: str
    json_name: str
    type: type
    optional: bool


@cache
def _fields(cls: type) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(cls)
    described = []
    for field in fields(cls):
        types = [t for t in typing.get_args(hints[field.name]) if t is not NoneType]
        optional = bool(types)
        field_type = types[0] if optional else hints[field.name]
        json_name = re.sub(r"_([a-z])", lambda m: m[1].upper(), field.name)
        if field_type is Money:
            json_name += "Cents"
        described.append(_Field(field.name, json_name, field_type, optional))
    return tuple(described)


def _to_json(instance: Any) -> dict[str, Any]:
    return {f.json_name: _encode(getattr(instance, f.name)) for f in _fields(type(instance))}  # type: ignore[arg-type]


def _encode(value: Any) -> Any:
    match value:
        case Money():
            return value.cents
        case datetime():
            return format_instant(value)
        case _:  # numbers, strings (a StrEnum is one) and None are JSON already
            return value


def _from_json(cls: type[T], data: object) -> T:
    if not isinstance(data, Mapping):
        raise InvalidEventError(f"{cls.__name__}: no object")
    values: dict[str, Any] = {}
    for field in _fields(cls):  # type: ignore[arg-type]
        value = data.get(field.json_name)
        if value is None and field.optional:
            values[field.name] = None
            continue
        try:
            values[field.name] = _decode(field.type, value)
        except (TypeError, ValueError) as error:
            # What the value is stays out of it: the reason is logged, and a value may be anybody's name.
            text = f"{cls.__name__}.{field.json_name}: no {field.type.__name__}"
            raise InvalidEventError(text) from error
    return cls(**values)


def _decode(expected: type, value: object) -> Any:
    if expected is Money:
        return Money(_decode(int, value))
    if expected is datetime:
        return parse_instant(_decode(str, value))
    if issubclass(expected, StrEnum):
        return expected(_decode(str, value))
    if type(value) is not expected:  # not isinstance: True is an int
        raise TypeError(f"{type(value).__name__} is no {expected.__name__}")
    return value
