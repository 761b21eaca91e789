from __future__ import annotations

from typing import Any

from tests.benchmarks.calls import (
    Call,
    Counted,
    item_bytes,
    matches,
    read_units,
    request_units,
    write_units,
)

SMALL = {"id": {"S": "a"}}
LARGE = {"id": {"S": "a" * 1_500}}


def units(operation: str, request: Any, response: Any = None, stored: int = 100) -> Any:
    return request_units(Call(operation, request, response or {}), lambda _: stored)


def test_write_units_round_up_to_kilobytes() -> None:
    sizes = {0: 1, 1: 1, 1_024: 1, 1_025: 2, 3 * 1_024: 3}

    assert {size: write_units(size) for size in sizes} == sizes


def test_read_units_round_up_to_four_kilobytes_and_halve_if_eventually_consistent() -> None:
    assert [read_units(size, consistent=True) for size in (0, 4_096, 4_097)] == [1, 1, 2]
    assert [read_units(size, consistent=False) for size in (4_096, 9_000)] == [0.5, 1.5]


def test_transaction_costs_two_units_per_item() -> None:
    items = [
        {"Put": {"Item": SMALL}},
        {"Put": {"Item": LARGE}},
        {"Update": {"Key": SMALL}},
        {"Delete": {"Key": SMALL}},
    ]

    assert units("TransactWriteItems", {"TransactItems": items}) == (2 + 4 + 2 + 2, 0)
    assert units("PutItem", {"Item": LARGE}) == (2, 0)


def test_update_costs_the_size_of_the_stored_item() -> None:
    assert units("UpdateItem", {"Key": SMALL}, stored=5_000) == (5, 0)


def test_missing_items_cost_read_units() -> None:
    keys = {"Keys": [SMALL, LARGE], "ConsistentRead": True}
    found = {"Responses": {"table": [SMALL]}}

    assert units("BatchGetItem", {"RequestItems": {"table": keys}}, found) == (0, 2)
    assert units("GetItem", {"ConsistentRead": True}) == (0, 1)
    assert units("GetItem", {}) == (0, 0.5)
    assert units("PutEvents", {"Entries": [{}]}) == (0, 0)


def test_item_size_counts_names_and_values() -> None:
    assert item_bytes({"name": {"S": "Zoë"}}) == 4 + 4
    assert item_bytes({"n": {"N": "12345"}}) == 1 + 4
    assert item_bytes({"n": {"N": "100"}}) == 1 + 2  # trailing zeros are free
    assert item_bytes({"m": {"M": {"a": {"S": "b"}}}}) == 1 + 3 + 1 + 1 + 1
    assert item_bytes({"x": {"NULL": True}}) == 2


def test_sqs_requests_are_sends_receives_and_deletes() -> None:
    assert Counted(10, messages=20, receives=5).sqs_requests == 30


def test_rule_matches_source_and_type() -> None:
    entry = {"Source": "orders", "DetailType": "OrderCreated"}

    assert matches({"source": ["orders"]}, entry)
    assert matches({"source": ["orders"], "detail-type": ["OrderCreated", "Other"]}, entry)
    assert not matches({"source": ["orders"], "detail-type": ["Other"]}, entry)
    assert not matches({"source": ["customers"]}, entry)
