"""The scenarios, by the fault that each injects, in the order in which they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from infra.local.api_client import wait_until
from infra.local.deployed_stack import STACK_NAME
from tests.chaos import dead_letters, versions
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
from tests.chaos.verdict import DECISIONS, Outcome

BEYOND_TIMEOUT_SECONDS = 4.0
"""Longer than the read timeout of the functions' DynamoDB clients, 3 s."""
OUTAGE_ORDERS = 12
OUTAGE_SECONDS = 15.0
"""Longer than five deliveries, one second apart."""
HOT_ORDERS = 200
THROTTLED = answered_with(400, "ProvisionedThroughputExceededException")
FAILED = answered_with(500, "InternalServerError")
OPERATIONS = ("TransactWriteItems", "PutItem", "GetItem", "BatchGetItem")
REQUESTS = ("OrderCreated", "OrderCancelled")
RESERVATIONS = (
    "CustomerCreditReserved",
    "CustomerCreditReservationFailed",
    "CustomerCreditReleased",
)
Scenario = Callable[[System, int], Outcome]
"""Takes the number of orders."""


def under(faults: Callable[[System], list[Fault]]) -> Scenario:
    """Create orders and wait until all are decided while the faults are injected."""

    def scenario(system: System, orders: int) -> Outcome:
        injected = faults(system)
        with system.aws.inject(*injected):
            placed = system.place(orders)
            system.settle()
        return Outcome(placed, sum(fault.struck for fault in injected))

    return scenario


def killed(
    system: System, function: str, operation: str, limit: int, concerns: Callable[[Request], bool]
) -> Fault:
    """Kill the function after the operation was performed, before it gets the answer."""
    effect = worker_killed(system.workers, function)
    return Fault(operation, effect, share=0.25, limit=limit, concerns=concerns)


def publishes(service: str) -> Callable[[Request], bool]:
    """Match PutEvents with events of the service."""
    source = f"{STACK_NAME}.{service}"
    return lambda request: any(e["Source"] == source for e in request.json["Entries"])


def projection_killed(system: System, orders: int) -> Outcome:
    """Kill the projection again and again: between two writes, or before its messages are deleted."""
    killed = 0

    def kill_repeatedly() -> None:
        nonlocal killed
        for _ in range(9):
            time.sleep(0.7)
            killed += system.workers.kill("order-history-projection")

    killer = threading.Thread(target=kill_repeatedly)
    killer.start()
    try:
        placed = system.place(orders)
    finally:
        killer.join()
    system.settle()
    return Outcome(placed, killed)


def late_reversed_twice(system: System, orders: int) -> Outcome:
    """Deliver all events late, in reverse order and twice."""
    bus = UnorderedBus(system.events, late_seconds=1)
    fault = Fault("PutEvents", bus.put_events)
    with system.aws.inject(fault):
        placed = system.place(orders)
        system.settle()
        wait_until(bus.has_delivered_all, bool, deadline_seconds=60, pause_seconds=1)
    system.settle()
    return Outcome(placed, fault.struck)


def all_republished(system: System, orders: int) -> Outcome:
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
        placed = system.place(orders)
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


def mongodb_down(system: System, orders: int) -> Outcome:
    """MongoDB does not answer, then refuses connections, then is available again."""
    before = system.mongodb.struck
    with system.mongodb.silent():
        placed = system.place(orders)
        time.sleep(orders / 10)
    with system.mongodb.down():
        time.sleep(orders / 10)
    system.settle()
    return Outcome(placed, system.mongodb.struck - before)


def mongodb_slow(system: System, orders: int) -> Outcome:
    before = system.mongodb.struck
    with system.mongodb.slow(0.03):
        placed = system.place(orders)
        system.settle()
    return Outcome(placed, system.mongodb.struck - before)


def long_outage(system: System, _orders: int) -> Outcome:
    """Fail every write of all subscribers for longer than five deliveries. No message becomes a dead letter."""
    before = system.mongodb.struck
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, 1)
    fault = Fault("TransactWriteItems", FAILED, concerns=writes(*RESERVATIONS, *DECISIONS))
    with system.mongodb.down(), system.aws.inject(fault):
        placed = system.place(OUTAGE_ORDERS, cancel_share=0)
        time.sleep(OUTAGE_SECONDS)
    letters = system.dead_letter_depths()
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, VISIBILITY_SECONDS)
    system.settle()
    findings = [f"{count} dead letters in {name}" for name, count in letters.items()]
    return Outcome(placed, system.mongodb.struck - before + fault.struck, findings)


