"""What the services write to their outboxes, and say on the bus, as the scenarios need to tell it apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from infra.local.deployed_stack import STACK_NAME
from tests.chaos.http import Request
from tests.chaos.system import OUTBOXES, Item, System

MOST_ENTRIES = 10


def is_from(service: str) -> Callable[[Request], bool]:
    """Whether a PutEvents request is of the relay of the service."""
    source = f"{STACK_NAME}.{service}"
    return lambda request: any(entry["Source"] == source for entry in request.json["Entries"])


def writes(*event_types: str) -> Callable[[Request], bool]:
    """Match transactions that insert an event of one of the types."""

    def matches(request: Request) -> bool:
        inserted = (item.get("Put", {}).get("Item", {}) for item in request.json["TransactItems"])
        return any(item.get("eventType", {}).get("S") in event_types for item in inserted)

    return matches


def written_since(system: System, timestamp: float) -> list[Item]:
    """The events in the outboxes that happened since then, the last first."""
    since = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
    found = [
        item
        for outbox in OUTBOXES
        for item in system.items(outbox)
        if item["occurredAt"]["S"] >= since
    ]
    return sorted(found, key=lambda item: str(item["occurredAt"]["S"]), reverse=True)


def publish(system: System, items: Iterable[Item]) -> int:
    """The events are on the bus once more, in this order. Returns how many."""
    entries = [
        {
            "EventBusName": STACK_NAME,
            "Source": item["source"]["S"],
            "DetailType": item["eventType"]["S"],
            "Detail": item["detail"]["S"],
        }
        for item in items
    ]
    for start in range(0, len(entries), MOST_ENTRIES):
        system.events.put_events(Entries=entries[start : start + MOST_ENTRIES])  # type: ignore[arg-type]
    return len(entries)
