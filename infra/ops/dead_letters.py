"""The dead-letter queues of a stack: read letters, send them back, delete them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from infra.local.processes import uninterrupted
from infra.ops.events import Outboxes, StoredEvent, publish
from infra.ops.letter import Edit, Letter, message
from infra.ops.target import OperateError, Target, explain, queue_depth
from infra.ops.untrusted import EPOCH, instant, text_at, value_at
from infra.terminal import say

T = TypeVar("T")

DEAD_LETTERS = "DeadLetterQueue"
"""End of the logical ids. A queue `XDeadLetterQueue` has the letters of the queue `XQueue`, or of the relay
`XFunction` if there is no such queue. tests/unit/test_template.py holds the template to it."""
SUFFIX = "-dead-letters"
"""End of the queues' names."""
HIDDEN_SECONDS = 300
"""Visibility timeout of letters that this tool has received."""
LONG_POLL_SECONDS = 1
"""With a wait, SQS asks all its servers for messages; without, it may find none although there are some."""
BATCH = 10
"""Messages of one request. SQS allows 10."""
TOLERANCE = timedelta(seconds=60)
"""Between the time in an event and the arrival of its record in the stream."""


class DeadLetterQueues:
    """Letters are hidden from other readers while they are looked at, and visible again afterwards."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sqs = target.sqs
        self._ids = {
            _short_name(logical_id): logical_id.removesuffix(DEAD_LETTERS)
            for logical_id in sorted(target.resources)
            if logical_id.endswith(DEAD_LETTERS)
        }
        self._stop = threading.Event()

    def names(self) -> list[str]:
        """Return the short names of all queues, for example `orders-subscriber`."""
        return list(self._ids)

    def find(self, text: str) -> str:
        """Return the short name of the queue with that short or full name. Raises: OperateError if there is none."""
        name = text.removeprefix(f"{self._target.stack_name}-").removesuffix(SUFFIX)
        if name not in self._ids:
            raise OperateError(f"QUEUE={text} is no queue. Choose from: {', '.join(self._ids)}.")
        return name

    def depth(self, name: str) -> int:
        """Return the approximate number of letters, including letters in flight."""
        return queue_depth(self._sqs, self._url(name))

    @contextmanager
    def receive(self, name: str) -> Iterator[Iterator[Letter]]:
        """Give the block the letters of the queue. The letters that it does not delete are visible again after it."""
        receipts: dict[str, str] = {}

        def letters() -> Iterator[Letter]:
            while not self._stop.is_set():
                with uninterrupted():  # no letter is received and forgotten
                    messages = self._sqs.receive_message(
                        QueueUrl=self._url(name),
                        MaxNumberOfMessages=BATCH,
                        VisibilityTimeout=HIDDEN_SECONDS,
                        WaitTimeSeconds=LONG_POLL_SECONDS,
                        MessageSystemAttributeNames=["All"],
                        MessageAttributeNames=["All"],
                    ).get("Messages", [])
                    new = [m for m in messages if m["MessageId"] not in receipts]
                    receipts.update({m["MessageId"]: m["ReceiptHandle"] for m in messages})
                if not new:
                    return
                yield from map(Letter.of, new)

        try:
            yield letters()
        finally:
            unreleased = iter(receipts.values())
            with uninterrupted():
                while batch := list(islice(unreleased, BATCH)):
                    entries = [
                        {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for number, receipt in enumerate(batch)
                    ]
                    # SQS answers for a deleted letter with a failure, which changes nothing.
                    self._sqs.change_message_visibility_batch(
                        QueueUrl=self._url(name), Entries=entries
                    )

    def read(self, names: Sequence[str], use: Callable[[Iterator[Letter]], T]) -> dict[str, T]:
        """Return the result of `use` for the letters of each queue. The queues are read in parallel."""

        def read_one(name: str) -> T:
            with self.receive(name) as letters:
                return use(letters)

        with ThreadPoolExecutor(len(names) or 1) as threads:  # an empty queue takes a second
            try:
                return dict(zip(names, threads.map(read_one, names), strict=True))
            except KeyboardInterrupt:
                self._stop.set()
                raise

    def delete(self, name: str, letter: Letter) -> None:
        self._sqs.delete_message(QueueUrl=self._url(name), ReceiptHandle=letter.receipt_handle)

    def redrive(
        self,
        name: str,
        limit: int,
        message_id: str = "",
        *,
        edit: Edit | None = None,
        dry_run: bool = False,
    ) -> tuple[int, int, int]:
        """Send up to `limit` letters back, or the one with the id, and delete each as soon as it is sent.

        A letter may be sent twice if this process is killed between the two steps: handlers are idempotent.
        Print each letter's result. Return how many were sent, how many could not be sent, and about how many
        were not tried. Raises: OperateError if there is no letter with the id.
        """
        queue = f"{self._ids[name]}Queue"
        is_relay = queue not in self._target.resources
        if edit and is_relay:
            raise OperateError(
                f"EDIT does not work for {name}: a relay publishes the event in its outbox table."
            )

        def send(letter: Letter) -> None:
            # SQS's StartMessageMoveTask moves only letters that SQS put there, and not every emulator has it.
            if is_relay:
                service = self._ids[name].removesuffix("OutboxRelay")
                publish(self._target, service, _events_of(letter, self._target, service))
            else:
                url = self._target.queue_url(queue)
                self._sqs.send_message(QueueUrl=url, **message(letter, edit))

        before = self.depth(name)
        with self.receive(name) as letters:
            # All are received before the first is sent, so that a letter which fails again is sent once.
            found = [pick(letters, message_id)] if message_id else list(islice(letters, limit + 1))
            chosen, sent = found[:limit], 0
            for letter in chosen:
                result = "would be sent back" if dry_run else "sent back"
                with uninterrupted():
                    try:
                        if not dry_run:
                            send(letter)
                            self.delete(name, letter)
                        sent += 1
                    except Exception as error:
                        result = f"stays: {explain(error)}"
                say(f"{letter}: {result}")
        left = 0 if message_id else max(len(found), before) - len(chosen)
        return sent, len(chosen) - sent, left

    def _url(self, name: str) -> str:
        return self._target.queue_url(f"{self._ids[name]}{DEAD_LETTERS}")


def pick(letters: Iterable[Letter], message_id: str) -> Letter:
    """Return the letter with the id. Raises: OperateError if there is none."""
    found = next((letter for letter in letters if letter.id == message_id), None)
    if found is None:
        raise OperateError(
            f"There is no letter {message_id or '(set MESSAGE)'}. `make dlq QUEUE=<queue>` lists message ids; "
            f"a letter that another reader holds is hidden for up to {HIDDEN_SECONDS} s."
        )
    return found


def _events_of(letter: Letter, target: Target, service: str) -> Iterable[StoredEvent]:
    """Return the events that a relay's letter names, as the outbox table has them now.

    Raises: OperateError if the letter names no events.
    """
    body, outboxes = letter.body, Outboxes(target)
    if "DDBStreamBatchInfo" in body:
        # Lambda names a part of the stream, which may be deleted by now: read the events of that time.
        first, last = (
            instant(text_at(body, "DDBStreamBatchInfo", f"approximateArrivalOf{end}Record"))
            for end in ("First", "Last")
        )
        if EPOCH in (first, last):
            raise OperateError("DDBStreamBatchInfo has no valid times of arrival.")
        return outboxes.between(service, first - TOLERANCE, last + TOLERANCE)
    key, event_id = (
        text_at(body, "dynamodb", "Keys", name, "S") for name in ("aggregateId", "eventId")
    )
    if not (key and event_id):
        raise OperateError("The letter is neither a record of a stream nor about a batch.")
    event = outboxes.get(service, key, event_id)
    image = value_at(body, "dynamodb", "NewImage")
    if not (event or image):
        raise OperateError(f"{service}Outbox has no item with these keys.")
    return [event or StoredEvent.of(image)]


def _short_name(logical_id: str) -> str:
    """Return `orders-subscriber` for `OrdersSubscriberDeadLetterQueue`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", logical_id.removesuffix(DEAD_LETTERS)).lower()
