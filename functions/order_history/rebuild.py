"""The order history view from the outboxes, part by part: invoked again and again by `make rebuild-history`."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger

from order_history.rebuild import Rebuild
from order_history.view import connect_from_environment

MARGIN_SECONDS = 10.0
"""What is left of the function's time when it stops within a page: enough for another hundred events."""

logger = Logger()
view = connect_from_environment()
rebuild = Rebuild(
    view,
    {
        "Customers": os.environ["CUSTOMERS_OUTBOX_TABLE"],
        "Orders": os.environ["ORDERS_OUTBOX_TABLE"],
    },
)


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    """Carries out `command`: begin, progress, advance, end, or drop; answers with the progress of each part."""
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
            raise ValueError(f"no command: {event}")
    answer = [part.to_document() for part in rebuild.parts()]
    logger.info("rebuild", extra={**event, "parts": answer if "part" not in event else len(answer)})
    return {"parts": answer}
