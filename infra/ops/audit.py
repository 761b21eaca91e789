"""The consistency check: compare Customers, Orders and Order history over HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from infra.local.api_client import ApiClient
from infra.ops.domain import OrderState
from infra.ops.target import queue_depth

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


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
    orders_of: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for order in api.orders():
        result.orders_by_state[OrderState(order["orderState"])] += 1
        orders_of[order["customerId"]][str(order["orderId"])] = order
    for customer in api.customers():
        result.customers += 1
        orders = orders_of.pop(customer["customerId"], {})
        result.findings += _credit_findings(customer, orders.values())
        result.findings += _view_findings(api, customer, orders)
    for orders in orders_of.values():
        result.findings += _findings_of_unknown_customer(api, orders.values())
    result.findings += [
        f"{number} orders are still {state}"
        for state, number in result.orders_by_state.items()
        if not state.is_final
    ]
    return result


def queue_depths(sqs: SQSClient, prefix: str) -> dict[str, int]:
    """Return the number of messages, those in flight included, of each queue whose name starts with `prefix`."""
    return {
        url.rsplit("/", 1)[1]: queue_depth(sqs, url)
        for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix)
        for url in page.get("QueueUrls", [])
    }


def _amount(money: dict[str, Any]) -> Decimal:
    return Decimal(money["amount"])


def _credit_findings(customer: dict[str, Any], orders: Iterable[dict[str, Any]]) -> list[str]:
    held = sum(_amount(o["orderTotal"]) for o in orders if OrderState(o["orderState"]).holds_credit)
    limit, available = _amount(customer["creditLimit"]), _amount(customer["availableCredit"])
    name = f"customer {customer['customerId']}"
    findings = []
    if held > limit:
        findings.append(f"{name}: the orders hold {held}, and the limit is {limit}")
    if limit - available != held:
        findings.append(f"{name}: {limit - available} is reserved, and the orders hold {held}")
    return findings


def _view_findings(
    api: ApiClient, customer: dict[str, Any], orders: dict[str, dict[str, Any]]
) -> list[str]:
    name = f"customer {customer['customerId']} in the view"
    response = api.request("GET", f"/customers/{customer['customerId']}/orderhistory?limit=1")
    if response.status_code != 200:
        return [f"{name}: status {response.status_code}"]
    view = api.get_order_history(customer["customerId"], limit=1)
    findings = [
        f"{name}: {fact} is {view[fact]}, and {customer[fact]} in Customers"
        for fact in ("name", "creditLimit", "availableCredit")
        if view[fact] != customer[fact]
    ]
    seen = {i: _facts(o, "state") for i, o in api.order_history(customer["customerId"]).items()}
    expected = {i: _facts(o, "orderState") for i, o in orders.items()}
    return findings + [
        f"{name}: order {order_id} is {seen.get(order_id)}, and {expected.get(order_id)} in Orders"
        for order_id in seen.keys() | expected.keys()
        if seen.get(order_id) != expected.get(order_id)
    ]


def _findings_of_unknown_customer(api: ApiClient, orders: Iterable[dict[str, Any]]) -> list[str]:
    findings = []
    for order in orders:
        name = f"order {order['orderId']} of unknown customer {order['customerId']}"
        if order["rejectionReason"] != "UNKNOWN_CUSTOMER":
            findings.append(f"{name} is {order['orderState']}, {order['rejectionReason']}")
        response = api.request("GET", f"/orderhistory/orders/{order['orderId']}")
        if response.status_code != 200 or response.json()["state"] != order["orderState"]:
            findings.append(f"{name} is not in the view as it is in Orders: {response.text}")
    return findings


def _facts(order: dict[str, Any], state: str) -> tuple[str, Decimal, str | None]:
    return order[state], _amount(order["orderTotal"]), order["rejectionReason"]
