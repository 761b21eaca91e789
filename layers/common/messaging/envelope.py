"""Event envelopes: an event with its metadata, encoded to and decoded from EventBridge's `detail`."""

from __future__ import annotations

import json
import re
import typing
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any

from messaging.domain_event import Cause, DomainEvent, Upcaster
from shared.clock import format_instant, now, parse_instant
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money

MAX_TEXT = 1000
"""Longest text in an event, in characters. Names have at most 200, ids at most 36."""

T = typing.TypeVar("T")


class InvalidEventError(Exception):
    """The message is not an event of this system. It can never be handled; the text gives the reason."""


class NewerSchemaVersionError(Exception):
    """The event was published by newer code. It must be retried: newer code will be deployed, or is beside this one."""


@dataclass(frozen=True, kw_only=True)
class EventMetadata:
    """The metadata that every event has. It has no versions: it may gain optional fields only."""

    event_id: str = field(metadata={"format": "uuid"})
    """The view uses it as a part of a document's path, so it must not be any text."""
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int = field(metadata={"minimum": 0})
    """1, 2, 3, ... for each change of the aggregate. A refusal changes nothing: it carries the version
    on which it was decided, or 0 if the aggregate does not exist."""
    occurred_at: datetime
    correlation_id: str
    causation_id: str | None
    """Id of the event that was handled when this one was published; None for an API request."""
    schema_version: int
    """Version of the event's data. A decoded event has the version of its class."""


def log_keys(
    event_type: str, metadata: EventMetadata, customer_id: object, order_id: object
) -> dict[str, Any]:
    """Return an event's ids for log lines. Names and amounts do not belong in a log.

    An event of an order has no customer's id: log data costs as much as the invocations.
    """
    ids = {} if metadata.aggregate_type == "Order" else {"customer_id": customer_id}
    ids["order_id"] = order_id
    return {
        "event_type": event_type,
        "event_id": metadata.event_id,
        "correlation_id": metadata.correlation_id,
        **{name: value for name, value in ids.items() if isinstance(value, int)},
    }


@dataclass(frozen=True)
class DomainEventEnvelope:
    """An event with its metadata.

    Source: Eventuate Tram, io.eventuate.tram.events.subscriber.DomainEventEnvelope.
    """

    metadata: EventMetadata
    event: DomainEvent

    @classmethod
    def wrap(cls, event: DomainEvent, aggregate_version: int, cause: Cause) -> DomainEventEnvelope:
        """Wrap an event that is published now because of `cause`."""
        metadata = EventMetadata(
            event_id=cause.effect_id(event.source),
            aggregate_type=event.aggregate_type,
            aggregate_id=str(event.aggregate_id),
            aggregate_version=aggregate_version,
            occurred_at=now(),
            correlation_id=cause.correlation_id,
            causation_id=cause.event_id,
            schema_version=event.schema_version(),
        )
        return cls(metadata, event)

    @property
    def event_type(self) -> str:
        """EventBridge's `detail-type`."""
        return type(self.event).__name__

    @property
    def cause_of_effects(self) -> Cause:
        """The cause of any event that is published in answer to this one."""
        return Cause(self.metadata.correlation_id, self.metadata.event_id)

    @property
    def log_keys(self) -> dict[str, Any]:
        """The event's ids for log lines."""
        ids = (getattr(self.event, name, None) for name in ("customer_id", "order_id"))
        return log_keys(self.event_type, self.metadata, *ids)

    def to_detail(self) -> str:
        """Encode as EventBridge's `detail`: `{"metadata": {...}, "data": {...}}`."""
        detail = {"metadata": _to_json(self.metadata), "data": _to_json(self.event)}
        return json.dumps(detail, separators=(",", ":"))


