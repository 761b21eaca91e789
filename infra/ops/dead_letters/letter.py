"""One dead letter, and what can be read from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

Json = dict[str, Any]


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead-letter queue. What cannot be read from it is an empty string."""

    receipt_handle: str
    text: str
    """The message's body as it is, whatever it is."""
    reason: str
    event_type: str
    event_id: str
    sent_at: datetime
    receives: int
    """How often it was received, in the queue that gave it up and in this. To look at it is to receive it."""

    @classmethod
    def of(cls, message: MessageTypeDef) -> Self:
        attributes = message.get("Attributes", {})
        given = {
            name: value.get("StringValue", "")
            for name, value in message.get("MessageAttributes", {}).items()
        }
        body = _parse(message["Body"])
        event_type, event_id = _identify(body)
        return cls(
            receipt_handle=message["ReceiptHandle"],
            text=message["Body"],
            reason=given.get("reason")  # the function's own
            or given.get("ERROR_MESSAGE")  # EventBridge's, for what a queue did not take
            or _text(body, "requestContext", "condition")  # Lambda's, for a stream's records
            or "not handled, each time it came; the function's log says why",
            event_type=event_type,
            event_id=event_id,
            sent_at=datetime.fromtimestamp(int(attributes.get("SentTimestamp", 0)) / 1000, UTC),
            receives=int(attributes.get("ApproximateReceiveCount", 0)),
        )

    @property
    def body(self) -> Json:
        """The message's body as an object; an empty one if it is none."""
        return _parse(self.text)


def _parse(text: str) -> Json:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _identify(body: Json) -> tuple[str, str]:
    """The type and the id of the event in an EventBridge message or in a stream's record."""
    if batch := body.get("DDBStreamBatchInfo"):
        return f"{_text(batch, 'batchSize')} records", _text(batch, "startSequenceNumber")
    return (
        _text(body, "detail-type") or _text(body, "dynamodb", "NewImage", "eventType", "S"),
        _text(body, "detail", "metadata", "eventId")
        or _text(body, "dynamodb", "Keys", "eventId", "S"),
    )


def _text(value: Any, *path: str) -> str:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