def messages_lost(system: System, orders: int) -> Outcome:
    """Lose the messages of all orders on their way to Customers, and again on the way back. The deadline resumes them."""
    to_customers, to_orders = "customers-subscriber", "orders-subscriber"
    with system.overdue_at_once() as resume:
        with system.stopped(to_customers):
            placed = system.place(orders, cancel_share=0)
            lost = system.lose(to_customers, orders)
        with system.stopped(to_orders):
            lost += system.lose(to_orders, orders, resume)
        wait_until(lambda: (resume(), system.pending())[1], lambda n: n == 0, 60, pause_seconds=1)
    system.settle()
    return Outcome(placed, lost)


def hot_customer(system: System, _orders: int) -> Outcome:
    """Create many orders of one customer at once."""
    placed = system.place(HOT_ORDERS, customers=1, clients=16)
    system.settle()
    return Outcome(placed, placed.answers)


SCENARIOS: dict[str, Scenario] = {
    "relay killed after PutEvents": under(
        lambda system: [
            killed(system, f"{service}-outbox-relay", "PutEvents", 4, publishes(service))
            for service in ("customers", "orders")
        ]
    ),
    "subscribers killed after their transaction": under(
        lambda system: [
            killed(system, "customers-subscriber", "TransactWriteItems", 2, writes(*RESERVATIONS)),
            killed(system, "orders-subscriber", "TransactWriteItems", 2, writes(*DECISIONS)),
        ]
    ),
    "projection killed at any moment": projection_killed,
    "API killed between transaction and answer": under(
        lambda system: [killed(system, "orders-api", "TransactWriteItems", 4, writes(*REQUESTS))]
    ),
    "events late, in reverse order, and twice": late_reversed_twice,
    "all events republished, newest first": all_republished,
    "EventBridge refuses some entries": under(
        lambda system: [Fault("PutEvents", some_entries_refused(system.events), share=0.5)]
    ),
    "EventBridge throttles, and answers 500": under(
        lambda _: [
            Fault("PutEvents", answered_with(400, "ThrottlingException"), share=0.4),
            Fault("PutEvents", answered_with(500, "InternalException"), share=0.3),
        ]
    ),
    "EventBridge does not answer": under(
        lambda _: [
            Fault("PutEvents", answer_never_sent, share=0.5, limit=2),
            Fault("PutEvents", answer_lost, share=0.4),
        ]
    ),
    "DynamoDB: TransactionConflict": under(
        lambda _: [Fault("TransactWriteItems", cancelled_for("TransactionConflict"), share=0.4)]
    ),
    "DynamoDB throttles": under(
        lambda system: [
            Fault("TransactWriteItems", cancelled_for("ThrottlingError"), share=0.2),
            Fault("TransactWriteItems", answered_with(400, "ThrottlingException"), share=0.2),
            Fault("PutItem", THROTTLED, share=0.4),
            Fault("GetItem", THROTTLED, share=0.4),
            Fault("BatchGetItem", THROTTLED, share=0.3),
            Fault("BatchGetItem", some_keys_unprocessed(system.dynamodb), share=0.5),
        ]
    ),
    "DynamoDB: outcome unknown": under(
        lambda _: [
            Fault("TransactWriteItems", slow(BEYOND_TIMEOUT_SECONDS), share=0.02),
            Fault("TransactWriteItems", answer_lost, share=0.2),
            Fault("PutItem", answer_lost, share=0.2),
            Fault("GetItem", request_lost, share=0.1),
            Fault("BatchGetItem", request_lost, share=0.1),
        ]
    ),
    "DynamoDB slow, and answers 500": under(
        lambda _: [
            *(Fault(operation, slow(0.3), share=0.2) for operation in OPERATIONS),
            *(Fault(operation, FAILED, share=0.1) for operation in OPERATIONS),
        ]
    ),
    "MongoDB silent, then down, then back": mongodb_down,
    "MongoDB slow": mongodb_slow,
    "outage longer than five deliveries": long_outage,
    "unreadable messages in queues and outbox, redriven": dead_letters.unreadable_messages,
    "dead letters redriven after the fault": dead_letters.redriven_after_the_fault,
    "messages of orders lost, then resumed by the deadline": messages_lost,
    "200 orders of one customer at once": hot_customer,
    "subscribers of both schema versions side by side": versions.side_by_side,
}
