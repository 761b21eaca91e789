"""The console of an API that wants to know who asks."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.test_console import create_customer, expect_state, place_order
from tests.e2e import test_bearer_tokens
from tests.e2e.test_bearer_tokens import EVERYTHING, base_url, issuer  # noqa: F401, fixtures
from tests.issuer import Issuer

pytestmark = [pytest.mark.timeout(400), test_bearer_tokens.pytestmark]


def test_a_token_is_asked_for_where_the_api_wants_one_and_is_kept_in_the_tab(
    visit: Visit,
    issuer: Issuer,  # noqa: F811
) -> None:
    visit.expected_errors = ["status of 401"]
    page = visit.open()
    token = page.get_by_label("Bearer token")
    expect(token).to_be_visible()

    token.fill("forged")
    page.get_by_role("button", name="Use token").click()
    expect(token).to_be_visible()
    token.fill(issuer.sign(scope=EVERYTHING).removeprefix("Bearer "))
    page.get_by_role("button", name="Use token").click()

    expect(token).to_be_hidden()
    create_customer(page)
    expect_state(place_order(page, "40.00"), "APPROVED")
    assert page.evaluate("localStorage.length") == 0


def test_a_token_that_does_not_allow_it_is_told_of(visit: Visit, issuer: Issuer) -> None:  # noqa: F811
    visit.expected_errors = ["status of 40[13]"]
    page = visit.open()
    page.get_by_label("Bearer token").fill(issuer.sign().removeprefix("Bearer "))
    page.get_by_role("button", name="Use token").click()

    expect(page.get_by_role("alert")).to_contain_text("The token lacks the scope customers:read.")
