"""Each operator's command on a stack with the fault that the command is for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.local.api_client import wait_until
from tests.ops.conftest import Operated

QUEUE = "customers-subscriber"
SUBSCRIBER, SUBSCRIBER_QUEUE = "CustomersSubscriberFunction", "CustomersSubscriberQueue"
PATIENCE_SECONDS = 60
COMPLETE = "the last event is in the view"

pytestmark = pytest.mark.timeout(300)


@contextmanager
def role_may_not(operated: Operated, role: str, action: str) -> Iterator[None]:
    """Deny the role an action until the end of the block."""
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam, named = operated.target.client("iam"), {"RoleName": operated.target.resource(role)}
    iam.put_role_policy(**named, PolicyName="mistake", PolicyDocument=json.dumps(policy))
    try:
        yield
    finally:
        iam.delete_role_policy(**named, PolicyName="mistake")


@contextmanager
def throttled(operated: Operated, function: str) -> Iterator[None]:
    """Set the function's reserved concurrency to 0 until the end of the block."""
    name = operated.target.resource(function)
    operated.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        operated.functions.delete_function_concurrency(FunctionName=name)


@contextmanager
def redelivered_soon(operated: Operated, most_receives: int | None = None) -> Iterator[None]:
    """Redeliver failed messages after a second, and make them dead letters after so many failures."""
    url = operated.target.queue_url(SUBSCRIBER_QUEUE)
    names = ["VisibilityTimeout", "RedrivePolicy"]
    before = operated.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    policy = json.loads(before["RedrivePolicy"])
    policy["maxReceiveCount"] = most_receives or policy["maxReceiveCount"]
    changed = {"VisibilityTimeout": "1", "RedrivePolicy": json.dumps(policy)}
    operated.sqs.set_queue_attributes(QueueUrl=url, Attributes=changed)
    try:
        yield
    finally:
        operated.sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


@contextmanager
def orders_keep_coming(operated: Operated, customer_id: int) -> Iterator[list[int]]:
    """Place one order after the other until the end of the block."""
    stop, placed, errors = threading.Event(), list[int](), list[Exception]()

    def order() -> None:
        while not (stop.is_set() or errors):
            try:
                placed.append(operated.api.create_order(customer_id, 1))
            except Exception as error:  # noqa: BLE001
                errors.append(error)

    thread = threading.Thread(target=order)
    thread.start()
    try:
        yield placed
    finally:
        stop.set()
        thread.join()
    assert not errors


def run_until(operated: Operated, pattern: str, *command: str, **environment: str) -> str:
    """Repeat the command until its output has the pattern. Return the output."""
    return wait_until(
        lambda: operated.run(*command, **environment).stdout,
        lambda output: re.search(pattern, output, re.DOTALL | re.MULTILINE) is not None,
        PATIENCE_SECONDS,
    )


def states(operated: Operated, orders: list[int]) -> set[str]:
    return {operated.api.get_order(order)["orderState"] for order in orders}


def test_dead_letters_are_shown_redriven_edited_and_discarded(
    operated: Operated, a_customer: Callable[[], int], tmp_path: Path
) -> None:
    customer, url = a_customer(), operated.target.queue_url(SUBSCRIBER_QUEUE)
    for text in ("edited", "discarded"):
        operated.sqs.send_message(QueueUrl=url, MessageBody=text)
    run_until(operated, rf"^{QUEUE} +2 +not JSON", "dlq")  # before messages are redelivered soon
    with (
        redelivered_soon(operated, most_receives=2),
        role_may_not(operated, "CustomersSubscriberRole", "dynamodb:PutItem"),
    ):
        orders = [operated.api.create_order(customer, 1) for _ in range(3)]
        run_until(operated, rf"^{QUEUE} +3 +the handler failed each time; see its log", "dlq")
        stuck = operated.run("stuck", OLDER_THAN="0").stdout
    for order in orders:
        assert re.search(rf"{order} .*OrderCreated is a dead letter in {QUEUE}", stuck)
    letters, file = operated.run("dlq", QUEUE=QUEUE).stdout, str(tmp_path / "letter.json")
    (letter, *_) = re.findall(r"^([0-9a-f-]{36}) +OrderCreated", letters, re.MULTILINE)
    shown = operated.run("dlq", SHOW=letter, SAVE=file).stdout
    assert re.search(r"Order \d+ is PENDING", shown)
    assert "OrdersOutbox has this event" in shown

    redriven = operated.run("redrive", QUEUE=QUEUE)

    assert redriven.returncode == 0, redriven
    assert "5 sent back, 0 stayed, 0 left" in redriven.stdout
    operated.settle()
    assert states(operated, orders) == {"APPROVED"}
    letters = run_until(operated, "(not JSON.*){2}", "dlq", QUEUE=QUEUE)
    edited, discarded = re.findall(r"^[0-9a-f-]{36}", letters, re.MULTILINE)
    # The saved event was handled, so the edited letter is a duplicate.
    assert operated.run("redrive", QUEUE=QUEUE, MESSAGE=edited, EDIT=file).returncode == 0
    assert operated.run("discard", QUEUE=QUEUE, MESSAGE=discarded).returncode == 130, "it asks"
    assert operated.run("discard", QUEUE=QUEUE, MESSAGE=discarded, YES="1").returncode == 0
    assert operated.audit_is_clean()
    assert "all empty" in operated.run("dlq").stdout


