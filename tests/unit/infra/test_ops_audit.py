"""The consistency check finds each kind of fault, and refuses order states that it does not know."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.local.api_client import ApiClient
from infra.ops.audit import audit

TEN, SIX, FOUR, TWO = ({"amount": value} for value in (10, 6, 4, 2))
STATES = [
    ("APPROVED", None),
    ("REJECTED", "INSUFFICIENT_CREDIT"),
    ("CANCELLED", None),
    *[("REJECTED", "UNKNOWN_CUSTOMER")] * 2,
    ("REJECTED", "CUSTOMER_ERASED"),
]


class FakeApi:
    """A customer with one order in each final state, orders of an unknown and an erased one, and the view of them."""

    def __init__(self) -> None:
        self.customer = {
            "customerId": 1,
            "name": "Jane",
            "creditLimit": TEN,
            "availableCredit": SIX,
        }
        self.placed: list[dict[str, Any]] = [
            {
                "orderId": number,
                "customerId": (1, 1, 1, 99, 99, 8)[number],
                "orderTotal": FOUR,
                "orderState": state,
                "rejectionReason": reason,
            }
            for number, (state, reason) in enumerate(STATES)
        ]
        self.view = {str(o["orderId"]): {**o, "state": o["orderState"]} for o in self.placed}
        self.view_of_customer: dict[str, Any] = dict(self.customer)

    def orders(self) -> list[dict[str, Any]]:
        return self.placed

    def customers(self) -> list[dict[str, Any]]:
        return [self.customer]

    def request(self, _method: str, path: str) -> Any:
        order = self.view.get(path.rsplit("/", 1)[-1])
        found = order is not None or path.startswith("/customers/1/")
        return SimpleNamespace(status_code=200 if found else 404, json=lambda: order, text="body")

    def get_order_history(self, _customer_id: int, **_query: object) -> dict[str, Any]:
        return self.view_of_customer

    def order_history(self, customer_id: int) -> dict[str, dict[str, Any]]:
        return {i: o for i, o in self.view.items() if o["customerId"] == customer_id}


def check(api: FakeApi) -> list[str]:
    return audit(cast("ApiClient", api)).findings


def change_order(number: int, **changes: object) -> Callable[[FakeApi], None]:
    return lambda api: api.placed[number].update(changes)


FAULTS: dict[str, Callable[[FakeApi], object]] = {
    "8 is reserved, and the orders hold 4": lambda a: a.customer.update(availableCredit=TWO),
    "4 is reserved, and the orders hold 0": change_order(0, orderState="CANCELLED"),
    "4 is reserved, and the orders hold 8": change_order(1, orderState="APPROVED"),
    "the orders hold 44, and the limit is 10": change_order(0, orderTotal={"amount": 44}),
    "1 orders are still PENDING": change_order(1, orderState="PENDING"),
    "name is Joe, and Jane in Customers": lambda a: a.view_of_customer.update(name="Joe"),
    "order 2 is None": lambda a: a.view.pop("2"),
    "order 6 is ('APPROVED'": lambda a: a.view.update({"6": {**a.view["0"], "orderId": 6}}),
    "order 1 is ('REJECTED'": lambda a: a.view["1"].update(rejectionReason=None),
    "missing customer 1 is in the view": lambda a: a.customer.update(customerId=7),
    "of missing customer 99 is not in the view": lambda a: a.view.pop("3"),
    "of missing customer 99 is APPROVED": change_order(
        3, orderState="APPROVED", rejectionReason=None
    ),
}


def test_a_consistent_system_has_no_findings() -> None:
    assert check(FakeApi()) == []


def test_each_fault_is_found() -> None:
    for finding, break_it in FAULTS.items():
        api = FakeApi()
        break_it(api)
        assert any(finding in found for found in check(api)), (finding, check(api))


def test_an_unknown_order_state_is_refused() -> None:
    api = FakeApi()
    api.placed[0]["orderState"] = "LOST"

    with pytest.raises(ValueError, match="LOST"):
        check(api)
