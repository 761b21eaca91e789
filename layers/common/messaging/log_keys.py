"""The keys by which log lines about an event are found: the same ones in the relay and in every subscriber."""

from __future__ import annotations

from typing import Any

from messaging.domain_event import EventMetadata


def of_event(
    event_type: str, metadata: EventMetadata, *, customer_id: object, order_id: object
) -> dict[str, Any]:
    """Ids and versions, and none of the facts: a name or an amount has no place in a log."""
    keys = {
        "event_type": event_type,
        "event_id": metadata.event_id,
        "aggregate_id": metadata.aggregate_id,
        "aggregate_version": metadata.aggregate_version,
        "correlation_id": metadata.correlation_id,
    }
    ids = {"customer_id": customer_id, "order_id": order_id}
    return keys | {name: number for name, number in ids.items() if isinstance(number, int)}
