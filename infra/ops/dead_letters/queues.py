"""The dead-letter queues of a stack: looking into them, and sending letters back where they came from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.deployed_stack import STACK_NAME
from infra.ops.dead_letters.letter import DeadLetter
from infra.ops.relay import Relay, RelayError
from infra.ops.target import OperateError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

SUFFIX = "-dead-letters"
# Nobody else receives a letter while it is looked at or sent back.
HIDDEN_SECONDS = 120
# How SQS is asked for messages without fail: else it asks some of its servers, which may know of none.
LONG_POLL_SECONDS = 1


class UnknownQueueError(OperateError):
    """No queue is meant, or more than one; the text is for the user."""


class DeadLetterQueues:
    """The dead-letter queues of the stack called `stack_name`, as they were when first asked for."""

    def __init__(
        self,
        sqs: SQSClient,
        functions: LambdaClient,
        dynamodb: DynamoDBClient,
        stack_name: str = STACK_NAME,
    ) -> None:
        self._sqs = sqs
        self._functions = functions
        self._dynamodb = dynamodb
        self._prefix = f"{stack_name}-"

    def names(self) -> list[str]:
        """The names of all of them."""
        return sorted(name for name in self._attributes if name.endswith(SUFFIX))

    def find(self, part: str) -> str:
        """The one name that `part` is part of, spelled as a name or a logical id: `orders-subscriber`, `OrdersSubscriber`.

        Raises: UnknownQueueError if there is none, or more than one.
        """
        wanted = self._essence(part)
        found = [name for name in self.names() if wanted in self._essence(name)]
        exact = [name for name in found if wanted == self._essence(name)]
        if len(exact or found) != 1:
            choice = "".join(f"\n  {name}" for name in found or self.names())
            raise UnknownQueueError(f"Which queue is {part!r}? There are:{choice}")
        return (exact or found)[0]

    def letters(self, name: str, limit: int) -> list[DeadLetter]:
        """Up to `limit` letters of the queue, which stay in it."""
        letters = self._take(name, limit)
        for letter in letters:
            self._put_back(name, letter)
        return letters

    def all_letters(self, limit: int) -> list[tuple[str, DeadLetter]]:
        """Up to `limit` letters of each queue, each with its queue's name."""
        names = self.names()
        with ThreadPoolExecutor(len(names) or 1) as threads:  # an empty queue takes a second, too
            found = threads.map(lambda name: self.letters(name, limit), names)
            return [
                (name, letter)
                for name, letters in zip(names, found, strict=True)
                for letter in letters
            ]

    def redrive(self, name: str, limit: int) -> Iterator[tuple[DeadLetter, str | None]]:
        """Each of up to `limit` letters that are in the queue now, after it was sent back and deleted.

        With a reason instead of None, it stays in the queue. A letter may be sent more than once: to
        whom it is sent, a repetition changes nothing.
        """
        send = self._sender(name)
        for letter in self._take(name, limit):
            try:
                send(letter)
            except (BotoCoreError, ClientError, RelayError) as error:
                self._put_back(name, letter)
                yield letter, str(error)
            else:
                self._sqs.delete_message(
                    QueueUrl=self._url(name), ReceiptHandle=letter.receipt_handle
                )
                yield letter, None

    def _take(self, name: str, limit: int) -> list[DeadLetter]:
        letters: list[DeadLetter] = []
        while len(letters) < limit:
            received = self._sqs.receive_message(
                QueueUrl=self._url(name),
                MaxNumberOfMessages=min(10, limit - len(letters)),
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=LONG_POLL_SECONDS,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if not received:
                break
            letters += [DeadLetter.of(message) for message in received]
        return letters

    def _put_back(self, name: str, letter: DeadLetter) -> None:
        self._sqs.change_message_visibility(
            QueueUrl=self._url(name), ReceiptHandle=letter.receipt_handle, VisibilityTimeout=0
        )

    def _sender(self, name: str) -> Callable[[DeadLetter], None]:
        """Sends a letter of this queue where it came from: to a queue, or to a relay.

        SQS could move messages by itself (StartMessageMoveTask), but only those that it has moved
        here itself, and not on every emulator.
        """
        arn = self._attributes[name]["QueueArn"]
        for source, attributes in self._attributes.items():
            policy = json.loads(attributes.get("RedrivePolicy", "{}"))
            if policy.get("deadLetterTargetArn") == arn:
                return lambda letter: self._send(source, letter)
        return Relay.with_dead_letters_in(arn, self._functions, self._dynamodb).publish

    def _send(self, name: str, letter: DeadLetter) -> None:
        self._sqs.send_message(QueueUrl=self._url(name), MessageBody=letter.text)

    @cached_property
    def _attributes(self) -> dict[str, Mapping[str, str]]:
        """Of each of the stack's queues, by its name; with its URL."""
        found: dict[str, Mapping[str, str]] = {}
        pages = self._sqs.get_paginator("list_queues").paginate(QueueNamePrefix=self._prefix)
        for page in pages:
            for url in page.get("QueueUrls", []):
                answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
                attributes = {str(name): value for name, value in answer["Attributes"].items()}
                found[url.rsplit("/", 1)[1]] = {**attributes, "url": url}
        return found

    def _url(self, name: str) -> str:
        return self._attributes[name]["url"]

    def _essence(self, name: str) -> str:
        """What is left of a name without what all have in common: `orderssubscriber`."""
        letters = re.sub(r"[^a-z0-9]", "", name.removeprefix(self._prefix).lower())
        return re.sub(r"(deadletters|deadletterqueue|queue)$", "", letters)
