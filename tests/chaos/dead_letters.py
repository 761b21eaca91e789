"""Scenarios with dead letters: unreadable messages, and redrives after a correction."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from infra.local.api_client import wait_until
from infra.local.build import PROJECT
from infra.local.deployed_stack import STACK_NAME
from infra.ops.dead_letters import SUFFIX
from tests.chaos.aws_faults import ChangedEvents, answered_with
from tests.chaos.aws_proxy import Fault
from tests.chaos.http import Request
from tests.chaos.system import VISIBILITY_SECONDS, System
from tests.chaos.verdict import DECISIONS, Outcome
from tests.samples import published_classes
from tests.template import subscriptions

RELAY = "orders-outbox-relay"
PATIENCE_SECONDS = 60.0
DENIED_ORDERS = 12
HUGE_BYTES = 300 * 1024
"""More than EventBridge accepts in an entry, 256 KiB, and less than DynamoDB in an item, 400 KiB."""
SOURCES = {event_class.__name__: event_class.source for event_class in published_classes()}
REASONS = ("unknown event", "is not a valid int", "not JSON")
"""Reasons of the dead letters that `_send_unreadable` leads to, one for each message of a queue."""


def writes(*event_types: str) -> Callable[[Request], bool]:
    """Match transactions that insert an event of one of the types."""

    def matches(request: Request) -> bool:
        inserted = (item.get("Put", {}).get("Item", {}) for item in request.json["TransactItems"])
        return any(item.get("eventType", {}).get("S") in event_types for item in inserted)

    return matches


def unreadable_messages(system: System, orders: int) -> Outcome:
    """Send unreadable messages to every queue, and damage the events of two orders in the outbox.

    All become dead letters with their reasons, and delay nothing. A redrive of the corrected events decides the two
    orders. A redrive of the other messages leads to dead letters again.
    """
    damaged = [ChangedEvents(system.dynamodb, change) for change in (lambda _: "no event", _padded)]
    faults = [
        Fault("TransactWriteItems", events.write, limit=1, concerns=writes("OrderCreated"))
        for events in damaged
    ]
    sent = _send_unreadable(system)
    with system.aws.inject(*faults):
        placed = system.place(orders)
    sent += _send_unreadable(system)
    originals = [original for events in damaged for original in events.originals]
    findings = _wait_for(system, {**sent, RELAY: len(originals)}, pending=len(originals))
    for queue in sent:
        findings += _wrong_reasons(system, queue, REASONS)
    findings += _wrong_reasons(system, RELAY, ("not an outbox item", "exceed the bus's limit"))

    for original in originals:
        system.dynamodb.put_item(**original)
    findings += _redrive(system, RELAY)
    findings += _redrive(system, "customers-subscriber")
    findings += _wait_for(system, dict(sent), pending=0)
    for queue in sent:
        system.sqs.purge_queue(QueueUrl=system.queue_url(f"{queue}{SUFFIX}"))
    system.settle()
    return Outcome(placed, sent.total() + sum(fault.struck for fault in faults), findings)


def redriven_after_the_fault(system: System, _orders: int) -> Outcome:
    """Deny Orders its writes until each decision is a dead letter. Then allow them, and redrive the letters."""
    queue = "orders-subscriber"
    denied = answered_with(400, "AccessDeniedException")
    fault = Fault("TransactWriteItems", denied, concerns=writes(*DECISIONS))
    system.set_redelivery(queue, 1, receives=5)
    with system.aws.inject(fault):
        placed = system.place(DENIED_ORDERS, cancel_share=0)
        findings = _wait_for(system, {queue: DENIED_ORDERS}, pending=DENIED_ORDERS)
    system.set_redelivery(queue, VISIBILITY_SECONDS, receives=1000)
    findings += _redrive(system, queue)
    system.settle()
    return Outcome(placed, fault.struck, findings)


def _redrive(system: System, queue: str) -> list[str]:
    """Run `make redrive QUEUE=...`. Return its output if it fails."""
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


def _send_unreadable(system: System) -> Counter[str]:
    """Send a message for each of REASONS to each subscriber's queue. Return the numbers by queue."""
    metadata = {
        "eventId": str(uuid.uuid4()),
        "aggregateType": "Order",
        "aggregateId": "1",
        "aggregateVersion": 1,
        "occurredAt": "2026-01-01T00:00:00.000Z",
        "correlationId": "unreadable",
        "schemaVersion": 1,
    }
    queues = subscriptions()
    for queue, (event_type, *_) in queues.items():
        message = {"source": SOURCES[event_type], "detail": {"metadata": metadata, "data": {}}}
        for body in (
            json.dumps({**message, "detail-type": "UnknownEvent"}),
            json.dumps({**message, "detail-type": event_type}),
            '{"source": ',
        ):
            system.sqs.send_message(QueueUrl=system.queue_url(queue), MessageBody=body)
    return Counter(dict.fromkeys(queues, len(REASONS)))


def _wait_for(system: System, letters: dict[str, int], pending: int) -> list[str]:
    """Wait for these dead letters, empty queues and this number of PENDING orders. Return any difference."""
    expected = ({f"{STACK_NAME}-{queue}{SUFFIX}": n for queue, n in letters.items()}, 0, pending)

    def look() -> Any:
        return system.dead_letter_depths(), system.queued(), system.pending()

    try:
        wait_until(look, lambda seen: bool(seen == expected), PATIENCE_SECONDS, pause_seconds=0.5)
    except TimeoutError as error:
        return [f"dead letters, messages, PENDING orders: {error}; expected {expected}"]
    return []


def _wrong_reasons(system: System, queue: str, expected: tuple[str, ...]) -> list[str]:
    """Return the unexpected and the missing reasons of the queue's dead letters."""
    reasons = [letter.reason for letter in system.dead_letters().read([queue], list)[queue]]
    wrong = [reason for reason in reasons if not any(text in reason for text in expected)]
    wrong += [text for text in expected if not any(text in reason for reason in reasons)]
    return [f"{queue}: {reason}" for reason in wrong]