class EventDecoder:
    """Decodes the events of the given classes."""

    def __init__(self, event_classes: Iterable[type[DomainEvent]]) -> None:
        self._classes = {(c.source, c.__name__): c for c in event_classes}

    def decode(self, source: object, detail_type: object, detail: object) -> DomainEventEnvelope:
        """Decode an EventBridge message's `source`, `detail-type` and `detail`.

        Data of an older version is upcast. Unknown fields are ignored, and missing fields with a default get it:
        see events/README.md.
        Raises: InvalidEventError if the event is not one of the classes or breaks its schema;
        NewerSchemaVersionError.
        """
        event_class = self._classes.get((str(source), str(detail_type)))
        if event_class is None:
            raise InvalidEventError(f"unknown event: {source!r:.80}, {detail_type!r:.80}")
        metadata = decode_metadata(detail)
        assert isinstance(detail, Mapping)
        version, known = metadata.schema_version, event_class.schema_version()
        if version > known:
            raise NewerSchemaVersionError(
                f"{detail_type} has schema version {version}, this code knows {known}: deploy newer code"
            )
        event = _from_json(event_class, detail.get("data"), event_class.upcasters[version - 1 :])
        if metadata.aggregate_type != event.aggregate_type:
            raise InvalidEventError("metadata.aggregateType differs from the event's")
        if metadata.aggregate_id != str(event.aggregate_id):
            raise InvalidEventError("metadata.aggregateId differs from the aggregate in data")
        return DomainEventEnvelope(replace(metadata, schema_version=known), event)


def decode_metadata(detail: object) -> EventMetadata:
    """Decode the metadata in an event's `detail`. Raises: InvalidEventError."""
    if not isinstance(detail, Mapping):
        raise InvalidEventError("detail is not an object")
    return _from_json(EventMetadata, detail.get("metadata"))


@dataclass(frozen=True)
class _JsonField:
    name: str
    json_name: str
    type: type
    optional: bool
    minimum: int
    is_uuid: bool
    has_default: bool

    @classmethod
    def of(cls, described: Field[Any], hint: Any) -> _JsonField:
        types = [t for t in typing.get_args(hint) if t is not NoneType]
        field_type = types[0] if types else hint
        json_name = re.sub(r"_([a-z])", lambda m: m[1].upper(), described.name)
        if field_type is Money:
            json_name += "Cents"
        return cls(
            described.name,
            json_name,
            field_type,
            optional=bool(types),
            minimum=described.metadata.get("minimum", 1),
            is_uuid=described.metadata.get("format") == "uuid",
            has_default=described.default is not MISSING,
        )

    def decode(self, value: object) -> Any:
        """Raises: TypeError or ValueError if the value is not of the field's type or out of its bounds."""
        if value is None and self.optional:
            return None
        if self.type is Money:
            return Money(self._bounded(value, MAX_CENTS))
        if self.type is int:
            return self._bounded(value, MAX_ID)
        if type(value) is not str:
            raise TypeError(f"{type(value).__name__} is not a text")
        if not value.encode() or len(value) > MAX_TEXT:  # encode() raises for lone surrogates
            raise ValueError("empty or too long")
        if self.is_uuid and str(uuid.UUID(value)) != value:
            raise ValueError("not a UUID in lower case with hyphens")
        if self.type is datetime:
            return parse_instant(value)
        return self.type(value) if issubclass(self.type, StrEnum) else value

    def _bounded(self, value: object, maximum: int) -> int:
        if type(value) is not int:  # not isinstance: bool is a subclass of int
            raise TypeError(f"{type(value).__name__} is not an integer")
        if not self.minimum <= value <= maximum:
            raise ValueError("out of bounds")
        return value


@cache
def _json_fields(cls: type) -> tuple[_JsonField, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(_JsonField.of(described, hints[described.name]) for described in fields(cls))


def _to_json(instance: Any) -> dict[str, Any]:
    return {f.json_name: _encode(getattr(instance, f.name)) for f in _json_fields(type(instance))}  # type: ignore[arg-type]  # types are hashable


def _encode(value: Any) -> Any:
    match value:
        case Money():
            return value.cents
        case datetime():
            return format_instant(value)
        case _:  # integers, texts (a StrEnum is one) and None are JSON already
            return value


def _from_json(cls: type[T], data: object, upcasters: Iterable[Upcaster] = ()) -> T:
    if not isinstance(data, Mapping):
        raise InvalidEventError(f"{cls.__name__} is not an object")
    for upcast in upcasters:
        data = upcast(data)
    values: dict[str, Any] = {}
    for json_field in _json_fields(cls):  # type: ignore[arg-type]
        if json_field.has_default and json_field.json_name not in data:
            continue  # a field that was added within the schema version
        try:
            values[json_field.name] = json_field.decode(data.get(json_field.json_name))
        except (TypeError, ValueError) as error:
            # The value itself is left out: the reason is logged, and the value may be a person's name.
            text = (
                f"{cls.__name__}.{json_field.json_name} is not a valid {json_field.type.__name__}"
            )
            raise InvalidEventError(text) from error
    return cls(**values)
