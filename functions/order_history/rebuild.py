"""Rebuild of the order history view from the outboxes. `make rebuild-history` invokes it for one part at a time."""

from __future__ import annotations

import os
from typing import Any

import telemetry
from messaging.retention import Retention
from order_history.connection import connect_from_environment
from order_history.rebuild import Rebuild
from order_history.view import OrderHistoryView

MARGIN_SECONDS = 10.0
"""Time left when a page is abandoned: enough for one more chunk, which took up to 7 s on the embedded server."""

retention = Retention.from_environment()
view = OrderHistoryView(connect_from_environment())
rebuild = Rebuild(
    view,
    {
        "Customers": os.environ["CUSTOMERS_OUTBOX_TABLE"],
        "Orders": os.environ["ORDERS_OUTBOX_TABLE"],
    },
)


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Execute `command` (begin, progress, advance, end or drop) and return the progress of each part.

    With `retentionDays` above 0, events that are older have expired: this rebuild does not have them.

    Raises: ValueError for another command.
    """
    match event:
        case {"command": "drop"}:
            view.drop()
        case {"command": "begin", "segments": int(segments)}:
            rebuild.begin(segments)
        case {"command": "advance", "part": str(part), "seconds": int() | float() as seconds}:
            available = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
            rebuild.advance(part, seconds, available)
        case {"command": "end"}:
            rebuild.end()
        case {"command": "progress"}:
            pass
        case _:
            raise ValueError(f"unknown command: {event}")
    parts = [part.to_document() for part in rebuild.parts()]
    progress = parts if "part" not in event else len(parts)
    telemetry.log_invocation("rebuild advanced", **event, parts=progress)
    return {"parts": parts, "retentionDays": retention.days}
