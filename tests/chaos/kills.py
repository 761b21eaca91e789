"""Functions killed in the middle of their work."""

from __future__ import annotations

import threading
import time

from tests.chaos.aws_faults import worker_killed
from tests.chaos.aws_proxy import Fault
from tests.chaos.outbox import is_from, writes
from tests.chaos.scenario import Outcome, Size, clients, under
from tests.chaos.system import System

PROJECTION_KILLED_SECONDS = 6.0
PAUSE_SECONDS = 0.7


def relay_killed(system: System, size: Size) -> Outcome:
    """The events are on the bus, and the relay does not know."""
    return under(
        system,
        size,
        *(
            Fault(
                "PutEvents",
                worker_killed(system.workers, f"{service}-outbox-relay"),
                share=0.3,
                limit=4,
                concerns=is_from(service),
            )
            for service in ("customers", "orders")
        ),
    )


def subscriber_killed(system: System, size: Size) -> Outcome:
    """The answer is in the outbox, and the message comes again. So do those that others were handling."""
    answers = {
        "customers-subscriber": ("CustomerCreditReserved", "CustomerCreditReleased"),
        "orders-subscriber": ("OrderApproved", "OrderRejected"),
    }
    return under(
        system,
        size,
        *(
            Fault(
                "TransactWriteItems",
                worker_killed(system.workers, function),
                share=0.2,
                limit=2,
                concerns=writes(*events),
            )
            for function, events in answers.items()
        ),
    )


def projection_killed(system: System, size: Size) -> Outcome:
    """At any moment, for a while: between two writes to the view, or before the message is deleted."""
    killed = 0

    def kill_now_and_then() -> None:
        nonlocal killed
        end = time.monotonic() + PROJECTION_KILLED_SECONDS
        while time.monotonic() < end:
            time.sleep(PAUSE_SECONDS)
            killed += system.workers.kill("order-history-projection")

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        placed = clients(system).place(size.orders)
    finally:
        killer.join()
    system.settle()
    return Outcome(placed, killed)


def api_killed(system: System, size: Size) -> Outcome:
    """The order is there, and the client does not know: it asks again with the same Idempotency-Key."""
    fault = Fault(
        "TransactWriteItems",
        worker_killed(system.workers, "orders-api"),
        share=0.2,
        limit=4,
        concerns=writes("OrderCreated", "OrderCancelled"),
    )
    return under(system, size, fault)
