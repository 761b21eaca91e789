"""Messages that cannot be handled, in every queue and in an outbox; and sending them back after a fix."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from infra.local.api_client import wait_until
from infra.local.build import PROJECT
from infra.local.deployed_stack import STACK_NAME
from infra.ops.dead_letters import SUFFIX
from tests.chaos.aws_faults import SpoiledEvents, answered_with
from tests.chaos.aws_proxy import Fault
from tests.chaos.outbox import writes
from tests.chaos.scenario import Outcome, Size, clients
from tests.chaos.system import VISIBILITY_SECONDS, System

RELAY = "orders-outbox-relay"
PATIENCE_SECONDS = 60.0
GIVEN_UP_ORDERS = 12
# More than the bus takes, 256 KiB, and less than DynamoDB takes, 400.
HUGE_BYTES = 300 * 1024
# An event that each subscriber knows.
KNOWN = {
    "customers-subscriber": ("orders", "OrderCreated"),
    "orders-subscriber": ("customers", "CustomerCreditReserved"),
    "order-history-projection": ("orders", "OrderCreated"),
}
REASONS = ("unknown event", "is not a valid int", "not JSON")
"""What each poison of a queue is parked for."""


def poison_parked(system: System, size: Size) -> Outcome:
    """Poison comes with the orders into every queue; and into the outbox, as the events of two orders.

    It ends up in the dead-letter queues, with its reason, and holds up nobody. Then the two events
    are put right, and redriven: their orders are decided, too.
    """
    no_event = SpoiledEvents(system.dynamodb, lambda _: "no event")
    huge = SpoiledEvents(system.dynamodb, _padded)
    faults = [
        Fault("TransactWriteItems", spoiled.write, limit=1, concerns=writes("OrderCreated"))
        for spoiled in (no_event, huge)
    ]
    sent = _send_poison(system)
    with system.aws.inject(*faults):
        placed = clients(system).place(size.orders)
    sent += _send_poison(system)
    findings = _wait_for(system, {**sent, RELAY: 2}, pending=2)
    findings += [finding for queue in sent for finding in _wrong_reasons(system, queue, REASONS)]
    findings += _wrong_reasons(system, RELAY, ("not an outbox item", "exceed the bus's limit"))

    for original in no_event.originals + huge.originals:
        system.dynamodb.put_item(**original)
    findings += redrive(system, RELAY)
    # Nobody has learnt to handle the rest meanwhile: it comes back, and is thrown away.
    findings += redrive(system, "customers-subscriber")
    findings += _wait_for(system, dict(sent), pending=0)
    for queue in sent:
        system.sqs.purge_queue(QueueUrl=system.queue_url(f"{queue}{SUFFIX}"))
    system.settle()
    return Outcome(placed, sent.total() + sum(fault.struck for fault in faults), findings)


def given_up_then_redriven(system: System, _size: Size) -> Outcome:
    """Orders may not write to its tables: its queue gives up each message. Then it may, and they are redriven."""
    queue = "orders-subscriber"
    denied = answered_with(400, "AccessDeniedException")
    decided = writes("OrderApproved", "OrderRejected")
    fault = Fault("TransactWriteItems", denied, concerns=decided)
    system.set_redelivery(queue, 1, receives=5)
    with system.aws.inject(fault):
        placed = clients(system).place(GIVEN_UP_ORDERS, cancel_share=0)
        findings = _wait_for(system, {queue: GIVEN_UP_ORDERS}, pending=GIVEN_UP_ORDERS)
    system.set_redelivery(queue, VISIBILITY_SECONDS, receives=1000)
    findings += redrive(system, queue)
    system.settle()
    return Outcome(placed, fault.struck, findings)


def redrive(system: System, queue: str) -> list[str]:
    """What `make redrive QUEUE=…` had to complain of."""
    command = [sys.executable, "-m", "infra.ops", "redrive", "--queue", queue]
    endpoint = ["--endpoint-url", system.stack.aws_endpoint_url]
    done = subprocess.run(
        [*command, *endpoint], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return [] if done.returncode == 0 else [f"redrive {queue}: {done.stdout}{done.stderr}"]


def _padded(detail: str) -> str:
    event = json.loads(detail)
    event["data"]["padding"] = "x" * HUGE_BYTES
    return json.dumps(event)


def _send_poison(system: System) -> Counter[str]:
    """How many messages were sent to each subscriber's queue."""
    sent: Counter[str] = Counter()
    for queue, (service, event_type) in KNOWN.items():
        for body in _poison(f"{STACK_NAME}.{service}", event_type):
            system.sqs.send_message(QueueUrl=system.queue_url(queue), MessageBody=body)
            sent[queue] += 1
    return sent


def _poison(source: str, known: str) -> Iterator[str]:
    """A message for each of REASONS."""
    metadata = {
        "eventId": "poison",
        "aggregateType": "Order",
        "aggregateId": "1",
        "aggregateVersion": 1,
        "occurredAt": "2026-01-01T00:00:00.000Z",
        "correlationId": "poison",
        "schemaVersion": 1,
    }
    message = {"source": source, "detail": {"metadata": metadata, "data": {}}}
    yield json.dumps({**message, "detail-type": "OrderShipped"})
    yield json.dumps({**message, "detail-type": known})
    yield '{"source": '


def _wait_for(system: System, letters: dict[str, int], pending: int) -> list[str]:
    """What is still different after a while: so many dead letters, so many orders that wait for them, nothing else."""
    expected = ({f"{STACK_NAME}-{queue}{SUFFIX}": n for queue, n in letters.items()}, 0, pending)

    def look() -> Any:
        seen = (system.dead_letter_depths(), system.queued(), system.pending())
        system.show(f"waiting for {sum(letters.values())} dead letters; there are {seen[0]}")
        return seen

    try:
        wait_until(look, lambda seen: bool(seen == expected), PATIENCE_SECONDS, pause_seconds=0.5)
    except TimeoutError as error:
        return [f"dead letters, messages, pending orders: {error}; expected {expected}"]
    return []


def _wrong_reasons(system: System, queue: str, expected: tuple[str, ...]) -> list[str]:
    """The reasons of letters that are not there for what was done to them."""
    letters = system.dead_letters.read([queue], list)[queue]
    reasons = [letter.reason for letter in letters]
    unknown = [reason for reason in reasons if not any(text in reason for text in expected)]
    missing = [text for text in expected if not any(text in reason for reason in reasons)]
    return [f"{queue}: {what}" for what in (*unknown, *missing)]
