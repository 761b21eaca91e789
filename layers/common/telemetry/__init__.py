"""Telemetry of the functions: one log line per invocation with its metrics, and the trace header."""

from __future__ import annotations

import json
import logging
from typing import Any

from aws_lambda_powertools import Logger

from telemetry import metrics
from telemetry.metrics import record

__all__ = ["log_invocation", "record"]

logger = Logger(location=None, datefmt="%Y-%m-%dT%H:%M:%S.%FZ", utc=True)
"""The parent of all loggers. Lambda gives a line whose timestamp is not RFC 3339 a second one, and the level INFO.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""


def log_invocation(message: str, **keys: Any) -> None:
    """Log the line of this invocation: `keys`, and the metrics that were recorded.

    Counts of 0 are left out: log data costs as much as the invocations. Above level INFO only the metrics are printed: CloudWatch reads them from the log.
    """
    keys = {key: value for key, value in keys.items() if value != 0}
    emf = metrics.take()
    if logger.log_level <= logging.INFO:
        logger.info(message, extra={**keys, **emf})
    elif emf:
        print(json.dumps(emf))
