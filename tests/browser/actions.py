"""Actions of a user in the console."""

from __future__ import annotations

import itertools

from playwright.sync_api import Locator, Page, expect

numbers = itertools.count(1)


def create_customer(page: Page, limit: str = "100.00", name: str | None = None) -> int:
    """Create a customer, which selects it, and return its id."""
    name = name or f"Jane Doe {next(numbers)}"
    page.get_by_label("Name").fill(name)
    page.get_by_label("Credit limit").fill(limit)
    with page.expect_response("**/customers") as answered:
        page.get_by_role("button", name="Create customer").click()
    expect(page.get_by_role("heading", name=f"Orders of {name}")).to_be_visible()
    return int(answered.value.json()["customerId"])


def place_order(page: Page, total: str) -> Locator:
    """Place an order and return its card in the list."""
    page.get_by_label("Order total").fill(total)
    with page.expect_response("**/orders") as answered:
        page.get_by_role("button", name="Place order").click()
    return page.locator(f'[data-order="{answered.value.json()["orderId"]}"]')


def expect_state(card: Locator, state: str) -> None:
    expect(card.locator(".state")).to_have_text(state)


def event_names(page: Page) -> Locator:
    return page.locator(".events tbody th")
