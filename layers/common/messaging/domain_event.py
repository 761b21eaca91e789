"""Domain events and their causes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

_EVENT_ID_NAMESPACE = uuid.UUID("c5b6d2a0-6a0e-5d0c-9c60-0b6f6e2f6a10")


@dataclass(frozen=True, kw_only=True)
class DomainEvent:
    """A change that happened to an aggregate. A subclass declares the event data as fields.

    The class name is EventBridge's `detail-type`. Fields may be `int`, `str`, `datetime`, `Money`, a `StrEnum`,
    or one of these `| None`. Numbers are at least 1, unless the field says `metadata={"minimum": 0}`.
    """

    source: ClassVar[str]
    """EventBridge's `source`: the service that publishes the event."""
    aggregate_type: ClassVar[str]

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
