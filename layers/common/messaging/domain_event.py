"""Domain events and their causes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

_EVENT_ID_NAMESPACE = uuid.UUID("c5b6d2a0-6a0e-5d0c-9c60-0b6f6e2f6a10")

Upcaster = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Converts the JSON `data` of a schema version to the next version. It must not fail for invalid data."""


def unchanged(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data: the next version only allows values that this version does not have."""
    return data


@dataclass(frozen=True, kw_only=True)
class DomainEvent:
    """A change that happened to an aggregate. A subclass declares the event data as fields.

    The class name is EventBridge's `detail-type`. Fields may be `int`, `str`, `datetime`, `Money`, a `StrEnum`,
    or one of these `| None`. Numbers are at least 1, unless the field says `metadata={"minimum": 0}`.
    """

    source: ClassVar[str]
    """EventBridge's `source`: the service that publishes the event."""
    aggregate_type: ClassVar[str]
    upcasters: ClassVar[tuple[Upcaster, ...]] = ()
    """The first converts version 1 to 2, the second version 2 to 3, ... A stored event keeps its version."""

    @classmethod
    def schema_version(cls) -> int:
        """Return the version that the fields describe. It is published, and no newer one can be decoded."""
        return len(cls.upcasters) + 1

    @property
    def aggregate_id(self) -> int:
        """Return the id of the aggregate that changed."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cause:
    """The API request at the start of a saga and, if an event is being handled, that event."""

    correlation_id: str
    event_id: str | None = None

    def effect_id(self, source: str) -> str:
        """Return the id of the event that the service `source` publishes because of this cause.

        For an event the id is derived: a redelivered message tries to insert the same outbox item and fails.
        One event gets at most one answer per service, so the type of the answer is not part of the id: an
        OrderCreated that was refused for lack of credit must not be decided again when it is redelivered.
        """
        if self.event_id is None:
            return str(uuid.uuid4())
        return str(uuid.uuid5(_EVENT_ID_NAMESPACE, f"{self.event_id}/{source}"))
