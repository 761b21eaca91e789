"""The API's documentation, clicked."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from infra.local.api_client import ApiClient
from tests.browser.conftest import Visit

pytestmark = pytest.mark.timeout(400)


def test_an_operation_works_when_it_is_tried_out(visit: Visit, api: ApiClient) -> None:
    customer_id = api.create_customer("Doc Umented", 5)
    page = visit.open("/docs")
    operation = page.locator(".opblock-get", has=page.get_by_text("/customers", exact=True))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()

    with page.expect_response("**/customers?*") as answered:
        operation.get_by_role("button", name="Execute").click()

    assert answered.value.status == 200
    assert answered.value.url.startswith(f"{visit.base_url}/customers?")
    expect(operation.locator(".live-responses-table tbody .response-col_status")).to_have_text(
        "200"
    )
    assert customer_id in {customer["customerId"] for customer in api.customers()}
