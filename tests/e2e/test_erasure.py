"""A customer is erased, over HTTP only. tests/integration looks into tables, outbox and view."""

from __future__ import annotations

from infra.local.api_client import ApiClient, wait_until
from tests.e2e.test_saga import DEADLINE_SECONDS, decided, history_with


def status(api: ApiClient, path: str) -> int:
    return api.request("GET", path).status_code


def test_erased_customer_is_gone_and_its_orders_stay(api: ApiClient) -> None:
    customer_id = api.create_customer("Jane Doe", 10)
    order_id = api.create_order(customer_id, 4)
    decided(api, order_id)
    history_with(api, customer_id, {order_id: "APPROVED"})

    api.erase_customer(customer_id)

    history = f"/customers/{customer_id}/orderhistory"
    wait_until(lambda: status(api, history), lambda found: found == 404, DEADLINE_SECONDS)
    api.erase_customer(customer_id)  # again
    assert api.request("DELETE", "/customers/123").status_code == 404
    assert status(api, f"/customers/{customer_id}") == 404
    assert customer_id not in {customer["customerId"] for customer in api.customers()}
    listed = len(list(api.customers()))
    wait_until(
        lambda: int(api.request("GET", "/customers/count").text),
        lambda counted: counted == listed,
        DEADLINE_SECONDS,
    )
    refused = decided(api, api.create_order(customer_id, 1))
    assert (refused["orderState"], refused["rejectionReason"]) == ("REJECTED", "CUSTOMER_ERASED")
    assert api.cancel_order(order_id)["orderState"] == "CANCELLED"
    wait_until(
        lambda: api.request("GET", f"/orderhistory/orders/{order_id}/events").text,
        lambda events: "CustomerCreditReleased" in events,
        DEADLINE_SECONDS,
    )
    assert status(api, history) == 404
    hits = api.request("GET", f"/orderhistory/search?q={customer_id}").json()["hits"]
    assert order_id in {hit["orderId"] for hit in hits}
    assert {hit["customerName"] for hit in hits} == {None}
