"""The console and the documentation of an API that needs bearer tokens."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from infra.local.stack import EmbeddedStack
from tests.browser.actions import create_customer, expect_state, place_order
from tests.browser.conftest import Visit
from tests.e2e.test_bearer_tokens import EVERYTHING
from tests.issuer import Issuer
from tests.stacks import local_stack_only

pytestmark = [pytest.mark.timeout(400), local_stack_only]


@pytest.fixture(scope="module")
def base_url(token_stack: EmbeddedStack) -> str:
    return token_stack.base_url


def test_token_is_requested_and_kept_in_the_tab_only(visit: Visit, issuer: Issuer) -> None:
    visit.expected_errors = ["status of 401"]
    page = visit.open("/docs")
    expect(page.locator("#token-notice")).to_contain_text("needs a bearer token")
    page = visit.open()
    token = page.get_by_label("Bearer token")
    expect(token).to_be_visible()

    token.fill("forged")
    page.get_by_role("button", name="Use token").click()
    expect(token).to_be_visible()
    token.fill(issuer.sign(scope=f"{EVERYTHING} customers:all").removeprefix("Bearer "))
    page.get_by_role("button", name="Use token").click()

    expect(token).to_be_hidden()
    create_customer(page)
    expect_state(place_order(page, "40.00"), "APPROVED")
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []

    page = visit.open("/docs")
    operation = page.locator(".opblock-get", has=page.get_by_text("/customers", exact=True))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/customers?*") as answered:
        operation.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    expect(page.locator("#token-notice")).to_be_hidden()


def test_missing_scope_is_named(visit: Visit, issuer: Issuer) -> None:
    visit.expected_errors = ["status of 40[13]"]
    page = visit.open()
    page.get_by_label("Bearer token").fill(issuer.sign().removeprefix("Bearer "))
    page.get_by_role("button", name="Use token").click()

    expect(page.get_by_role("alert")).to_contain_text("The token lacks the scope customers:read.")
