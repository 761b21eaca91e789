"""Dead-letter queues: unreadable messages are sent there at once, so that their neighbours are handled."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Self

from telemetry import metrics
from telemetry.metrics import Metric

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_REASON = 1000
"""Longest reason, in characters."""


class DeadLetterQueue:
    """The dead-letter queue of one function."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url

    @classmethod
    def from_environment(cls) -> Self:
        """Return the queue at DEAD_LETTER_QUEUE_URL."""
        return cls(os.environ["DEAD_LETTER_QUEUE_URL"])

    def send(self, body: str, reason: str) -> None:
        """Send the message to the queue, with the reason in its attribute `reason`."""
        # SQS rejects most control characters.
        reason = "".join(c if c.isprintable() else "?" for c in reason)[:MAX_REASON]
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )
        metrics.count(Metric.DEAD_LETTERS)

    @cached_property
    def _sqs(self) -> SQSClient:
        # Created on first use: most execution environments never see an unreadable message.
        import boto3  # noqa: PLC0415

        return boto3.client("sqs")
