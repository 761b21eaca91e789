"""How dead letters are shown: in groups with counts, or one whole with its saga."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from infra.ops.domain import SERVICES
from infra.ops.events import Outboxes
from infra.ops.letter import Letter
from infra.ops.stuck import StuckOrders
from infra.ops.target import Target
from infra.ops.untrusted import text_at

GROUP_COLUMNS = ("queue", "letters", "reason", "event", "oldest", "message id of the oldest")
LETTER_COLUMNS = ("message id", "event", "event id", "age", "received", "reason")
Row = tuple[object, ...]


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


def saga(target: Target, letter: Letter) -> Iterator[str]:
    """Yield lines on the letter's event and on the saga of its order, as the tables have them now."""
    outboxes, body = Outboxes(target), letter.body
    source = text_at(body, "source") or text_at(body, "dynamodb", "NewImage", "source", "S")
    if service := SERVICES.get(source):
        key = text_at(letter.metadata, "aggregateId")
        has = "has" if outboxes.get(service, key, letter.event_id) else "does not have"
        yield f"{service}Outbox {has} this event."
    if letter.order_id is None:
        return
    order = StuckOrders(target).order(letter.order_id)
    yield f"Order {letter.order_id} {f'is {order.state}' if order else 'does not exist'}."
    for event in outboxes.saga_of_order(letter.order_id):
        at = event.occurred_at.isoformat(timespec="milliseconds")
        mark = "  <- this letter" if event.id == letter.event_id else ""
        yield f"  {at}  {event.type}, version {event.version}{mark}"


def age(since: datetime) -> str:
    """Return `45 s`, `12 min`, `3 h` or `2 days`: in the largest unit of which there is at least one."""
    seconds = int((datetime.now(UTC) - since).total_seconds())
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
