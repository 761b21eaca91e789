"""One dead letter: read it, show it, edit its body. The original body stays with the message that is sent instead."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from infra.ops.target import OperateError, Target
from infra.ops.untrusted import Json, id_at, parse_object, text_at, value_at

REASON_UNKNOWN = "the handler failed each time; see its log"
ORIGINAL, EDITED_BY, EDITED_AT = EDITS = ("originalBody", "editedBy", "editedAt")
MAX_BYTES = 256 * 1024 - 2048
"""Of both bodies together. All queues take 256 KiB, of which the rest is for the small attributes.
Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""


GROUP_COLUMNS = ("queue", "letters", "reason", "event", "oldest", "message id of the oldest")
LETTER_COLUMNS = ("message id", "event", "event id", "age", "received", "reason")
Row = tuple[object, ...]


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
        return parse_object(self.text)

    @property
    def edits(self) -> dict[str, str]:
        """The attributes of an earlier edit, which stay with the message."""
        return {name: self.attributes[name] for name in EDITS if self.attributes.get(name)}

    def __str__(self) -> str:
        event = f"{self.event_type[:80]} {self.event_id[:80]}".strip()
        return f"{self.id} ({event or 'no event'})"


def groups(queue: str, letters: Iterable[Letter]) -> list[Row]:
    """Return a row for each reason and type of event in the queue, the largest group first."""
    found: dict[tuple[str, str], list[Letter]] = defaultdict(list)
    for letter in letters:
        found[letter.reason, letter.event_type].append(letter)
    rows: list[Row] = []
    for group, same in sorted(found.items(), key=lambda item: -len(item[1])):
        oldest = min(same, key=lambda letter: letter.sent_at)
        rows.append((queue, len(same), *group, age(oldest.sent_at), oldest.id))
    return rows


def row(letter: Letter) -> Row:
    """Return the letter's row in the list of one queue."""
    received = f"{letter.receives} times"
    event = letter.event_type, letter.event_id
    return (letter.id, *event, age(letter.sent_at), received, letter.reason)


def describe(queue: str, letter: Letter) -> Iterator[str]:
    """Yield the lines that show the letter whole."""
    keys = {
        "message": letter.id,
        "queue": queue,
        "reason": letter.reason,
        "event": f"{letter.event_type} {letter.event_id}".strip(),
        "correlation": text_at(letter.metadata, "correlationId"),
        "sent": f"{letter.sent_at.isoformat(timespec='seconds')}, received {letter.receives} times",
    }
    for name, value in (keys | letter.edits).items():
        yield f"{name:<18}{value or '-'}"
    try:
        body = json.dumps(json.loads(letter.text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        body = letter.text
    yield from ("body:", *body.split("\n"))


def age(since: datetime) -> str:
    """Return `45 s`, `12 min`, `3 h` or `2 days`: in the largest unit of which there is at least one."""
    seconds = int((datetime.now(UTC) - since).total_seconds())
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@dataclass(frozen=True)
class Edit:
    """A new body for one letter, and the person who wrote it."""

    body: str
    editor: str

    @classmethod
    def of(cls, file: Path, target: Target) -> Self:
        """Read the new body from the file. Raises: OperateError if it is not a JSON object."""
        try:
            body = file.read_text(encoding="utf-8")
            is_object = isinstance(json.loads(body), dict)
        except (OSError, ValueError, RecursionError) as error:
            raise OperateError(f"EDIT={file}: {error}") from error
        if not is_object:
            raise OperateError(f"EDIT={file} is not a JSON object.")
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user may have no name
            user = str(os.getuid())
        editor = f"{user}@{socket.gethostname()}"
        if target.name == "aws":
            editor += f" {target.client('sts').get_caller_identity()['Arn']}"
        return cls(body, editor)


def message(letter: Letter, edit: Edit | None) -> dict[str, Any]:
    """Return the arguments of SQS's SendMessage that send the letter. The original body of the first edit is kept.

    Raises: OperateError if the message would be too large.
    """
    body, texts = letter.text, letter.edits
    if edit:
        body, now = edit.body, datetime.now(UTC).isoformat(timespec="seconds")
        texts = {ORIGINAL: letter.text, **texts, EDITED_BY: edit.editor, EDITED_AT: now}
        if len(body.encode()) + len(texts[ORIGINAL].encode()) > MAX_BYTES:
            raise OperateError(f"The original and the edited body have over {MAX_BYTES:,} bytes.")
    values = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
    return {"MessageBody": body, "MessageAttributes": values}
