"""Requests that wait: for the decision of an order, and for a version of the view."""

from __future__ import annotations

from infra.local.api_client import ApiClient


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

    decided = api.request("GET", f"/orders/{order_id}", headers={"Prefer": "wait=10"})

    assert decided.json()["orderState"] == "APPROVED"
    assert decided.headers["Preference-Applied"] == "wait=10"
    assert "Retry-After" not in decided.headers
    newest = {"minVersion": version(decided.headers)}
    assert api.get_order_timeline(order_id, **newest)["state"] == "APPROVED"
    assert api.get_order_history(customer_id)["orders"][str(order_id)]["state"] == "APPROVED"
    cancelled = api.request("POST", f"/orders/{order_id}/cancel")
    newest = {"minVersion": version(cancelled.headers)}
    assert api.get_order_timeline(order_id, **newest)["state"] == "CANCELLED"
