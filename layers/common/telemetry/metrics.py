"""Metrics in CloudWatch's embedded metric format (EMF), printed as part of the invocation's log line.

CloudWatch extracts metrics from such lines; nothing is called and nothing waits. Metrics count committed changes, so
a replayed request or a redelivered message is not counted twice. A function that is killed before it ends (time
limit, memory) loses the metrics of that invocation.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import functools
import os
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from shared.clock import now

if TYPE_CHECKING:
    from messaging.envelope import DomainEventEnvelope

NAMESPACE = "CustomersAndOrders"


class Metric(StrEnum):
    """The metrics' names in dashboards and alarms.

    Each has the dimension `service`, the name of the function. OrdersRejected also has `reason`.
    """

    ORDERS_CREATED = "OrdersCreated"
    ORDERS_APPROVED = "OrdersApproved"
    ORDERS_REJECTED = "OrdersRejected"
    ORDERS_CANCELLED = "OrdersCancelled"
    SAGA_DURATION = "SagaDuration"
    """Milliseconds from the creation of an order until it is APPROVED or REJECTED."""
    VIEW_LAG = "ViewLag"
    """Milliseconds from writing an event to projecting it to the view."""
    DUPLICATES_DROPPED = "DuplicatesDropped"
    """Deliveries of events that had been handled before, or that were stale."""
    CONFLICTS_RETRIED = "ConflictsRetried"
    """Commands retried because another writer changed the same items."""
    DEAD_LETTERS = "DeadLetters"
    """Messages and stream records that a function sent to its dead-letter queue."""
    ORDERS_RESUMED = "OrdersResumed"
    """PENDING orders whose saga was resumed because their deadline had passed."""
    ORDERS_STUCK = "OrdersStuck"
    """Those that are PENDING after three attempts."""


def record(published: DomainEventEnvelope | None) -> None:
    """Count a published event of an order, and measure the saga that it ends. Do nothing for None and other events.

    The metric of `OrderCreated` is `OrdersCreated`, and so on.
    """
    if published is None or published.event.aggregate_type != "Order":
        return
    metric = f"Orders{published.event_type.removeprefix('Order')}"
    reason = getattr(published.event, "rejection_reason", None)
    if metric == Metric.ORDERS_REJECTED and reason is not None:
        _count_by_reason(metric, reason)
    else:
        count(metric)
    created_at = getattr(published.event, "created_at", None)
    if metric in {Metric.ORDERS_APPROVED, Metric.ORDERS_REJECTED} and created_at is not None:
        measure(Metric.SAGA_DURATION, created_at, published.metadata.occurred_at)


def count(metric: str, number: int = 1) -> None:
    """Increment the counter by `number`."""
    if number:
        _metrics().add_metric(metric, MetricUnit.Count, number)


def measure(metric: Metric, since: datetime, until: datetime | None = None) -> None:
    """Add a duration from `since` to `until` (default: now). Clocks differ a little, so it is at least 0."""
    milliseconds = ((until or now()) - since).total_seconds() * 1000
    _metrics().add_metric(metric, MetricUnit.Milliseconds, max(0.0, milliseconds))


def take() -> dict[str, Any]:
    """Return the metrics of this invocation as keys of a log line in EMF, and reset them."""
    metrics = _metrics()
    if not metrics.provider.metric_set:
        return {}
    keys = metrics.serialize_metric_set()
    metrics.clear_metrics()
    return dict(keys)


def _count_by_reason(metric: str, reason: StrEnum) -> None:
    """Print a line for this reason at once, because dimensions apply to a whole line."""
    service = _service()
    with single_metric(
        metric,
        MetricUnit.Count,
        1,
        namespace=NAMESPACE,
        default_dimensions={"service": service} if service else None,
    ) as one:
        one.add_dimension("reason", reason)


@functools.cache
def _metrics() -> Metrics:
    return Metrics(namespace=NAMESPACE, service=_service())


def _service() -> str | None:
    """Return the function's name, which tells two stacks in one account apart."""
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
