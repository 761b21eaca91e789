"""Parking a message that can never be handled, with the reason, so that its neighbours can go on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from telemetry import metrics
from telemetry.metrics import Metric

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class DeadLetterQueue:
    """One consumer's dead-letter queue, as the consumer itself sends to it."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url

    def park(self, body: str, reason: str) -> None:
        """The message is in the queue; its attribute `reason` says why it could not be handled."""
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason[:1000]}},
        )
        metrics.count(Metric.POISON_MESSAGES)

    @cached_property
    def _sqs(self) -> SQSClient:
        # Made at first use: nearly all execution environments never meet a message to park.
        import boto3  # noqa: PLC0415

        return boto3.client("sqs")
