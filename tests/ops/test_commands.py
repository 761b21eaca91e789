"""Each operator's command on a stack with the fault that the command is for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.api_client import wait_until
from infra.ops.events import Outboxes
from infra.ops.stuck import StuckOrders
from tests.ops.conftest import Documents, Done, Operated

QUEUE = "customers-subscriber"
PATIENCE_SECONDS = 60

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
def soon_dead(operated: Operated, queue: str) -> Iterator[None]:
    """Redeliver failed messages after a second, and make them dead letters after two failures."""
    url, names = operated.queue_url(queue), ["VisibilityTimeout", "RedrivePolicy"]
    before = operated.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    policy = json.dumps({**json.loads(before["RedrivePolicy"]), "maxReceiveCount": 2})
    changed = {"VisibilityTimeout": "1", "RedrivePolicy": policy}
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
        while not stop.is_set():
            try:
                placed.append(operated.api.create_order(customer_id, 1))
            except Exception as error:  # noqa: BLE001
                errors.append(error)
                return

    thread = threading.Thread(target=order)
    thread.start()
    try:
        yield placed
    finally:
        stop.set()
        thread.join()
    assert not errors


def of(documents: Documents, before: Documents) -> Documents:
    """Return the documents with the ids of `before`."""
    return {
        name: {key: documents[name].get(key) for key in known} for name, known in before.items()
    }


# Dead letters


def test_dead_letters_are_shown_and_redriven_after_the_fix(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    customer = a_customer()
    operated.sqs.send_message(QueueUrl=operated.queue_url(QUEUE), MessageBody="?")
    with (
        soon_dead(operated, QUEUE),
        role_may_not(operated, "CustomersSubscriberRole", "dynamodb:PutItem"),
    ):
        orders = [operated.api.create_order(customer, 1) for _ in range(3)]
        listed = wait_until(
            lambda: operated.run("dlq"),
            lambda done: groups(done) == {("1", "not"), ("3", "the")},
            PATIENCE_SECONDS,
        )
        stuck = operated.run("stuck", OLDER_THAN="0")
    assert "not JSON" in listed.output
    assert "the handler failed each time; see its log" in listed.output
    for order in orders:
        assert re.search(rf"{order} .*OrderCreated is a dead letter in {QUEUE}", stuck.output)
    (letter, *_) = re.findall(r"^([0-9a-f-]{36}) +OrderCreated", dlq(operated), re.MULTILINE)
    shown = operated.run("dlq", SHOW=letter).output
    assert re.search(r"Order \d+ is PENDING", shown)
    assert "OrdersOutbox has this event" in shown

    redriven = operated.run("redrive", QUEUE=QUEUE)

    assert redriven.exit_code == 0, redriven
    assert "4 sent back, 0 stayed, 0 left" in redriven.output
    operated.settle()
    assert {operated.api.get_order(order)["orderState"] for order in orders} == {"APPROVED"}
    wait_until(lambda: dlq(operated), lambda text: "not JSON" in text, PATIENCE_SECONDS)
    (unreadable,) = re.findall(r"^[0-9a-f-]{36}", dlq(operated), re.MULTILINE)
    assert operated.run("discard", QUEUE=QUEUE, MESSAGE=unreadable).exit_code == 130, "it asks"
    assert operated.run("discard", QUEUE=QUEUE, MESSAGE=unreadable, YES="1").exit_code == 0
    assert "all empty" in operated.run("dlq").output
    assert operated.audit_is_clean()


def test_an_edited_letter_is_handled(
    operated: Operated, a_customer: Callable[[], int], tmp_path: Path
) -> None:
    customer, file = a_customer(), tmp_path / "letter.json"
    mapping = operated.mapping_of("CustomersSubscriberFunction")
    operated.functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    try:
        order = operated.api.create_order(customer, 1)
        url, dead = (operated.queue_url(f"{QUEUE}{end}") for end in ("", "-dead-letters"))
        (message,) = wait_until(
            lambda: operated.sqs.receive_message(QueueUrl=url).get("Messages", []), bool
        )
        operated.sqs.purge_queue(QueueUrl=url)
        good = json.loads(message["Body"])
        bad = {**good, "detail-type": "\x1b[31mOrderMade"}
        letter = operated.sqs.send_message(QueueUrl=dead, MessageBody=json.dumps(bad))["MessageId"]
        assert operated.run("dlq", SHOW=letter, SAVE=str(file)).exit_code == 0
        assert json.loads(file.read_text()) == bad
        file.write_text(json.dumps(good))
        redriven = operated.run("redrive", QUEUE=QUEUE, MESSAGE=letter, EDIT=str(file))
        assert redriven.exit_code == 0, redriven
    finally:
        operated.functions.update_event_source_mapping(UUID=mapping, Enabled=True)

    assert operated.audit_is_clean()
    assert operated.api.get_order(order)["orderState"] == "APPROVED"
    assert "all empty" in operated.run("dlq").output


def test_dead_letters_of_a_relay_are_published_and_malformed_ones_stay(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    url = operated.queue_url("orders-outbox-relay-dead-letters")
    operated.settle()
    order = operated.api.create_order(a_customer(), 1)
    operated.settle()
    (created, *_) = Outboxes(operated.target).of_order(order)
    keys = {name: created.item[name] for name in ("aggregateId", "eventId")}
    arrival = created.occurred_at.isoformat()
    times = {f"approximateArrivalOf{end}Record": arrival for end in ("First", "Last")}
    for body in (
        {"DDBStreamBatchInfo": 1},
        {"DDBStreamBatchInfo": times},
        {"dynamodb": {"Keys": keys}},
    ):
        operated.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))

    redriven = operated.run("redrive", QUEUE="orders-outbox-relay")

    assert redriven.exit_code == 1
    assert "2 sent back, 1 stayed, 0 left" in redriven.output
    wait_until(
        lambda: operated.run("trace", ORDER=str(order)).output,
        lambda text: text.count("OrderCreated: events published, again") == 2,
        PATIENCE_SECONDS,
    )
    operated.sqs.purge_queue(QueueUrl=url)
    assert operated.audit_is_clean()


def groups(done: Done) -> set[tuple[str, str]]:
    """Return count and first word of the reason of each group of the queue."""
    return set(re.findall(rf"^{QUEUE} +(\d+) +(\w+)", done.output, re.MULTILINE))


def dlq(operated: Operated) -> str:
    return operated.run("dlq", QUEUE=QUEUE).output


# The view


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
        with operated.mongodb() as client:
            client.drop_database(client.get_default_database().name)
        rebuilt = operated.run("rebuild-history")
        assert placed
    assert rebuilt.exit_code == 0, rebuilt
    assert "8 of 8 parts done" in rebuilt.output
    assert operated.audit_is_clean()
    after = operated.view()
    assert of(after, before) == before
    assert after["orders"].keys() >= set(placed)

    emptied = operated.run("rebuild-history", "--drop", "--yes", "--segments", "2")

    assert emptied.exit_code == 0, emptied
    assert operated.view() == after
    read = re.findall(r"^([\d,]+) events read", emptied.output, re.MULTILINE)[-1]
    outboxes = operated.items()
    assert int(read.replace(",", "")) == sum(
        len(outboxes[table]) for table in ("CustomersOutbox", "OrdersOutbox")
    )
    with operated.mongodb() as client:
        database = client.get_default_database()
        assert "rebuilding" not in database.list_collection_names(), (
            "the progress is deleted at the end"
        )
        fields = str([index["key"] for index in database["orders"].list_indexes()])
    assert "customerKey" in fields
    assert "stateKey" in fields


def test_the_view_is_deleted_only_after_a_confirmation(operated: Operated) -> None:
    before = operated.view()

    refused = operated.run("rebuild-history", DROP="1")

    assert refused.exit_code == 130
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

    assert continued.exit_code == 0, continued
    assert "Continuing the rebuild that was interrupted" in continued.output
    assert "6 of 6 parts done" in continued.output
    assert operated.audit_is_clean()


# Stuck orders


def test_orders_of_a_stopped_subscriber_are_found_and_resumed(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    customer = a_customer()
    mapping = operated.mapping_of("CustomersSubscriberFunction")
    operated.functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    try:
        orders = [operated.api.create_order(customer, 1) for _ in range(3)]
        queue = operated.queue_url("customers-subscriber")
        reason = "OrderCreated is published; customers-subscriber is stopped"
        stuck = wait_until(
            lambda: operated.run("stuck", OLDER_THAN="0"),
            lambda done: done.output.count(reason) == 3,
            PATIENCE_SECONDS,
        )
        assert stuck.exit_code == 1
        assert "its event source mapping is Disabled; messages in its queue: 3" in stuck.output
        assert all(str(order) in stuck.output for order in orders)
        assert operated.run("stuck", OLDER_THAN="3600").exit_code == 0

        refused = operated.run("resume", OLDER_THAN="0")
        assert refused.exit_code == 1
        assert refused.output.count("not resumed: customers-subscriber is stopped") == 3
        operated.sqs.purge_queue(QueueUrl=queue)  # the messages are lost as well
    finally:
        operated.functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    assert operated.run("stuck", OLDER_THAN="0").output.count("the message is lost") == 3

    resumed = operated.run("resume", OLDER_THAN="0")

    assert resumed.exit_code == 0, resumed
    assert resumed.output.count("published OrderCreated") == 3
    operated.settle()
    assert {operated.api.get_order(order)["orderState"] for order in orders} == {"APPROVED"}
    assert operated.run("stuck", OLDER_THAN="0").exit_code == 0
    assert operated.audit_is_clean()


def test_an_order_that_waits_for_a_throttled_subscriber_is_found(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    name = operated.target.resource("OrdersSubscriberFunction")
    customer = a_customer()
    operated.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        order = operated.api.create_order(customer, 1)
        reason = (
            "Customers answered with CustomerCreditReserved; CustomerCreditReserved is published"
        )
        stuck = wait_until(
            lambda: operated.run("stuck", OLDER_THAN="0"),
            lambda done: reason in done.output,
            PATIENCE_SECONDS,
        )
        assert "orders-subscriber is stopped: its reserved concurrency is 0" in stuck.output
    finally:
        operated.functions.delete_function_concurrency(FunctionName=name)

    operated.run("resume", ORDER=str(order))

    assert operated.audit_is_clean()
    assert operated.api.get_order(order)["orderState"] == "APPROVED"


def test_resuming_decided_orders_changes_nothing(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    customer = a_customer()
    approved, rejected, cancelled = (
        operated.api.create_order(customer, total) for total in (1, 1000, 2)
    )
    operated.settle()
    operated.api.cancel_order(cancelled)
    assert operated.audit_is_clean()
    before, view = operated.items(), operated.view()

    for order, state in ((approved, "APPROVED"), (rejected, "REJECTED"), (cancelled, "CANCELLED")):
        resumed = operated.run("resume", ORDER=str(order))
        assert resumed.exit_code == 0
        assert f"is {state}: nothing to do" in resumed.output
    # An order may be decided just then: all its events are published again.
    orders = StuckOrders(operated.target)
    for order in (approved, rejected, cancelled):
        for timeline_event in Outboxes(operated.target).saga_of_order(order):
            orders.republish(timeline_event)

    assert operated.audit_is_clean()
    assert operated.items() == before
    assert operated.view() == view


# Traces


def complete_trace(operated: Operated, timelines: int = 1, **environment: str) -> Done:
    """Return the trace when the logs name its last event."""
    return wait_until(
        lambda: operated.run("trace", **environment),
        lambda done: done.output.count("the last event is in the view") == timelines,
        PATIENCE_SECONDS,
    )


def test_a_trace_has_every_step_of_the_saga(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    body = {"customerId": a_customer(), "orderTotal": {"amount": 1}}
    answer = operated.api.request("POST", "/orders", json=body)
    order = answer.json()["orderId"]

    traced = complete_trace(operated, ORDER=str(order))

    rows = [
        re.split(r"  +", line.strip(), maxsplit=2)[2:]
        for line in traced.output.splitlines()
        if re.match(r"[\d:.]+ +\+", line)
    ]
    found = {tuple(re.split(r"  +", row[0], maxsplit=1)) for row in rows}
    assert found >= {
        ("orders-api", "POST /orders received"),
        ("Orders", "OrderCreated written, version 1"),
        ("orders-outbox-relay", "OrderCreated: events published"),
        ("customers-subscriber", "OrderCreated: batch handled"),
        ("Customers", "CustomerCreditReserved written, version 2"),
        ("customers-outbox-relay", "CustomerCreditReserved: events published"),
        ("orders-subscriber", "CustomerCreditReserved: batch handled"),
        ("Orders", "OrderApproved written, version 2"),
        ("orders-outbox-relay", "OrderApproved: events published"),
        ("order-history-projection", "OrderApproved: batch handled"),
    }
    assert ", again" not in traced.output
    correlation_id = answer.headers["X-Correlation-Id"]
    assert correlation_id in traced.output
    assert operated.run("trace", CORRELATION=correlation_id).output == traced.output


def test_the_trace_of_a_cancelled_order_has_a_timeline_for_each_request(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    order = operated.api.create_order(a_customer(), 1)
    operated.settle()
    operated.api.cancel_order(order)

    traced = complete_trace(operated, timelines=2, ORDER=str(order))

    assert "OrderCancelled written, version 3" in traced.output
    assert re.search("order-history-projection +CustomerCreditReleased: ", traced.output)


def test_a_trace_shows_repeated_deliveries(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    order = operated.api.create_order(a_customer(), 1)
    operated.settle()
    orders = StuckOrders(operated.target)
    orders.republish(Outboxes(operated.target).of_order(order)[0])

    wait_until(
        lambda: operated.run("trace", ORDER=str(order)).output,
        lambda text: (
            "OrderCreated: events published, again" in text
            and re.search("customers-subscriber +OrderCreated: .*, again", text) is not None
        ),
        PATIENCE_SECONDS,
    )


# All targets


def test_the_commands_are_the_same_on_every_target(operated: Operated) -> None:
    url = operated.stack.aws_endpoint_url
    credentials = {"AWS_PROFILE": None, "AWS_DEFAULT_REGION": "us-east-1"}
    for arguments, environment in (
        ((), {"TARGET": "embedded"}),
        ((), {"TARGET": "localstack", "AWS_ENDPOINT_URL": url}),
        (("--endpoint-url", url), {"TARGET": "aws", **credentials}),
    ):
        done = operated.run("stuck", *arguments, **environment, OLDER_THAN="3600")
        assert done.exit_code == 0, done
        assert operated.run("dlq", *arguments, **environment) == operated.run("dlq")


def test_a_mistake_is_answered_with_one_line(operated: Operated) -> None:
    for command, environment, text in (
        ("resume", {"ORDER": "1"}, "There is no order 1"),
        ("dlq", {"STACK_NAME": "nothing"}, "There is no stack nothing"),
        ("redrive", {"QUEUE": "nobody"}, "QUEUE=nobody is no queue"),
        ("discard", {"QUEUE": QUEUE}, "(set MESSAGE)"),
    ):
        done = operated.run(command, **environment)
        assert (done.exit_code, done.output) == (1, ""), done
        assert text in done.errors
        assert len(done.errors.splitlines()) == 1