def test_a_deleted_view_is_rebuilt_while_orders_are_placed(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    customers = [a_customer() for _ in range(3)]
    orders = [operated.api.create_order(customer, 1) for customer in customers for _ in range(5)]
    operated.api.create_order(customers[0], 1000)
    operated.api.create_order(1, 1)
    operated.settle()
    operated.api.cancel_order(orders[0])
    assert operated.audit_is_clean()
    before = operated.view()

    with orders_keep_coming(operated, a_customer()) as placed:
        with operated.mongodb() as database:
            database.client.drop_database(database.name)
        rebuilt = operated.run("rebuild-history")
        assert placed
    assert rebuilt.returncode == 0, rebuilt
    assert "8 of 8 parts done" in rebuilt.stdout
    assert operated.audit_is_clean()
    after = operated.view()
    for name, documents in before.items():
        assert {key: after[name].get(key) for key in documents} == documents
    assert after["orders"].keys() >= set(placed)

    assert operated.run("rebuild-history", DROP="1").returncode == 130, "it asks"
    assert operated.view() == after
    emptied = operated.run("rebuild-history", "--drop", "--yes", "--segments", "2")

    assert emptied.returncode == 0, emptied
    assert operated.view() == after
    read = re.findall(r"^([\d,]+) events read", emptied.stdout, re.MULTILINE)[-1]
    items = operated.items()
    written = len(items["CustomersOutbox"]) + len(items["OrdersOutbox"])
    assert int(read.replace(",", "")) == written
    with operated.mongodb() as database:
        assert "rebuilding" not in database.list_collection_names(), "the progress is deleted"
        fields = str([index["key"] for index in database["orders"].list_indexes()])
    assert "customerKey" in fields
    assert "stateKey" in fields


def test_a_replay_of_the_archive_restores_the_view_and_changes_nothing_else(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    """The emulator replays to every rule, so the services get their old events, too."""
    events, name = operated.target.client("events"), "archive"
    bus = events.describe_event_bus(Name=operated.target.resource("EventBus"))["Arn"]
    archive = events.create_archive(ArchiveName=name, EventSourceArn=bus)["ArchiveArn"]
    customer = a_customer()
    orders = [operated.api.create_order(customer, total) for total in (1, 1000)]
    operated.settle()
    operated.api.cancel_order(orders[0])
    assert operated.audit_is_clean()
    before, items = operated.view(), operated.items()
    with operated.mongodb() as database:
        database.client.drop_database(database.name)

    year = timedelta(days=365)
    events.start_replay(
        ReplayName="replay", EventSourceArn=archive, Destination={"Arn": bus},
        EventStartTime=datetime.now(UTC) - year, EventEndTime=datetime.now(UTC) + year,
    )  # fmt: skip

    expected = [before["customers"][customer], *(before["orders"][order] for order in orders)]
    wait_until(
        lambda: [
            operated.view()["customers"].get(customer),
            *(operated.view()["orders"].get(order) for order in orders),
        ],
        lambda found: found == expected,
        PATIENCE_SECONDS,
    )
    operated.settle()
    assert operated.items() == items
    events.delete_archive(ArchiveName=name)
    assert operated.run("rebuild-history").returncode == 0
    assert operated.view() == before


def test_an_interrupted_rebuild_continues(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    a_customer()
    operated.settle()
    operated.functions.invoke(
        FunctionName=operated.target.resource("OrderHistoryRebuildFunction"),
        Payload=json.dumps({"command": "begin", "segments": 3}),
    )

    continued = operated.run("rebuild-history")

    assert continued.returncode == 0, continued
    assert "Continuing the rebuild that was interrupted" in continued.stdout
    assert "6 of 6 parts done" in continued.stdout
    assert operated.audit_is_clean()


def test_orders_of_a_stopped_subscriber_are_found_and_resumed(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    customer = a_customer()
    with operated.stopped(SUBSCRIBER):
        orders = [operated.api.create_order(customer, 1) for _ in range(3)]
        reason = "OrderCreated is published; customers-subscriber is stopped: its event source mapping is Disabled"
        run_until(
            operated,
            rf"({reason}; messages in its queue: 3.*){{3}}",
            "stuck",
            OLDER_THAN="0",
        )
        stuck = operated.run("stuck", OLDER_THAN="0")
        assert stuck.returncode == 1
        assert all(str(order) in stuck.stdout for order in orders)
        assert operated.run("stuck", OLDER_THAN="3600").returncode == 0

        refused = operated.run("resume", OLDER_THAN="0")
        assert refused.returncode == 1
        assert refused.stdout.count("not resumed: customers-subscriber is stopped") == 3
        # The messages are lost as well.
        operated.sqs.purge_queue(QueueUrl=operated.target.queue_url(SUBSCRIBER_QUEUE))
    assert operated.run("stuck", OLDER_THAN="0").stdout.count("the message is lost") == 3

    resumed = operated.run("resume", OLDER_THAN="0")

    assert resumed.returncode == 0, resumed
    assert resumed.stdout.count("published OrderCreated") == 3
    operated.settle()
    assert states(operated, orders) == {"APPROVED"}
    assert operated.run("stuck", OLDER_THAN="0").returncode == 0
    assert operated.audit_is_clean()


def test_the_cause_of_a_stuck_order_is_named(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    customer, orders = a_customer(), list[int]()
    answered = "Customers answered with CustomerCreditReserved; "
    for fault, cause in (
        (
            role_may_not(operated, "OrdersOutboxRelayRole", "events:PutEvents"),
            "OrderCreated is in the outbox and not published: orders-outbox-relay fails: .*AccessDenied",
        ),
        (
            role_may_not(operated, "CustomersSubscriberRole", "dynamodb:PutItem"),
            "OrderCreated is published; customers-subscriber fails: .*AccessDenied",
        ),
        (
            throttled(operated, "OrdersSubscriberFunction"),
            f"{answered}.* is published; orders-subscriber is stopped: its reserved concurrency is 0",
        ),
    ):
        with redelivered_soon(operated), fault:
            orders.append(operated.api.create_order(customer, 1))
            run_until(operated, rf"(?-s:^ *{orders[-1]} .*{cause})", "stuck", OLDER_THAN="0")

    operated.run("resume", OLDER_THAN="0")

    assert operated.audit_is_clean()
    assert states(operated, orders) == {"APPROVED"}


def test_a_trace_has_every_step_and_a_timeline_for_each_request(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    body = {"customerId": a_customer(), "orderTotal": {"amount": 1}}
    answer = operated.api.request("POST", "/orders", json=body)
    order = answer.json()["orderId"]

    steps = {
        ("orders-api", "POST /orders received"),
        ("orders-api", "request handled: 200"),
        ("Orders", "OrderCreated written, version 1"),
        ("orders-outbox-relay", "OrderCreated: events published"),
        ("customers-subscriber", "OrderCreated: batch handled"),
        ("Customers", "CustomerCreditReserved written, version 2"),
        ("customers-outbox-relay", "CustomerCreditReserved: events published"),
        ("orders-subscriber", "CustomerCreditReserved: batch handled"),
        ("Orders", "OrderApproved written, version 2"),
        ("orders-outbox-relay", "OrderApproved: events published"),
        ("order-history-projection", "OrderCreated: batch handled"),
        ("order-history-projection", "CustomerCreditReserved: batch handled"),
        ("order-history-projection", "OrderApproved: batch handled"),
    }
    traced = wait_until(  # functions log after their effects
        lambda: operated.run("trace", ORDER=str(order)).stdout,
        lambda text: (
            steps <= set(re.findall(r"^ *[\d:.]+ +\+\d+ +(\S+) +(.*?) *$", text, re.MULTILINE))
        ),
        PATIENCE_SECONDS,
    )

    assert COMPLETE in traced
    assert ", again" not in traced
    correlation_id = answer.headers["X-Correlation-Id"]
    assert correlation_id in traced
    assert operated.run("trace", CORRELATION=correlation_id).stdout == traced

    operated.api.cancel_order(order)
    released = f"{COMPLETE}.*CustomerCreditReleased: batch handled.*{COMPLETE}"
    traced = run_until(operated, released, "trace", ORDER=str(order))

    assert "OrderCancelled written, version 3" in traced
    assert re.search("order-history-projection +CustomerCreditReleased: ", traced)
