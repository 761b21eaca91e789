"""Many requests that wait at once, and the saga beside them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from infra.local.api_client import wait_until
from tests.ops.conftest import Operated

WAITERS = 10
ORDER = 7


def test_parallel_waiters_do_not_block_the_saga(
    operated: Operated, a_customer: Callable[[], int]
) -> None:
    api, customer, seconds = operated.api, a_customer(), list[float]()
    dynamodb = operated.target.client("dynamodb")
    table: Any = {"TableName": operated.target.resource("Orders")}
    order = api.create_order(customer, 1)
    assert api.get_order(order, wait_seconds=10)["orderState"] == "APPROVED"
    found = dynamodb.get_item(**table, Key={"orderId": {"N": str(order)}})["Item"]
    never_decided = found | {"orderId": {"N": str(ORDER)}, "state": {"S": "PENDING"}}
    dynamodb.put_item(**table, Item=never_decided)

    def wait_until_deleted() -> None:
        request = "GET", f"/orders/{ORDER}"
        headers = {"Prefer": "wait=10"}
        wait_until(
            lambda: api.request(*request, headers=headers).status_code,
            lambda status: status == 404,
            100,
        )

    with ThreadPoolExecutor(WAITERS) as threads:
        waiting = [threads.submit(wait_until_deleted) for _ in range(WAITERS)]
        try:
            for _ in range(3):
                started = time.monotonic()
                order = api.create_order(customer, 1)
                assert api.get_order(order, wait_seconds=10)["orderState"] == "APPROVED"
                seconds.append(time.monotonic() - started)
            assert not any(waiter.done() for waiter in waiting)
        finally:
            dynamodb.delete_item(**table, Key={"orderId": never_decided["orderId"]})
    for waiter in waiting:
        waiter.result()
    print(f"seconds per order beside {WAITERS} waiting requests: {seconds}")
    assert min(seconds) < 5, "the first one may start workers"
