"""The scenarios, by the fault that each injects, in the order in which they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from infra.local.api_client import wait_until
from infra.local.deployed_stack import STACK_NAME
from tests.chaos import dead_letters
from tests.chaos.aws_faults import (
    UnorderedBus,
    answer_lost,
    answer_never_sent,
    answered_with,
    cancelled_for,
    request_lost,
    slow,
    some_entries_refused,
    some_keys_unprocessed,
    worker_killed,
)
from tests.chaos.aws_proxy import Fault
from tests.chaos.dead_letters import writes
from tests.chaos.http import Request
from tests.chaos.system import SUBSCRIBERS, VISIBILITY_SECONDS, System
from tests.chaos.verdict import Outcome

BEYOND_TIMEOUT_SECONDS = 4.0
"""Longer than the read timeout of the functions' DynamoDB clients, 3 s."""
OUTAGE_ORDERS = 12
OUTAGE_SECONDS = 15.0
"""Longer than five deliveries, one second apart."""
HOT_ORDERS = 200
OPERATIONS = ("TransactWriteItems", "PutItem", "GetItem", "BatchGetItem")
PROJECTION = "order-history-projection"


@dataclass(frozen=True)
class Size:
    """The size of each scenario."""

    orders: int
    mongodb_down_seconds: float


FULL = Size(orders=150, mongodb_down_seconds=30)
SHORT = Size(orders=40, mongodb_down_seconds=8)
Scenario = Callable[[System, Size], Outcome]


def under(faults: Callable[[System], list[Fault]]) -> Scenario:
    """Create orders and wait until all are decided while the faults are injected."""

    def scenario(system: System, size: Size) -> Outcome:
        injected = faults(system)
        with system.aws.inject(*injected):
            placed = system.place(size.orders)
            system.settle()
        return Outcome(placed, sum(fault.struck for fault in injected))

    return scenario


def relay_killed(system: System) -> list[Fault]:
    """Kill a relay after PutEvents, before it gets the answer."""

    def is_from(service: str) -> Callable[[Request], bool]:
        source = f"{STACK_NAME}.{service}"
        return lambda request: any(e["Source"] == source for e in request.json["Entries"])

    return [
        Fault(
            "PutEvents",
            worker_killed(system.workers, f"{service}-outbox-relay"),
            share=0.3,
            limit=4,
            concerns=is_from(service),
        )
        for service in ("customers", "orders")
    ]


def killed_after_writing(
    function: str, limit: int, *events: str
) -> Callable[[System], list[Fault]]:
    """Kill a function after it wrote one of the events, before it gets the answer."""
    return lambda system: [
        Fault(
            "TransactWriteItems",
            worker_killed(system.workers, function),
            share=0.2,
            limit=limit,
            concerns=writes(*events),
        )
    ]


def subscribers_killed(system: System) -> list[Fault]:
    answers = ("CustomerCreditReserved", "CustomerCreditReleased")
    decisions = ("OrderApproved", "OrderRejected")
    return [
        *killed_after_writing("customers-subscriber", 2, *answers)(system),
        *killed_after_writing("orders-subscriber", 2, *decisions)(system),
    ]


def projection_killed(system: System, size: Size) -> Outcome:
    """Kill the projection again and again: between two writes, or before its messages are deleted."""
    killed = 0

    def kill_repeatedly() -> None:
        nonlocal killed
        for _ in range(9):
            time.sleep(0.7)
            killed += system.workers.kill(PROJECTION)

    killer = threading.Thread(target=kill_repeatedly)
    killer.start()
    try:
        placed = system.place(size.orders)
    finally:
        killer.join()
    system.settle()
    return Outcome(placed, killed)


def late_reversed_twice(system: System, size: Size) -> Outcome:
    """Deliver all events late, in reverse order and twice."""
    bus = UnorderedBus(system.events, late_seconds=1)
    fault = Fault("PutEvents", bus.put_events)
    with system.aws.inject(fault):
        placed = system.place(size.orders)
        system.settle()
        wait_until(bus.has_delivered_all, bool, deadline_seconds=60, pause_seconds=1)
    system.settle()
    return Outcome(placed, fault.struck)


def all_republished(system: System, size: Size) -> Outcome:
    """Republish all events, newest first: while orders are created, and after all are decided."""
    start, done = time.time(), threading.Event()
    republished = 0

    def republish() -> None:
        nonlocal republished
        while not done.wait(0.5):
            republished += system.publish(system.written_since(start))

    thread = threading.Thread(target=republish)
    thread.start()
    try:
        placed = system.place(size.orders)
    finally:
        done.set()
        thread.join()
    system.settle()
    before = system.snapshot()
    republished += system.publish(system.written_since(start))
    system.settle()
    after = system.snapshot()
    changed = [f"{name} has changed" for name in before if before[name] != after[name]]
    return Outcome(placed, republished, changed)


def bus_throttles(_system: System) -> list[Fault]:
    return [
        Fault("PutEvents", answered_with(400, "ThrottlingException"), share=0.4),
        Fault("PutEvents", answered_with(500, "InternalException"), share=0.3),
    ]


