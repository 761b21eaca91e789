"""What the functions depend on, failing them: EventBridge, DynamoDB, MongoDB."""

from __future__ import annotations

from tests.chaos.aws_faults import (
    answer_lost,
    answer_never_sent,
    answered_with,
    cancelled_for,
    request_lost,
    slow,
    some_entries_refused,
    some_keys_unprocessed,
)
from tests.chaos.aws_proxy import Fault
from tests.chaos.outbox import writes
from tests.chaos.scenario import Outcome, Size, clients, under, wait
from tests.chaos.system import SUBSCRIBERS, VISIBILITY_SECONDS, System

# The read timeout of the functions' DynamoDB clients is 3 seconds.
BEYOND_TIMEOUT_SECONDS = 4.0
DYNAMODB_DELAY_SECONDS = 0.3
MONGODB_DELAY_SECONDS = 0.03
OUTAGE_ORDERS = 12
OUTAGE_SECONDS = 15.0
"""More than five deliveries, one second apart."""
OPERATIONS = ("TransactWriteItems", "PutItem", "GetItem", "BatchGetItem")


def entries_refused(system: System, size: Size) -> Outcome:
    return under(system, size, Fault("PutEvents", some_entries_refused(system.events), share=0.5))


def bus_throttles(system: System, size: Size) -> Outcome:
    return under(
        system,
        size,
        Fault("PutEvents", answered_with(400, "ThrottlingException"), share=0.4),
        Fault("PutEvents", answered_with(500, "InternalException"), share=0.3),
    )


def bus_does_not_answer(system: System, size: Size) -> Outcome:
    return under(
        system,
        size,
        Fault("PutEvents", answer_never_sent, share=0.5, limit=2),
        Fault("PutEvents", answer_lost, share=0.4),
    )


def transactions_in_conflict(system: System, size: Size) -> Outcome:
    conflict = cancelled_for("TransactionConflict")
    return under(system, size, Fault("TransactWriteItems", conflict, share=0.4))


def dynamodb_throttles(system: System, size: Size) -> Outcome:
    too_fast = answered_with(400, "ProvisionedThroughputExceededException")
    return under(
        system,
        size,
        Fault("TransactWriteItems", cancelled_for("ThrottlingError"), share=0.2),
        Fault("TransactWriteItems", answered_with(400, "ThrottlingException"), share=0.2),
        Fault("PutItem", too_fast, share=0.4),
        Fault("GetItem", too_fast, share=0.4),
        Fault("BatchGetItem", too_fast, share=0.3),
        Fault("BatchGetItem", some_keys_unprocessed(system.dynamodb), share=0.5),
    )


def outcome_unknown(system: System, size: Size) -> Outcome:
    """Writes are done, and the answer is lost or comes too late."""
    return under(
        system,
        size,
        Fault("TransactWriteItems", slow(BEYOND_TIMEOUT_SECONDS), share=0.02),
        Fault("TransactWriteItems", answer_lost, share=0.2),
        Fault("PutItem", answer_lost, share=0.2),
        Fault("GetItem", request_lost, share=0.1),
        Fault("BatchGetItem", request_lost, share=0.1),
    )


def dynamodb_slow(system: System, size: Size) -> Outcome:
    failed = answered_with(500, "InternalServerError")
    return under(
        system,
        size,
        *(Fault(operation, slow(DYNAMODB_DELAY_SECONDS), share=0.2) for operation in OPERATIONS),
        *(Fault(operation, failed, share=0.1) for operation in OPERATIONS),
    )


def mongodb_down(system: System, size: Size) -> Outcome:
    """It does not answer, then it cannot be reached, then it is back."""
    cut = system.mongodb.cut
    half = size.mongodb_down_seconds / 2
    with system.mongodb.silent():
        placed = clients(system).place(size.orders)
        wait(system, "MongoDB goes down", half)
    with system.mongodb.down():
        wait(system, "MongoDB comes back", half)
    system.settle()
    return Outcome(placed, system.mongodb.cut - cut)


def outage_longer_than_five_receives(system: System, size: Size) -> Outcome:
    """Fail every write of all subscribers for longer than five deliveries. Nothing may become a dead letter."""
    cut = system.mongodb.cut
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, 1)
    refused = answered_with(500, "InternalServerError")
    answers = writes(
        "OrderApproved",
        "OrderRejected",
        "CustomerCreditReserved",
        "CustomerCreditReservationFailed",
    )
    faults = [Fault("TransactWriteItems", refused, concerns=answers)]
    with system.mongodb.down(), system.aws.inject(*faults):
        placed = clients(system).place(OUTAGE_ORDERS, cancel_share=0)
        wait(system, "the outage ends", OUTAGE_SECONDS)
    letters = system.dead_letter_depths()
    for queue in SUBSCRIBERS:
        system.set_redelivery(queue, VISIBILITY_SECONDS)
    system.settle()
    findings = [f"{count} dead letters in {name}" for name, count in letters.items()]
    struck = system.mongodb.cut - cut + sum(fault.struck for fault in faults)
    return Outcome(placed, struck, findings)


def mongodb_slow(system: System, size: Size) -> Outcome:
    delayed = system.mongodb.delayed
    with system.mongodb.slow(MONGODB_DELAY_SECONDS):
        placed = clients(system).place(size.orders)
        system.settle()
    return Outcome(placed, system.mongodb.delayed - delayed)
