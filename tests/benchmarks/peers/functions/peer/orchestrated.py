"""What the state machine does not do itself: start it, once per order."""

from __future__ import annotations

import json
import os
from typing import Any

import boto3

from .api import InvalidRequestError, answer, parse_order

states: Any = boto3.client("stepfunctions")


def create_order(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    try:
        order_id, customer_id, total = parse_order(event)
    except InvalidRequestError as error:
        return answer(400, {"detail": str(error)})
    order = {"orderId": order_id, "customerId": customer_id, "totalCents": total}
    states.start_execution(
        stateMachineArn=os.environ["STATE_MACHINE_ARN"],
        name=order_id,
        input=json.dumps({**order, "total": str(total)}),  # DynamoDB's JSON has numbers as text
    )
    return answer(200, {"orderId": order_id})
