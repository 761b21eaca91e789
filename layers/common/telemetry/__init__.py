"""Telemetry of the functions: one log line per invocation with its metrics, and the trace header."""

from __future__ import annotations

import json
import logging
from typing import Any

from aws_lambda_powertools import Logger

from telemetry import metrics
from telemetry.metrics import record

__all__ = ["log_invocation", "record"]


def log_invocation(logger: Logger, message: str, context: Any, **keys: Any) -> None:
    """Log the line of this invocation: `keys`, Lambda's request id, and the metrics that were recorded.

    Counts of 0 are left out: log data costs as much as the invocations. Above level INFO only the metrics are printed: CloudWatch reads them from the log.
    """
    keys = {key: value for key, value in keys.items() if value != 0}
    keys["function_request_id"] = context.aws_request_id
    emf = metrics.take()
    if logger.log_level <= logging.INFO:
        logger.info(message, extra={**keys, **emf})
    elif emf:
        print(json.dumps(emf))
