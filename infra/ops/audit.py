"""The consistency check: compare Customers, Orders and Order history over HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from infra.local.api_client import ApiClient
from infra.ops.domain import OrderState
from infra.ops.target import queue_depth

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Json = dict[str, Any]


@dataclass
class Audit:
    """The result. Without findings all orders are decided, no limit is exceeded, and the services agree."""

    customers: int = 0
    orders_by_state: dict[OrderState, int] = field(default_factory=lambda: defaultdict(int))
    findings: list[str] = field(default_factory=list)


def audit(api: ApiClient) -> Audit:
    """Read every customer and every order from all three services, and compare.

    Raises: ValueError for an order state that OrderState does not have.
    """
    result = Audit()
    orders_of: dict[int, dict[str, Json]] = defaultdict(dict)
    for order in api.orders():
        result.orders_by_state[OrderState(order["orderState"])] += 1
        orders_of[order["customerId"]][str(order["orderId"])] = order
    for customer in api.customers():
        result.customers += 1
        orders = orders_of.pop(customer["customerId"], {})
        result.findings += _credit_findings(customer, orders.values())
        result.findings += _view_findings(api, customer, orders)
    for customer_id, orders in orders_of.items():
        result.findings += _findings_of_missing_customer(api, customer_id, orders.values())
    for state, number in result.orders_by_state.items():
        if not state.is_final:
            result.findings.append(f"{number} orders are still {state}")
    return result


def queue_depths(sqs: SQSClient, prefix: str) -> dict[str, int]:
    """Return the number of messages, those in flight included, of each queue whose name starts with `prefix`."""
    return {
        url.rsplit("/", 1)[1]: queue_depth(sqs, url)
        for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix)
        for url in page.get("QueueUrls", [])
    }


def _credit_findings(customer: Json, orders: Iterable[Json]) -> Iterable[str]:
    held = sum(_amount(o["orderTotal"]) for o in orders if OrderState(o["orderState"]).holds_credit)
    limit = _amount(customer["creditLimit"])
    reserved = limit - _amount(customer["availableCredit"])
    name = f"customer {customer['customerId']}"
    if held > limit:
        yield f"{name}: the orders hold {held}, and the limit is {limit}"
    if reserved != held:
        yield f"{name}: {reserved} is reserved, and the orders hold {held}"


def _view_findings(api: ApiClient, customer: Json, orders: dict[str, Json]) -> Iterable[str]:
    customer_id = customer["customerId"]
    name = f"customer {customer_id} in the view"
    response = api.request("GET", f"/customers/{customer_id}/orderhistory?limit=1")
    if response.status_code != 200:
        yield f"{name}: status {response.status_code}"
        return
    view = api.get_order_history(customer_id, limit=1)
    for key in ("name", "creditLimit", "availableCredit"):
        if view[key] != customer[key]:
            yield f"{name}: {key} is {view[key]}, and {customer[key]} in Customers"
    seen = {i: _decision(o, "state") for i, o in api.order_history(customer_id).items()}
    expected = {i: _decision(o, "orderState") for i, o in orders.items()}
    for i in seen.keys() | expected.keys():
        if seen.get(i) != expected.get(i):
            yield f"{name}: order {i} is {seen.get(i)}, and {expected.get(i)} in Orders"


def _findings_of_missing_customer(
    api: ApiClient, customer_id: int, orders: Collection[Json]
) -> Iterable[str]:
    """All orders of a customer who never existed are rejected for that; no order of an erased one is."""
    if api.request("GET", f"/customers/{customer_id}/orderhistory?limit=1").status_code != 404:
        yield f"missing customer {customer_id} is in the view"
    never_existed = any(order["rejectionReason"] == "UNKNOWN_CUSTOMER" for order in orders)
    for order in orders:
        name = f"order {order['orderId']} of missing customer {customer_id}"
        if never_existed and order["rejectionReason"] != "UNKNOWN_CUSTOMER":
            yield f"{name} is {order['orderState']}, {order['rejectionReason']}"
        response = api.request("GET", f"/orderhistory/orders/{order['orderId']}")
        if response.status_code != 200 or response.json()["state"] != order["orderState"]:
            yield f"{name} is not in the view as it is in Orders: {response.text}"


def _decision(order: Json, state: str) -> tuple[str, Decimal, str | None]:
    return order[state], _amount(order["orderTotal"]), order["rejectionReason"]


def _amount(money: Json) -> Decimal:
    return Decimal(money["amount"])
