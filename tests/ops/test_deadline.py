"""The deadline of PENDING orders on the local stack, which enforces the function's role."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from infra.local.api_client import wait_until
from infra.ops.target import queue_depth
from tests.ops.conftest import Operated
from tests.ops.test_commands import states

pytestmark = pytest.mark.timeout(300)
FUNCTION = "OrdersDeadlineFunction"


def resume(operated: Operated) -> dict[str, int]:
    """Invoke the function as the schedule does, and return how many orders were resumed and are stuck."""
    name = operated.target.resource(FUNCTION)
    answer = operated.functions.invoke(FunctionName=name)
    assert "FunctionError" not in answer, answer["Payload"].read()
    outcome: dict[str, int] = json.load(answer["Payload"])
    return outcome


def test_orders_whose_messages_are_lost_are_resumed_by_the_deadline(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    name, customer = operated.target.resource(FUNCTION), a_customer()
    (rule,) = (
        rule
        for rule in operated.target.client("events").list_rules()["Rules"]
        if "ScheduleExpression" in rule
    )
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
    operated.settle()
    configuration = operated.functions.get_function_configuration(FunctionName=name)
    variables = configuration["Environment"]["Variables"]
    overdue_at_once = variables | {"PENDING_ORDER_DEADLINE_SECONDS": "0"}
    operated.functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": overdue_at_once}
    )
    orders = list[int]()
    try:
        for subscriber in ("CustomersSubscriber", "OrdersSubscriber"):
            url = operated.target.queue_url(f"{subscriber}Queue")
            with operated.stopped(f"{subscriber}Function"):
                orders += [operated.api.create_order(customer, 1) for _ in range(2)]
                wait_until(lambda url=url: queue_depth(operated.sqs, url), lambda n: n == 2)  # type: ignore[misc]
                operated.sqs.purge_queue(QueueUrl=url)

            assert resume(operated) == {"resumed": 2, "stuck": 0}

            operated.settle()
            assert states(operated, orders) == {"APPROVED"}
        assert resume(operated) == {"resumed": 0, "stuck": 0}
    finally:
        operated.functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables}
        )
    assert operated.audit_is_clean()
    traced = operated.run("trace", ORDER=str(orders[-1])).output
    assert "orders-deadline" in traced
    assert "CustomerCreditReserved: sagas resumed" in traced
