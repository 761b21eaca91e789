"""What somebody on call does, and sees: every command as its user runs it, on a stack that has the trouble it is for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from infra.local.api_client import wait_until
from infra.ops.stuck import StuckOrders
from tests.ops.conftest import Documents, Done, Operated

DEAD_LETTERS = "customers-and-orders-customers-subscriber-dead-letters"
PATIENCE_SECONDS = 60

pytestmark = pytest.mark.timeout(300)


@contextmanager
def role_may_not(operated: Operated, role: str, action: str) -> Iterator[None]:
    """Somebody has taken a permission away, until the end of the block."""
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam, named = operated.target.client("iam"), {"RoleName": operated.target.resource(role)}
    iam.put_role_policy(**named, PolicyName="mistake", PolicyDocument=json.dumps(policy))
    try:
        yield
    finally:
        iam.delete_role_policy(**named, PolicyName="mistake")


@contextmanager
def brought_again_at_once(operated: Operated, queue: str) -> Iterator[None]:
    """A message that is not handled comes again after a second, so that its queue soon gives it up."""
    url = operated.queue_url(queue)
    operated.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    try:
        yield
    finally:
        operated.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "60"})


@contextmanager
def orders_keep_coming(operated: Operated, customer_id: int) -> Iterator[list[int]]:
    """Somebody orders, one order after the other, until the end of the block."""
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
    """Those documents that were there before."""
    return {
        name: {key: documents[name].get(key) for key in known} for name, known in before.items()
    }


# Dead letters


def test_what_a_subscriber_could_not_handle_is_shown_and_redriven_after_the_fix(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    customer = a_customer()
    operated.sqs.send_message(QueueUrl=operated.queue_url("customers-subscriber"), MessageBody="?")
    wait_until(
        lambda: operated.run("dlq"), lambda done: "not JSON" in done.output, PATIENCE_SECONDS
    )
    with (
        brought_again_at_once(operated, "customers-subscriber"),
        role_may_not(operated, "CustomersSubscriberRole", "dynamodb:PutItem"),
    ):
        orders = [operated.api.create_order(customer, 1) for _ in range(3)]
        listed = wait_until(
            lambda: operated.run("dlq"),
            lambda done: done.output.count(DEAD_LETTERS) == 4,
            PATIENCE_SECONDS,
        )
        stuck = operated.run("stuck", OLDER_THAN="0")
    assert listed.output.count("OrderCreated") == 3
    assert "not JSON" in listed.output
    assert "not handled, each time it came" in listed.output
    for order in orders:
        assert re.search(rf"{order} .*OrderCreated is in {DEAD_LETTERS}", stuck.output)

    redriven = operated.run("redrive", QUEUE="customers-subscriber")

    assert redriven.exit_code == 0, redriven
    assert "4 sent back, 0 stayed" in redriven.output
    operated.settle()
    assert {operated.api.get_order(order)["orderState"] for order in orders} == {"APPROVED"}
    left = wait_until(
        lambda: operated.run("dlq"), lambda done: "not JSON" in done.output, PATIENCE_SECONDS
    )
    assert left.output.count(DEAD_LETTERS) == 1, "what is no event comes back"
    operated.sqs.purge_queue(QueueUrl=operated.queue_url("customers-subscriber-dead-letters"))
    assert "all empty" in operated.run("dlq").output
    assert operated.audit_is_clean()


# The view


def test_a_view_that_was_lost_is_rebuilt_while_orders_keep_coming(
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
        assert "rebuilding" not in database.list_collection_names(), "nothing is left of it"
        fields = str([index["key"] for index in database["orders"].list_indexes()])
    assert "customerKey" in fields
    assert "stateKey" in fields


def test_the_view_is_emptied_only_if_that_is_meant(operated: Operated) -> None:
    before = operated.view()

    refused = operated.run("rebuild-history", DROP="1")

    assert refused.exit_code == 130
    assert operated.view() == before


def test_a_rebuild_goes_on_where_it_was_interrupted(
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
    assert "Going on with the rebuild that was interrupted" in continued.output
    assert "6 of 6 parts done" in continued.output
    assert operated.audit_is_clean()


# Stuck orders


def test_orders_of_a_stopped_subscriber_are_found_with_the_reason_and_resumed(
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
        assert "its event source mapping is Disabled; waiting in its queue: 3" in stuck.output
        assert all(str(order) in stuck.output for order in orders)
        assert operated.run("stuck", OLDER_THAN="3600").exit_code == 0

        refused = operated.run("resume", OLDER_THAN="0")
        assert refused.exit_code == 1
        assert refused.output.count("left as it is: customers-subscriber is stopped") == 3
        operated.sqs.purge_queue(QueueUrl=queue)  # the messages are lost as well
    finally:
        operated.functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    assert operated.run("stuck", OLDER_THAN="0").output.count("nor in its queue: lost") == 3

    resumed = operated.run("resume", OLDER_THAN="0")

    assert resumed.exit_code == 0, resumed
    assert resumed.output.count("published OrderCreated") == 3
    operated.settle()
    assert {operated.api.get_order(order)["orderState"] for order in orders} == {"APPROVED"}
    assert operated.run("stuck", OLDER_THAN="0").exit_code == 0
    assert operated.audit_is_clean()


def test_orders_that_wait_for_a_throttled_subscriber_say_how_far_they_came(
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


def test_to_resume_what_is_decided_changes_nothing(
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
    # And should an order be decided just then, its events come once more, all of them.
    orders = StuckOrders(operated.target)
    for order in (approved, rejected, cancelled):
        for timeline_event in orders.events_of(order):
            orders.republish(timeline_event)

    assert operated.audit_is_clean()
    assert operated.items() == before
    assert operated.view() == view


# Traces


def milliseconds(output: str) -> tuple[list[Decimal], list[Decimal]]:
    """The hops, and the totals, of the timelines that were printed."""
    hops = re.findall(r"^[\d:.]+ +\+([\d.]+) ", output, re.MULTILINE)
    totals = re.findall(r"^([\d.]+) ms in (?:\d+) steps", output, re.MULTILINE)
    return [Decimal(hop) for hop in hops], [Decimal(total) for total in totals]


def complete_trace(operated: Operated, timelines: int = 1, **environment: str) -> Done:
    """The trace, once the logs have told of the last of it."""
    return wait_until(
        lambda: operated.run("trace", **environment),
        lambda done: done.output.count("the last event is in the view") == timelines,
        PATIENCE_SECONDS,
    )


def test_a_trace_has_every_hop_and_their_times_add_up(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    body = {"customerId": a_customer(), "orderTotal": {"amount": 1}}
    answer = operated.api.request("POST", "/orders", json=body)
    order = answer.json()["orderId"]

    traced = complete_trace(operated, ORDER=str(order))

    path = [line for line in traced.output.splitlines() if re.match(r"[\d:.]+ +\+", line)]
    assert [re.split(r"  +", line.rstrip(), maxsplit=3)[2:] for line in path] == [
        ["orders-api", "POST /orders came in"],
        ["Orders", f"OrderCreated written, version 1 of Order {order}"],
        ["orders-outbox-relay", "OrderCreated published"],
        ["customers-subscriber", "OrderCreated taken up"],
        [
            "Customers",
            f"CustomerCreditReserved written, version 2 of Customer {body['customerId']}",
        ],
        ["customers-outbox-relay", "CustomerCreditReserved published"],
        ["orders-subscriber", "CustomerCreditReserved taken up"],
        ["Orders", f"OrderApproved written, version 2 of Order {order}"],
        ["orders-outbox-relay", "OrderApproved published"],
        ["order-history-projection", "OrderApproved is in the view"],
    ]
    hops, (total,) = milliseconds(traced.output)
    assert sum(hops) == total > 0
    assert "again" not in traced.output
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
    assert "CustomerCreditReleased is in the view" in traced.output
    hops, totals = milliseconds(traced.output)
    assert len(totals) == 2
    assert sum(hops) == sum(totals)


def test_a_trace_shows_what_was_delivered_twice(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    order = operated.api.create_order(a_customer(), 1)
    operated.settle()
    orders = StuckOrders(operated.target)
    created = orders.events_of(order)[0]
    orders.republish(created)

    traced = wait_until(
        lambda: operated.run("trace", ORDER=str(order)),
        lambda done: "OrderCreated was delivered to customers-subscriber 2 times" in done.output,
        PATIENCE_SECONDS,
    )

    assert "OrderCreated published again" in traced.output
    assert re.search(r"customers-subscriber +OrderCreated: .*, delivered again", traced.output)
    hops, (total,) = milliseconds(traced.output)
    assert sum(hops) == total


# Everywhere


@pytest.mark.parametrize("name", ["embedded", "localstack", "aws"])
def test_the_commands_are_the_same_on_every_target(operated: Operated, name: str) -> None:
    assert operated.run("stuck", TARGET=name, OLDER_THAN="3600").exit_code == 0
    assert operated.run("dlq", TARGET=name) == operated.run("dlq")


# Mistakes


@pytest.mark.parametrize(
    ("command", "environment", "said"),
    [
        ("trace", {}, "Name one thing to trace"),
        ("trace", {"ORDER": "1"}, "There is no order 1"),
        ("trace", {"CORRELATION": "nobody's"}, "know the correlation nobody's"),
        ("resume", {"ORDER": "1"}, "There is no order 1"),
        ("dlq", {"STACK_NAME": "nothing"}, "There is no stack nothing"),
        ("stuck", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Nothing answers at"),
        ("redrive", {"QUEUE": "nobody"}, "Which queue is 'nobody'?"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(
    operated: Operated, command: str, environment: dict[str, str], said: str
) -> None:
    done = operated.run(command, **environment)

    assert done.exit_code == 1
    assert said in done.errors
    assert "Traceback" not in done.errors
