"""What bad input gets, through the real API: a clear answer, and nothing written."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.api_client import ApiClient
from tests.e2e.test_saga import decided

CUSTOMER = {"name": "Jane Doe", "creditLimit": {"amount": 5}}
ORDER = {"customerId": 1, "orderTotal": {"amount": 4}}
UNKNOWN_ID = 9007199254740991


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """The response is a problem document (RFC 9457) of that status."""
    problem: dict[str, Any] = response.json()
    assert response.status_code == status, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem.keys() >= {"type", "title", "detail"}
    assert response.headers["x-correlation-id"]
    return problem


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/customers", {**CUSTOMER, "name": ""}, "name"),
        ("/customers", {**CUSTOMER, "name": 7}, "name"),
        ("/customers", {"name": "Jane Doe"}, "creditLimit"),
        ("/customers", {**CUSTOMER, "creditLimit": {"amount": -1}}, "creditLimit.amount"),
        ("/customers", {**CUSTOMER, "creditLimit": {"amount": "5"}}, "creditLimit.amount"),
        ("/customers", {**CUSTOMER, "creditLimit": {"amount": 0.001}}, "creditLimit.amount"),
        ("/orders", {**ORDER, "customerId": "1"}, "customerId"),
        ("/orders", {**ORDER, "customerId": 2**63}, "customerId"),
        ("/orders", {**ORDER, "orderTotal": {"amount": 0}}, "orderTotal.amount"),
        ("/orders", {**ORDER, "orderTotal": {"amount": 1e300}}, "orderTotal.amount"),
        ("/orders", {**ORDER, "orderTotal": 4}, "orderTotal"),
        ("/orders", [], "body"),
    ],
)
def test_a_bad_field_is_named(api: ApiClient, path: str, body: Any, field: str) -> None:
    problem = assert_problem(api.request("POST", path, json=body), 400)

    assert field in {error["field"] for error in problem["errors"]}


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"name": NaN}', "[" * 50_000])
def test_what_is_no_json_is_refused(api: ApiClient, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(api.request("POST", "/customers", content=text, headers=headers), 400)


@pytest.mark.parametrize(
    "path",
    [
        "/customers?limit=0",
        "/customers?limit=101",
        "/customers?nextToken=forged",
        "/orders?limit=many",
        "/orders?nextToken=Zm9yZ2Vk",
        "/orders/no-number",
        "/customers/-1",
        f"/customers/{2**63}",
    ],
)
def test_a_bad_query_or_id_is_refused(api: ApiClient, path: str) -> None:
    assert_problem(api.request("GET", path), 400)


@pytest.mark.parametrize(
    "path",
    [
        f"/customers/{UNKNOWN_ID}",
        f"/customers/{UNKNOWN_ID}/orderhistory",
        f"/orders/{UNKNOWN_ID}",
        f"/orderhistory/orders/{UNKNOWN_ID}",
    ],
)
def test_what_does_not_exist_is_not_found(api: ApiClient, path: str) -> None:
    assert_problem(api.request("GET", path), 404)


def test_cancelling_an_unknown_order_is_not_found(api: ApiClient) -> None:
    assert_problem(api.request("POST", f"/orders/{UNKNOWN_ID}/cancel"), 404)


def test_a_rejected_order_cannot_be_cancelled(api: ApiClient) -> None:
    order_id = api.create_order(UNKNOWN_ID, 4)
    assert decided(api, order_id)["orderState"] == "REJECTED"

    assert_problem(api.request("POST", f"/orders/{order_id}/cancel"), 409)

    assert api.get_order(order_id)["orderState"] == "REJECTED"
