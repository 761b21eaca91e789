"""The console, used as people use it."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Locator, Page, Route, expect

from infra.local.api_client import ApiClient
from tests.browser.conftest import ARTIFACTS, DESKTOP, PHONE, Visit

pytestmark = pytest.mark.timeout(400)
numbers = itertools.count(1)


def create_customer(page: Page, limit: str = "100.00", name: str | None = None) -> int:
    """A new customer is there, and chosen. Gives the id."""
    name = name or f"Jane Doe {next(numbers)}"
    page.get_by_label("Name").fill(name)
    page.get_by_label("Credit limit").fill(limit)
    with page.expect_response("**/customers") as answered:
        page.get_by_role("button", name="Create customer").click()
    expect(page.get_by_role("heading", name=f"Orders of {name}")).to_be_visible()
    return int(answered.value.json()["customerId"])


def place_order(page: Page, total: str) -> Locator:
    """The card of a new order."""
    page.get_by_label("Order total").fill(total)
    with page.expect_response("**/orders") as answered:
        page.get_by_role("button", name="Place order").click()
    return page.locator(f'[data-order="{answered.value.json()["orderId"]}"]')


def expect_state(card: Locator, state: str) -> None:
    expect(card.locator(".state")).to_have_text(state)


def event_names(page: Page) -> Locator:
    return page.locator(".events tbody th")


def test_a_newcomer_reads_what_a_saga_is_and_what_the_states_mean(visit: Visit) -> None:
    page = visit.open()

    introduction = page.locator(".intro")
    expect(introduction).to_contain_text("A saga does it in steps instead")
    for state in ("PENDING", "APPROVED", "REJECTED", "CANCELLED"):
        expect(introduction.locator(".legend")).to_contain_text(state)
    expect(page.get_by_label("Bearer token")).to_be_hidden()


def test_an_order_within_the_limit_is_approved_before_ones_eyes(
    visit: Visit, api: ApiClient
) -> None:
    page = visit.open()
    customer_id = create_customer(page)
    page.evaluate("window.wasNotLoadedAgain = true")

    card = place_order(page, "40.00")

    expect_state(card, "APPROVED")
    expect(page.locator("#credit")).to_contain_text("40.00 reserved, 60.00 left of 100.00")
    expect(page.locator("#customers [aria-pressed=true]")).to_contain_text("60.00 of 100.00 left")
    assert page.evaluate("window.wasNotLoadedAgain") is True
    assert api.get_customer(customer_id)["availableCredit"] == {"amount": 60}


def test_the_saga_is_drawn_from_the_events_that_there_were(visit: Visit, api: ApiClient) -> None:
    page = visit.open()
    create_customer(page)
    card = place_order(page, "12.34")

    expect(event_names(page)).to_contain_text(
        ["OrderCreated", "CustomerCreditReserved", "OrderApproved"]
    )
    order_id = card.get_attribute("data-order")
    events = api.request("GET", f"/orderhistory/orders/{order_id}/events").json()["events"]
    expect(page.locator(".diagram circle.event")).to_have_count(len(events))
    expect(page.locator(".diagram .arrow.to-service")).to_have_count(2)
    expect(page.locator(".diagram .arrow.to-view")).to_have_count(3)
    expect(page.get_by_role("img", name="Sequence diagram of 3 events")).to_be_visible()
    expect(page.locator(".lag")).to_contain_text(re.compile(r"\d+(\.\d+)? m?s after it happened"))
    expect(page.locator(".comparison tbody tr").first).to_contain_text("APPROVEDAPPROVED")
    page.get_by_text("Document of the view, as JSON").click()
    expect(page.locator("#view-document pre")).to_contain_text('"amount": 12.34')


def test_an_order_beyond_the_limit_is_rejected_and_says_why(visit: Visit) -> None:
    page = visit.open()
    create_customer(page, "5")

    card = place_order(page, "5.01")

    expect_state(card, "REJECTED")
    expect(card).to_contain_text("not enough credit")
    expect(page.locator("#credit")).to_contain_text("0.00 reserved, 5.00 left of 5.00")
    expect(event_names(page)).to_contain_text(
        ["OrderCreated", "CustomerCreditReservationFailed", "OrderRejected"]
    )


def test_a_cancelled_order_gives_its_credit_back(visit: Visit) -> None:
    page = visit.open()
    create_customer(page)
    card = place_order(page, "100")
    expect_state(card, "APPROVED")

    card.get_by_role("button", name="Cancel order").click()

    expect_state(card, "CANCELLED")
    expect(card.get_by_role("button", name="Cancel order")).to_be_hidden()
    expect(page.locator("#credit")).to_contain_text("0.00 reserved, 100.00 left of 100.00")
    expect(event_names(page)).to_contain_text(["OrderCancelled", "CustomerCreditReleased"])
    expect(page.locator(".diagram")).to_contain_text("later")


def test_of_twenty_orders_at_once_no_more_are_approved_than_the_limit_bears(
    visit: Visit, api: ApiClient
) -> None:
    page = visit.open()
    customer_id = create_customer(page)

    page.get_by_role("button", name="Place twenty orders at once").click()

    verdict = page.locator("#rush-result .verdict")
    expect(verdict).to_contain_text("99.96 ≤ 100.00: the limit held.")
    expect(verdict).to_contain_text("7 approved for 99.96, 13 not.")
    expect(page.locator(".ticks span")).to_have_count(20)
    expect(page.locator(".card")).to_have_count(20)
    expect(page.locator("#announcer")).to_contain_text("the limit held")
    assert api.get_customer(customer_id)["availableCredit"] == {"amount": Decimal("0.04")}


def test_what_the_api_refuses_is_said_at_the_field(visit: Visit) -> None:
    visit.expected_errors = ["status of 400 .*/(orders|customers)$"]
    page = visit.open()
    create_customer(page)

    for total, message in (("0", "must be from 0.01"), ("a lot", "must be a number")):
        page.get_by_label("Order total").fill(total)
        page.get_by_role("button", name="Place order").click()
        expect(page.locator("#order-total-error")).to_contain_text(message)
        expect(page.get_by_label("Order total")).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label("Order total")).to_be_focused()
    expect(page.locator("#no-orders")).to_be_visible()

    place_order(page, "1")
    expect(page.locator("#order-total-error")).to_be_empty()
    page.get_by_label("Name").fill(" ")
    page.get_by_role("button", name="Create customer").click()
    expect(page.locator("#name-error")).to_contain_text("must have a visible character")


def test_a_problem_that_belongs_to_no_field_is_said_with_its_correlation_id(visit: Visit) -> None:
    visit.expected_errors = ["status of 500 .*/orders$"]
    page = visit.open()
    create_customer(page)
    problem = {
        "type": "urn:customers-and-orders:problem:unexpected-error",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong here. It may work if you try again.",
        "correlationId": "7d3c",
    }
    page.route("**/orders", lambda route: route.fulfill(status=500, json=problem))

    page.get_by_role("button", name="Place order").click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Internal Server Error. Something went wrong here.")
    expect(alert).to_contain_text("Correlation id 7d3c")
    alert.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()


def test_an_api_that_cannot_be_reached_is_told_of_until_it_can(visit: Visit) -> None:
    visit.expected_errors = ["ERR_INTERNET_DISCONNECTED"]
    page = visit.open()
    create_customer(page)

    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("The API cannot be reached.")
    expect(page.locator("#pulse")).to_contain_text("No answer")

    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#pulse")).to_contain_text("Live")


def test_an_event_that_was_delivered_more_than_once_shows_it(visit: Visit) -> None:
    page = visit.open()

    def deliver_the_first_again(route: Route) -> None:
        answer: dict[str, Any] = route.fetch().json()
        for event in answer["events"][:1]:
            event["deliveries"] = 3
        route.fulfill(json=answer)

    page.route("**/events", deliver_the_first_again)
    create_customer(page)
    place_order(page, "1.00")

    expect(page.locator(".events .repeated")).to_contain_text(["OrderCreated"])
    expect(page.locator(".events .repeated td").last).to_have_text("3\N{MULTIPLICATION SIGN}")
    expect(page.locator(".diagram .again")).to_have_count(1)
    expect(page.locator(".diagram .again-text")).to_contain_text("\N{MULTIPLICATION SIGN}3")


def test_an_order_can_be_placed_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to customers and orders")).to_be_focused()
    page.keyboard.press("Enter")

    def tab_to(target: Locator) -> None:
        for _ in range(40):
            if target.evaluate("element => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"no way to {target} by Tab")

    tab_to(page.get_by_label("Name"))
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Kay Board")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Orders of Kay Board")).to_be_visible()
    tab_to(page.get_by_label("Order total"))
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("7.50")
    page.keyboard.press("Enter")
    card = page.locator(".card").first
    expect_state(card, "APPROVED")
    cancel = card.get_by_role("button", name="Cancel order")
    tab_to(cancel)
    page.keyboard.press("Space")

    expect_state(card, "CANCELLED")
    expect(page.locator("#announcer")).to_contain_text("CANCELLED")


def test_nothing_is_asked_for_while_the_tab_is_hidden(visit: Visit) -> None:
    page = visit.open()
    create_customer(page)
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    page.evaluate(hide, True)
    expect(page.locator("#pulse")).to_contain_text("Paused")
    page.wait_for_load_state("networkidle")
    before = len(visit.requests)
    page.wait_for_timeout(6000)  # longer than the longest pause between two looks
    assert len(visit.requests) == before

    page.evaluate(hide, False)
    expect(page.locator("#pulse")).to_contain_text("Live")
    assert len(visit.requests) > before


def test_the_address_may_lack_its_slash(visit: Visit) -> None:
    page = visit.open("")

    create_customer(page)
    page.get_by_role("link", name="API documentation").click()
    expect(page).to_have_url(f"{visit.base_url}/docs")


LOOKS: tuple[tuple[str, tuple[int, int], Literal["light", "dark"]], ...] = (
    ("light", DESKTOP, "light"),
    ("dark", DESKTOP, "dark"),
    ("phone", PHONE, "light"),
    ("phone-dark", PHONE, "dark"),
)


def inner_width(page: Page) -> int:
    """How wide the diagram is to be."""
    width: int = page.locator("#saga-detail").evaluate("element => element.clientWidth")
    return width


def serious_findings(page: Page) -> list[tuple[str, list[str]]]:
    """What axe has against the page, each rule with the elements that break it."""
    found = Axe().run(page).response["violations"]
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]


def a_full_page(page: Page) -> None:
    """Orders in all states but PENDING, and the saga of the cancelled one."""
    create_customer(page, "250.00", "Ada Lovelace")
    expect_state(place_order(page, "180.00"), "APPROVED")
    create_customer(page, name="Jane Doe")
    cancelled = place_order(page, "40.00")
    expect_state(cancelled, "APPROVED")
    for total in ("35.50", "64.00"):
        expect(place_order(page, total).locator(".state")).not_to_have_text("PENDING")
    cancelled.get_by_role("button", name="Cancel order").click()
    expect(event_names(page)).to_have_count(5)
    expect(page.locator(".comparison .behind")).to_have_count(0)


def test_no_width_makes_the_page_scroll_sideways(visit: Visit) -> None:
    page = visit.open()
    create_customer(page, "99999999999.99")
    card = place_order(page, "99999999999.98")
    expect_state(card, "APPROVED")
    expect(event_names(page)).to_have_count(3)
    visible = "document.documentElement.clientWidth"

    for width in (320, PHONE[0], 800, 1100, DESKTOP[0]):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator(".diagram svg")).to_be_visible()
        assert page.evaluate(f"document.documentElement.scrollWidth <= {visible}"), width


def test_in_light_and_dark_on_desktop_and_phone_axe_finds_nothing_serious(visit: Visit) -> None:
    """Screenshots are left in ARTIFACTS, to be looked at."""
    page = visit.open()
    a_full_page(page)
    page.locator("#main").evaluate("element => element.focus()")

    for name, (width, height), color_scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=color_scheme)
        expect(page.locator(".diagram svg")).to_have_js_property("clientWidth", inner_width(page))
        page.screenshot(path=ARTIFACTS / f"console-{name}.png", full_page=True)
        assert serious_findings(page) == []


def test_an_error_at_a_field_is_accessible(visit: Visit) -> None:
    visit.expected_errors = ["status of 400 .*/orders$"]
    page = visit.open()
    create_customer(page)
    page.get_by_label("Order total").fill("")
    page.get_by_role("button", name="Place order").click()
    expect(page.locator("#order-total-error")).not_to_be_empty()

    for color_scheme in ("light", "dark"):
        page.emulate_media(color_scheme=color_scheme)
        assert serious_findings(page) == []