def bus_does_not_answer(_system: System) -> list[Fault]:
    return [
        Fault("PutEvents", answer_never_sent, share=0.5, limit=2),
        Fault("PutEvents", answer_lost, share=0.4),
    ]


def dynamodb_throttles(system: System) -> list[Fault]:
    throttled = answered_with(400, "ProvisionedThroughputExceededException")
    return [
        Fault("TransactWriteItems", cancelled_for("ThrottlingError"), share=0.2),
        Fault("TransactWriteItems", answered_with(400, "ThrottlingException"), share=0.2),
        Fault("PutItem", throttled, share=0.4),
        Fault("GetItem", throttled, share=0.4),
        Fault("BatchGetItem", throttled, share=0.3),
        Fault("BatchGetItem", some_keys_unprocessed(system.dynamodb), share=0.5),
    ]


def outcome_unknown(_system: System) -> list[Fault]:
    """Perform writes, and lose their answers or send them after the timeout."""
    return [
        Fault("TransactWriteItems", slow(BEYOND_TIMEOUT_SECONDS), share=0.02),
        Fault("TransactWriteItems", answer_lost, share=0.2),
        Fault("PutItem", answer_lost, share=0.2),
        Fault("GetItem", request_lost, share=0.1),
        Fault("BatchGetItem", request_lost, share=0.1),
    ]


def dynamodb_slow(_system: System) -> list[Fault]:
    failed = answered_with(500, "InternalServerError")
    return [
        *(Fault(operation, slow(0.3), share=0.2) for operation in OPERATIONS),
        *(Fault(operation, failed, share=0.1) for operation in OPERATIONS),
    ]


def mongodb_down(system: System, size: Size) -> Outcome:
    """MongoDB does not answer, then refuses connections, then is available again."""
    before = system.mongodb.struck
    system.show("MongoDB is down")
    with system.mongodb.silent():
        placed = system.place(size.orders)
        time.sleep(size.mongodb_down_seconds / 2)
    with system.mongodb.down():
        time.sleep(size.mongodb_down_seconds / 2)
    system.settle()
    return Outcome(placed, system.mongodb.struck - before)


def mongodb_slow(system: System, size: Size) -> Outcome:
    before = system.mongodb.struck
    with system.mongodb.slow(0.03):
        placed = system.place(size.orders)
        system.settle()
    return Outcome(placed, system.mongodb.struck - before)


def long_outage(system: System, _size: Size) -> Outcome:
    """Fail every write of all subscribers for longer than five deliveries. No message becomes a dead letter."""
    before = system.mongodb.struck
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, 1)
    reservations = ("CustomerCreditReserved", "CustomerCreditReservationFailed")
    fault = Fault(
        "TransactWriteItems",
        answered_with(500, "InternalServerError"),
        concerns=writes("OrderApproved", "OrderRejected", *reservations),
    )
    with system.mongodb.down(), system.aws.inject(fault):
        placed = system.place(OUTAGE_ORDERS, cancel_share=0)
        time.sleep(OUTAGE_SECONDS)
    letters = system.dead_letter_depths()
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, VISIBILITY_SECONDS)
    system.settle()
    findings = [f"{count} dead letters in {name}" for name, count in letters.items()]
    return Outcome(placed, system.mongodb.struck - before + fault.struck, findings)


def hot_customer(system: System, _size: Size) -> Outcome:
    """Create many orders of one customer at once."""
    placed = system.place(HOT_ORDERS, customers=1, clients=16)
    system.settle()
    return Outcome(placed, placed.answers)


SCENARIOS: dict[str, Scenario] = {
    "relay killed after PutEvents": under(relay_killed),
    "subscribers killed after their transaction": under(subscribers_killed),
    "projection killed at any moment": projection_killed,
    "API killed between transaction and answer": under(
        killed_after_writing("orders-api", 4, "OrderCreated", "OrderCancelled")
    ),
    "events late, in reverse order, and twice": late_reversed_twice,
    "all events republished, newest first": all_republished,
    "EventBridge refuses some entries": under(
        lambda system: [Fault("PutEvents", some_entries_refused(system.events), share=0.5)]
    ),
    "EventBridge throttles, and answers 500": under(bus_throttles),
    "EventBridge does not answer": under(bus_does_not_answer),
    "DynamoDB: TransactionConflict": under(
        lambda _: [Fault("TransactWriteItems", cancelled_for("TransactionConflict"), share=0.4)]
    ),
    "DynamoDB throttles": under(dynamodb_throttles),
    "DynamoDB: outcome unknown": under(outcome_unknown),
    "DynamoDB slow, and answers 500": under(dynamodb_slow),
    "MongoDB silent, then down, then back": mongodb_down,
    "MongoDB slow": mongodb_slow,
    "outage longer than five deliveries": long_outage,
    "unreadable messages in queues and outbox, redriven": lambda system, size: (
        dead_letters.unreadable_messages(system, size.orders)
    ),
    "dead letters redriven after the fault": lambda system, _: (
        dead_letters.redriven_after_the_fault(system)
    ),
    "200 orders of one customer at once": hot_customer,
}
