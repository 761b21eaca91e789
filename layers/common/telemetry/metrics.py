"""What is counted and measured. Each invocation prints it as one line in CloudWatch's embedded metric format (EMF).

CloudWatch makes metrics of such lines by itself: nothing is called, and nothing waits. A metric tells of what
has been written, so a request or a message that comes again is not counted again. A function that is killed
before it ends (out of time, out of memory) loses what it had to tell, but for the counters with a `reason`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import ParamSpec, TypeVar

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from shared.clock import now

NAMESPACE = "CustomersAndOrders"

P = ParamSpec("P")
R = TypeVar("R")


class Metric(StrEnum):
    """The names, as dashboards and alarms use them.

    Their one dimension, `service`, is the name of the function; OrdersRejected has a `reason` as well.
    """

    ORDERS_CREATED = "OrdersCreated"
    ORDERS_APPROVED = "OrdersApproved"
    ORDERS_REJECTED = "OrdersRejected"
    ORDERS_CANCELLED = "OrdersCancelled"
    SAGA_DURATION = "SagaDuration"
    """From the order's creation until it is APPROVED or REJECTED, in milliseconds."""
    RELAY_LAG = "RelayLag"
    """From an event's being written to its being on the bus, in milliseconds."""
    VIEW_LAG = "ViewLag"
    """From an event's being written to its being in the view, in milliseconds."""
    DUPLICATES_DROPPED = "DuplicatesDropped"
    """Messages whose work had been done before."""
    CONFLICTS_RETRIED = "ConflictsRetried"
    """Commands tried anew because others were writing the same items."""
    POISON_MESSAGES = "PoisonMessages"
    """Messages and records parked because they can never be handled."""


@functools.cache
def _metrics() -> Metrics:
    return Metrics(namespace=NAMESPACE, service=_service())


def _service() -> str | None:
    """The function's name, which tells two stacks in one account apart; None leaves it to Powertools."""
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME")


def count(metric: Metric) -> None:
    """There is one more."""
    _metrics().add_metric(metric, MetricUnit.Count, 1)


def count_by_reason(metric: Metric, reason: StrEnum) -> None:
    """There is one more for this reason; the line is printed at once, since dimensions hold for a whole line."""
    service = _service()
    with single_metric(
        metric,
        MetricUnit.Count,
        1,
        namespace=NAMESPACE,
        default_dimensions={"service": service} if service else None,
    ) as one:
        one.add_dimension("reason", reason)


def measure(metric: Metric, since: datetime, until: datetime | None = None) -> None:
    """It took from `since` until `until`, or until now. Clocks differ a little: never less than nothing."""
    milliseconds = ((until or now()) - since).total_seconds() * 1000
    _metrics().add_metric(metric, MetricUnit.Milliseconds, max(0.0, milliseconds))


def emitted(handler: Callable[P, R]) -> Callable[P, R]:
    """The handler, which prints what it has counted and measured when it ends, also by an error."""

    @functools.wraps(handler)
    def emitting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        finally:
            emit()

    return emitting


def emit() -> None:
    """What was counted and measured is printed, if there is anything, and forgotten."""
    metrics = _metrics()
    if metrics.provider.metric_set:
        metrics.flush_metrics()
