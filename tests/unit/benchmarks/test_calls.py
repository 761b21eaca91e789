from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.calls import (
    Call,
    Counted,
    item_bytes,
    matches,
    read_units,
    request_units,
    resolved,
    write_units,
)

SMALL = {"id": {"S": "a"}}
LARGE = {"id": {"S": "a" * 1_500}}


def units(operation: str, request: Any, response: Any = None, stored: int = 100) -> Any:
    return request_units(Call(operation, request, response or {}), lambda _: stored)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, 1), (1, 1), (1_024, 1), (1_025, 2), (3 * 1_024, 3)]
)
def test_each_kilobyte_begun_is_a_write_unit(size: int, expected: int) -> None:
    assert write_units(size) == expected


@pytest.mark.parametrize(
    ("size", "consistent", "expected"),
    [(0, True, 1), (4_096, True, 1), (4_097, True, 2), (4_096, False, 0.5), (9_000, False, 1.5)],
)
def test_an_eventually_consistent_read_takes_half(
    size: int, consistent: bool, expected: float
) -> None:
    assert read_units(size, consistent=consistent) == expected


def test_a_transaction_writes_each_item_twice() -> None:
    items = [
        {"Put": {"Item": SMALL}},
        {"Put": {"Item": LARGE}},
        {"Update": {"Key": SMALL}},
        {"Delete": {"Key": SMALL}},
    ]

    assert units("TransactWriteItems", {"TransactItems": items}) == (2 + 4 + 2 + 2, 0)
    assert units("PutItem", {"Item": LARGE}) == (2, 0)


def test_an_update_takes_what_the_item_has_and_not_what_the_request_says() -> None:
    assert units("UpdateItem", {"Key": SMALL}, stored=5_000) == (5, 0)


def test_a_read_of_what_is_not_there_is_paid_too() -> None:
    keys = {"Keys": [SMALL, LARGE], "ConsistentRead": True}
    found = {"Responses": {"table": [SMALL]}}

    assert units("BatchGetItem", {"RequestItems": {"table": keys}}, found) == (0, 2)
    assert units("GetItem", {"ConsistentRead": True}) == (0, 1)
    assert units("GetItem", {}) == (0, 0.5)


def test_other_services_take_no_request_units() -> None:
    assert units("PutEvents", {"Entries": [{}]}) == (0, 0)


def test_an_item_has_the_bytes_of_its_names_and_its_values() -> None:
    assert item_bytes({"name": {"S": "Zoë"}}) == 4 + 4
    assert item_bytes({"n": {"N": "12345"}}) == 1 + 4
    assert item_bytes({"n": {"N": "100"}}) == 1 + 2  # zeros at the end take nothing
    assert item_bytes({"m": {"M": {"a": {"S": "b"}}}}) == 1 + 3 + 1 + 1 + 1
    assert item_bytes({"x": {"NULL": True}}) == 2


def test_a_message_is_received_and_deleted_with_its_batch() -> None:
    assert Counted(10, messages=20, receives=5).sqs_requests == 30


def test_a_rule_takes_an_event_of_its_sources_and_of_its_types() -> None:
    entry = {"Source": "orders", "DetailType": "OrderCreated"}

    assert matches({"source": ["orders"]}, entry)
    assert matches({"source": ["orders"], "detail-type": ["OrderCreated", "Other"]}, entry)
    assert not matches({"source": ["orders"], "detail-type": ["Other"]}, entry)
    assert not matches({"source": ["customers"]}, entry)


def test_a_tasks_parameters_are_filled_from_its_input() -> None:
    parameters = {
        "Item": {"id": {"S.$": "$.orderId"}, "kind": {"S": "order"}},
        "Keys": [{"sk": {"S.$": "States.Format('RESERVATION#{}', $.orderId)"}}],
    }

    assert resolved(parameters, {"orderId": "7"}) == {
        "Item": {"id": {"S": "7"}, "kind": {"S": "order"}},
        "Keys": [{"sk": {"S": "RESERVATION#7"}}],
    }
