from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers.events import CustomerCreated
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope, InvalidEventError
from messaging.relay import _chunks, _Entry, to_entry
from shared.money import Money
from tests.samples import load

MAX_ENTRIES, MAX_BYTES = 10, 256 * 1024
KIB = 1024


def a_record(**image: str) -> dict[str, Any]:
    (record, *_) = load("outbox_relay_batch")["Records"]
    record["dynamodb"]["NewImage"] |= {name: {"S": text} for name, text in image.items()}
    return dict(record)


def test_an_entry_is_what_the_outbox_has() -> None:
    record = a_record()
    image = record["dynamodb"]["NewImage"]

    entry = to_entry(record, "the-bus")

    assert entry.request == {
        "EventBusName": "the-bus",
        "Source": "customers-and-orders.orders",
        "DetailType": "OrderCreated",
        "Detail": image["detail"]["S"],
    }


def test_the_size_of_an_entry_is_in_bytes() -> None:
    record = a_record(
        source="s", eventType="Zoë", detail=a_record()["dynamodb"]["NewImage"]["detail"]["S"]
    )

    entry = to_entry(record, "the-bus")

    assert entry.size == 1 + 4 + len(entry.request["Detail"])


@pytest.mark.parametrize("name", ["source", "eventType", "detail"])
def test_a_record_without_one_of_its_attributes_is_invalid(name: str) -> None:
    record = a_record()
    del record["dynamodb"]["NewImage"][name]

    with pytest.raises(InvalidEventError, match=name):
        to_entry(record, "the-bus")


@pytest.mark.parametrize(
    "detail",
    [
        "",
        "no JSON",
        "[" * 100_000,
        "[]",
        "null",
        "{}",
        '{"metadata": {}, "data": {}}',
        '{"metadata": null, "data": {}}',
    ],
)
def test_a_record_whose_detail_is_no_event_is_invalid(detail: str) -> None:
    with pytest.raises(InvalidEventError):
        to_entry(a_record(detail=detail), "the-bus")


@pytest.mark.parametrize("data", ["", ', "data": null', ', "data": []', ', "data": "text"'])
def test_a_record_whose_event_has_no_facts_is_invalid(data: str) -> None:
    detail = a_record()["dynamodb"]["NewImage"]["detail"]["S"]
    metadata = detail[: detail.index(',"data"')]

    with pytest.raises(InvalidEventError, match="data"):
        to_entry(a_record(detail=f"{metadata}{data}}}"), "the-bus")


@pytest.mark.parametrize("record", [{}, {"dynamodb": {}}, {"dynamodb": {"Keys": {}}}])
def test_a_record_without_an_image_is_invalid(record: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError):
        to_entry(record, "the-bus")


def test_a_record_is_invalid_from_the_byte_on_that_the_bus_does_not_take() -> None:
    def record_of(size: int) -> dict[str, Any]:
        def detail(name: str) -> str:
            event = CustomerCreated(customer_id=1, name=name, credit_limit=Money(5))
            return DomainEventEnvelope.wrap(event, 1, Cause("a request")).to_detail()

        return a_record(
            source="s", eventType="t", detail=detail("x" * (size - 2 - len(detail(""))))
        )

    assert to_entry(record_of(MAX_BYTES), "the-bus").size == MAX_BYTES
    with pytest.raises(InvalidEventError, match="bytes"):
        to_entry(record_of(MAX_BYTES + 1), "the-bus")


def entries_of(sizes: list[int]) -> list[_Entry]:
    instants = [datetime.fromtimestamp(n, UTC) for n in range(len(sizes))]
    return [
        _Entry({"Time": instant}, size, {}, instant)
        for instant, size in zip(instants, sizes, strict=True)
    ]


def test_ten_entries_are_sent_at_once() -> None:
    chunks = list(_chunks(entries_of([1] * 25)))

    assert [len(chunk) for chunk in chunks] == [10, 10, 5]


def test_entries_are_sent_in_as_few_calls_as_their_sizes_allow() -> None:
    chunks = list(_chunks(entries_of([100 * KIB, 100 * KIB, 56 * KIB, 1, 255 * KIB, 2 * KIB])))

    assert [[entry.size for entry in chunk] for chunk in chunks] == [
        [100 * KIB, 100 * KIB, 56 * KIB],
        [1, 255 * KIB],
        [2 * KIB],
    ]


def test_nothing_is_sent_of_nothing() -> None:
    assert list(_chunks([])) == []


@given(st.lists(st.integers(1, MAX_BYTES), max_size=40))
def test_no_call_is_too_large_and_all_entries_are_sent_in_order(sizes: list[int]) -> None:
    entries = entries_of(sizes)

    chunks = list(_chunks(entries))

    assert [entry for chunk in chunks for entry in chunk] == entries
    for chunk in chunks:
        assert 1 <= len(chunk) <= MAX_ENTRIES
        assert sum(entry.size for entry in chunk) <= MAX_BYTES
