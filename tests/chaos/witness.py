"""A witness of everything that reaches the bus: a queue of the tests' own, emptied all the time."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.local.deployed_stack import STACK_NAME

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient

NAME = "witness"  # not one of the stack's names, so that nobody takes it for a queue of the system


class Witness:
    """Counts how often each event was published, by its id."""

    def __init__(self, sqs: SQSClient, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._stopped = threading.Event()
        self.seen: Counter[str] = Counter()

    @classmethod
    @contextmanager
    def watching(cls, sqs: SQSClient, events: EventBridgeClient) -> Iterator[Witness]:
        """The witness hears of what is published inside the block, a moment later."""
        url = sqs.create_queue(QueueName=NAME)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        pattern = json.dumps({"source": [{"prefix": f"{STACK_NAME}."}]})
        events.put_rule(Name=NAME, EventBusName=STACK_NAME, EventPattern=pattern)
        events.put_targets(
            Rule=NAME, EventBusName=STACK_NAME, Targets=[{"Id": NAME, "Arn": arn["QueueArn"]}]
        )
        self = cls(sqs, url)
        thread = threading.Thread(target=self._watch, name=NAME)
        thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            answer = self._sqs.receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            messages = answer.get("Messages", [])
            for message in messages:
                self.seen[json.loads(message["Body"])["detail"]["metadata"]["eventId"]] += 1
            if messages:
                self._sqs.delete_message_batch(
                    QueueUrl=self._queue_url,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                        for number, message in enumerate(messages)
                    ],
                )
