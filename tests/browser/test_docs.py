"""The API's documentation, used in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from infra.local.api_client import ApiClient
from tests.browser.conftest import Visit

pytestmark = pytest.mark.timeout(400)


def test_operation_can_be_tried_out(visit: Visit, api: ApiClient) -> None:
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
    expect(page.locator(".notice:visible")).to_have_count(0)


def test_page_follows_the_browsers_color_scheme(visit: Visit) -> None:
    page = visit.open("/docs")
    brightness = "element => Math.max(...getComputedStyle(element).%s.match(/\\d+/g).map(Number))"

    for color_scheme in ("dark", "light"):
        page.emulate_media(color_scheme=color_scheme)
        is_dark = color_scheme == "dark"
        expect(page.locator("html")).to_have_class("dark-mode" if is_dark else "")
        expect(page.locator(".info .title")).to_be_visible()
        text = page.locator(".info .title").evaluate(brightness % "color")
        assert (text > 128) is is_dark
