"""Deadline of PENDING orders: resumes the sagas that hang. A schedule invokes it (ResumePendingOrders in template.yaml)."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import boto3
from botocore.config import Config

import telemetry
from messaging.dead_letters import DeadLetterQueue
from messaging.dynamodb import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS
from messaging.relay import Relay
from orders.repository import OrderRepository
from orders.saga import Sagas, resume_waiting
from shared.clock import now
from telemetry import metrics
from telemetry.metrics import Metric

orders = OrderRepository.from_environment()
config = Config(connect_timeout=CONNECT_TIMEOUT_SECONDS, read_timeout=READ_TIMEOUT_SECONDS)
sagas = Sagas(
    boto3.client("dynamodb", config=config),
    os.environ["ORDERS_OUTBOX_TABLE"],
    os.environ["CUSTOMERS_OUTBOX_TABLE"],
)
relay = Relay(os.environ["EVENT_BUS_NAME"], DeadLetterQueue.from_environment())
deadline = timedelta(seconds=float(os.environ["PENDING_ORDER_DEADLINE_SECONDS"]))


def lambda_handler(_event: dict[str, Any], _context: Any) -> dict[str, int]:
    """Resume orders that are PENDING for longer than the deadline. Raises: EventsNotPublishedError."""
    resumed = resume_waiting(orders, sagas, relay, now() - deadline)
    metrics.count(Metric.ORDERS_RESUMED, len(resumed.published))
    metrics.count(Metric.ORDERS_STUCK, len(resumed.stuck))
    events = [entry.log_keys for entry in resumed.published]
    telemetry.log_invocation("sagas resumed", events=events, stuck_orders=resumed.stuck)
    return {"resumed": len(resumed.published), "stuck": len(resumed.stuck)}
