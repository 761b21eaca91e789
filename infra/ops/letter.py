"""One dead letter, and what can be read from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from infra.ops.untrusted import Json, id_at, parse_object, text_at, value_at

REASON_UNKNOWN = "the handler failed each time; see its log"


@dataclass(frozen=True)
class Letter:
    """A message in a dead-letter queue. Texts that cannot be read from it are empty."""

    id: str
    receipt_handle: str
    text: str
    """The message's body, unchanged."""
    attributes: dict[str, str]
    sent_at: datetime
    receives: int
    """How often it was received. Each look at the queue counts."""
    reason: str
    event_type: str
    event_id: str
    metadata: Any
    """Of the event, of any shape."""
    order_id: int | None

    @classmethod
    def of(cls, message: Any) -> Self:
        """Read SQS's message, whatever its body holds."""
        given = message.get("MessageAttributes", {})
        attributes = {name: text_at(value, "StringValue") for name, value in given.items()}
        system = message.get("Attributes", {})
        body = parse_object(message["Body"])
        # An EventBridge message, or a record of an outbox table's stream, which holds the detail as text.
        image = value_at(body, "dynamodb", "NewImage")
        detail = value_at(body, "detail") or parse_object(value_at(image, "detail", "S"))
        batch = value_at(body, "DDBStreamBatchInfo")
        return cls(
            id=message["MessageId"],
            receipt_handle=message["ReceiptHandle"],
            text=message["Body"],
            attributes=attributes,
            sent_at=datetime.fromtimestamp(int(system.get("SentTimestamp", 0)) / 1000, UTC),
            receives=int(system.get("ApproximateReceiveCount", 0)),
            reason=attributes.get("reason")  # of a function of ours
            or attributes.get("ERROR_MESSAGE")  # of EventBridge
            or text_at(body, "requestContext", "condition")  # of Lambda, for a stream's records
            or REASON_UNKNOWN,
            event_type=text_at(body, "detail-type")
            or text_at(image, "eventType", "S")
            or (f"{text_at(batch, 'batchSize')} records" if batch else ""),
            event_id=text_at(detail, "metadata", "eventId")
            or text_at(body, "dynamodb", "Keys", "eventId", "S")
            or text_at(batch, "startSequenceNumber"),
            metadata=value_at(detail, "metadata"),
            order_id=id_at(detail, "data", "orderId"),
        )

    @property
    def body(self) -> Json:
        """The body as a JSON object; an empty one if it is something else."""
        return parse_object(self.text)

    def __str__(self) -> str:
        event = f"{self.event_type[:80]} {self.event_id[:80]}".strip()
        return f"{self.id} ({event or 'no event'})"
