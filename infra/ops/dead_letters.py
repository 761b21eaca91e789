"""The dead-letter queues of a stack: read letters, send them back, delete them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from infra.local.processes import uninterrupted
from infra.ops.edit import Edit, edits, message
from infra.ops.letter import Letter
from infra.ops.relay import Relay
from infra.ops.target import OperateError, Target, explain, queue_depth

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


Report = Callable[[Letter, str], None]
"""Is given each letter, and whether it was sent."""
Send = Callable[[Letter], str]
"""Sends a letter and returns a note for the operator."""


@dataclass(frozen=True)
class Redriven:
    """Result of a redrive, in numbers of letters."""

    chosen: int
    stayed: int
    """Those of the chosen letters that could not be sent."""
    left: int
    """Letters that were not tried, about: over the limit, or in flight."""


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
        self._urls: dict[str, str] = {}
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
        """Return the approximate number of letters, those in flight included."""
        return queue_depth(self._sqs, self._url(name))

    @contextmanager
    def receive(self, name: str) -> Iterator[Iterator[Letter]]:
        """Give the block the letters of the queue. Those that it does not delete are visible again after it."""
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
            with uninterrupted():
                self._release(name, receipts.values())

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
        """Delete the letter."""
        self._sqs.delete_message(QueueUrl=self._url(name), ReceiptHandle=letter.receipt_handle)

    def redrive(
        self,
        name: str,
        limit: int,
        report: Report,
        *,
        message_id: str = "",
        edit: Edit | None = None,
        dry_run: bool = False,
    ) -> Redriven:
        """Send up to `limit` letters back, or the one with the id, and delete each as soon as it is sent.

        A letter may be sent twice if this process is killed between the two steps: handlers are idempotent.
        Raises: OperateError if there is no letter with the id.
        """
        send = self._sender(name, edit)
        before = self.depth(name)
        with self.receive(name) as letters:
            # All are received before the first is sent, so that a letter which fails again is sent once.
            if message_id:
                chosen, over_limit = [pick(letters, message_id)], 0
            else:
                chosen = list(islice(letters, limit + 1))
                over_limit = len(chosen[limit:])
                del chosen[limit:]
            stayed = 0
            for letter in chosen:
                if dry_run:
                    report(letter, "would be sent back")
                elif not self._move(name, letter, send, report):
                    stayed += 1
        left = 0 if message_id else max(over_limit, before - len(chosen))
        return Redriven(len(chosen), stayed, left)

    def _move(self, name: str, letter: Letter, send: Send, report: Report) -> bool:
        with uninterrupted():
            try:
                note = send(letter)
                self.delete(name, letter)
            except Exception as error:
                report(letter, f"stays: {explain(error)}")
                return False
        report(letter, f"sent back{note}")
        return True

    def _sender(self, name: str, edit: Edit | None) -> Send:
        """Return a function that sends a letter of the queue to where it came from.

        SQS's StartMessageMoveTask moves only letters that SQS put there, and not every emulator has it.
        """
        logical_id = self._ids[name]
        if f"{logical_id}Queue" not in self._target.resources:
            if edit:
                raise OperateError(
                    f"EDIT does not work for {name}: a relay publishes the event in its outbox table."
                )
            return Relay(self._target, logical_id.removesuffix("OutboxRelay")).redrive
        url = self._target.queue_url(f"{logical_id}Queue")

        def send(letter: Letter) -> str:
            sent, note = edit.message(letter) if edit else (message(letter.text, edits(letter)), "")
            self._sqs.send_message(QueueUrl=url, **sent)
            return note

        return send

    def _release(self, name: str, receipts: Iterable[str]) -> None:
        """Make letters visible. SQS answers for a deleted one with a failure, which changes nothing."""
        unreleased = iter(receipts)
        while batch := list(islice(unreleased, BATCH)):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self._url(name),
                Entries=[
                    {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                    for number, receipt in enumerate(batch)
                ],
            )

    def _url(self, name: str) -> str:
        if name not in self._urls:
            self._urls[name] = self._target.queue_url(f"{self._ids[name]}{DEAD_LETTERS}")
        return self._urls[name]


def pick(letters: Iterable[Letter], message_id: str) -> Letter:
    """Return the letter with the id. Raises: OperateError if there is none."""
    found = next((letter for letter in letters if letter.id == message_id), None)
    if found is None:
        raise OperateError(
            f"There is no letter {message_id or '(set MESSAGE)'}. `make dlq QUEUE=<queue>` lists message ids; "
            f"a letter that another reader holds is hidden for up to {HIDDEN_SECONDS} s."
        )
    return found


def _short_name(logical_id: str) -> str:
    """Return `orders-subscriber` for `OrdersSubscriberDeadLetterQueue`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", logical_id.removesuffix(DEAD_LETTERS)).lower()
