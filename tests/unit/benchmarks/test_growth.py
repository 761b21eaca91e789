from __future__ import annotations

from tests.benchmarks.calls import Call
from tests.benchmarks.growth import items_of_one_order, table_sizes


def test_tables_hold_what_each_order_leaves_behind_and_what_dynamodb_adds() -> None:
    sizes = table_sizes({"order": 100, "event": 300}, units_per_order=14, usd_per_gb_month=0.25)

    assert [size.orders for size in sizes] == [10**3, 10**4, 10**5, 10**6]
    assert sizes[-1].gigabytes == 0.6
    assert sizes[-1].usd_per_month == 0.15
    assert sizes[-1].partitions == 1


def test_a_table_is_split_when_a_partition_is_full() -> None:
    sizes = table_sizes({"order": 25_000}, units_per_order=50, usd_per_gb_month=0.25)

    assert [size.partitions for size in sizes] == [1, 1, 1, 3]


def test_an_order_written_twice_is_there_once_and_its_customer_is_nobodys() -> None:
    def put(table: str, **item: str) -> dict[str, object]:
        return {"Put": {"TableName": table, "Item": {k: {"S": v} for k, v in item.items()}}}

    calls = [
        Call("TransactWriteItems", {"TransactItems": [put("Orders", orderId="1", state="A")]}, {}),
        Call(
            "TransactWriteItems",
            {
                "TransactItems": [
                    put("Orders", orderId="1", state="AB"),
                    put("Customers", sk="CUSTOMER"),
                    put("Customers", sk="RESERVATION#1"),
                    put("Outbox", aggregateId="1", eventId="e"),
                ]
            },
            {},
        ),
        Call("GetItem", {}, {}),
    ]

    assert sorted(items_of_one_order(calls).values()) == sorted(
        [
            len("orderId1stateAB"),
            len("skRESERVATION#1"),
            len("aggregateId1eventIde"),
        ]
    )
