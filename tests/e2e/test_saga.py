"""The scenarios of the originals' end-to-end suites, and further ones, over HTTP only."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from infra.local.api_client import ApiClient, wait_until

DEADLINE_SECONDS = 60


def decided(api: ApiClient, order_id: int) -> dict[str, Any]:
    """Wait until the order is not PENDING, and return it."""
    return wait_until(
        lambda: api.get_order(order_id, wait_seconds=10),
        lambda order: order["orderState"] != "PENDING",
        DEADLINE_SECONDS,
    )


def history_with(api: ApiClient, customer_id: int, states: dict[int, str]) -> dict[str, Any]:
    """Wait until the customer's history has exactly these orders and states, and return it."""

    def history() -> dict[str, Any]:
        response = api.request("GET", f"/customers/{customer_id}/orderhistory")
        return response.json() if response.status_code == 200 else {"orders": {}}

    expected = {str(order_id): state for order_id, state in states.items()}
    return wait_until(
        history,
        lambda seen: {i: o["state"] for i, o in seen["orders"].items()} == expected,
        DEADLINE_SECONDS,
    )


def test_health_reports_all_parts(api: ApiClient) -> None:
    answer = api.request("GET", "/health")

    assert answer.status_code == 200, answer.text
    assert set(answer.json()["parts"].values()) == {"up"}


def test_order_within_the_credit_limit_is_approved(api: ApiClient) -> None:
    customer_id = api.create_customer("Fred", Decimal("15.00"))
    order_id = api.create_order(customer_id, Decimal("12.34"))

    assert decided(api, order_id) == {
        "orderId": order_id,
        "customerId": customer_id,
        "orderTotal": {"amount": Decimal("12.34")},
        "orderState": "APPROVED",
        "rejectionReason": None,
    }
    assert api.get_customer(customer_id) == {
        "customerId": customer_id,
        "name": "Fred",
        "creditLimit": {"amount": 15},
        "availableCredit": {"amount": Decimal("2.66")},
    }


def test_order_of_an_unknown_customer_is_rejected(api: ApiClient) -> None:
    for customer_id in (123, 2**63 - 1):
        order_id = api.create_order(customer_id, Decimal("123.34"))

        order = decided(api, order_id)

        assert (order["orderState"], order["rejectionReason"]) == ("REJECTED", "UNKNOWN_CUSTOMER")
        assert api.request("GET", f"/customers/{customer_id}").status_code == 404
        assert api.request("GET", f"/customers/{customer_id}/orderhistory").status_code == 404


def test_cancelled_order_releases_its_credit_and_stays_in_the_history(api: ApiClient) -> None:
    customer_id = api.create_customer("Fred", Decimal("15.00"))
    order_id = api.create_order(customer_id, Decimal("12.34"))
    assert decided(api, order_id)["orderState"] == "APPROVED"

    assert api.cancel_order(order_id) == {"orderId": order_id, "orderState": "CANCELLED"}

    assert api.get_order(order_id)["orderState"] == "CANCELLED"
    wait_until(
        lambda: api.get_customer(customer_id)["availableCredit"]["amount"],
        lambda available: available == 15,
        DEADLINE_SECONDS,
    )
    history_with(api, customer_id, {order_id: "CANCELLED"})
    another_id = api.create_order(customer_id, Decimal("15.00"))
    assert decided(api, another_id)["orderState"] == "APPROVED"
    assert api.cancel_order(order_id)["orderState"] == "CANCELLED"


def test_history_has_approved_and_rejected_orders(api: ApiClient) -> None:
    customer_id = api.create_customer("John", 1000)
    approved_id = api.create_order(customer_id, 100)
    assert decided(api, approved_id)["orderState"] == "APPROVED"
    rejected_id = api.create_order(customer_id, 1000)
    rejected = decided(api, rejected_id)
    assert (rejected["orderState"], rejected["rejectionReason"]) == (
        "REJECTED",
        "INSUFFICIENT_CREDIT",
    )
    assert api.get_customer(customer_id)["availableCredit"] == {"amount": 900}

    history = history_with(api, customer_id, {approved_id: "APPROVED", rejected_id: "REJECTED"})

    assert (history["id"], history["name"]) == (customer_id, "John")
    assert history["creditLimit"] == {"amount": 1000}
    approved = history["orders"][str(approved_id)]
    assert (approved["orderId"], approved["orderTotal"]) == (approved_id, {"amount": 100})
    only_rejected = api.get_order_history(customer_id, state="REJECTED")
    assert list(only_rejected["orders"]) == [str(rejected_id)]


def test_concurrent_orders_are_approved_up_to_the_limit(api: ApiClient) -> None:
    customer_id = api.create_customer("Hot", 100)

    with ThreadPoolExecutor(10) as clients:
        order_ids = list(clients.map(lambda _: api.create_order(customer_id, 5), range(50)))
    states = {order_id: decided(api, order_id)["orderState"] for order_id in order_ids}

    assert Counter(states.values()) == {"APPROVED": 20, "REJECTED": 30}
    assert api.get_customer(customer_id)["availableCredit"] == {"amount": 0}
    assert history_with(api, customer_id, states)["availableCredit"] == {"amount": 0}


def test_retry_with_its_idempotency_key_creates_nothing(api: ApiClient) -> None:
    customer_id = api.create_customer("Ida", 5)
    body = {"customerId": customer_id, "orderTotal": {"amount": 5}}

    def post(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        headers = {"Idempotency-Key": f"key-of-{customer_id}"}
        response = api.request("POST", "/orders", json=body, headers=headers)
        return response.status_code, response.json()

    with ThreadPoolExecutor(5) as clients:
        answers = list(clients.map(post, [body] * 5))

    order_id = answers[0][1]["orderId"]
    assert answers == [(200, {"orderId": order_id})] * 5
    assert decided(api, order_id)["orderState"] == "APPROVED"
    history_with(api, customer_id, {order_id: "APPROVED"})
    assert post({**body, "orderTotal": {"amount": 4}})[0] == 422


def version(headers: object) -> int:
    return int(headers["ETag"].strip('"'))  # type: ignore[index]


def test_one_request_waits_for_the_decision_and_another_one_reads_it_in_the_view(
    api: ApiClient,
) -> None:
    body = {"name": "Wanda", "creditLimit": {"amount": 5}}
    created = api.request("POST", "/customers", json=body)
    customer_id = created.json()["customerId"]
    newest = {"minVersion": version(created.headers)}
    assert api.get_order_history(customer_id, **newest)["orders"] == {}
    order_id = api.create_order(customer_id, 4)

    waited = api.request("GET", f"/orders/{order_id}", headers={"Prefer": "wait=10"})

    assert waited.json()["orderState"] == "APPROVED"
    assert waited.headers["Preference-Applied"] == "wait=10"
    assert "Retry-After" not in waited.headers
    newest = {"minVersion": version(waited.headers)}
    assert api.get_order_timeline(order_id, **newest)["state"] == "APPROVED"
    assert api.get_order_history(customer_id)["orders"][str(order_id)]["state"] == "APPROVED"
    cancelled = api.request("POST", f"/orders/{order_id}/cancel")
    newest = {"minVersion": version(cancelled.headers)}
    assert api.get_order_timeline(order_id, **newest)["state"] == "CANCELLED"
