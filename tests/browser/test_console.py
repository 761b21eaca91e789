"""The console, used in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from infra.local.api_client import ApiClient, wait_until
from tests.browser.actions import create_customer, event_names, expect_state, place_order
from tests.browser.conftest import PHONE, Visit
from tests.browser.test_appearance import TOO_WIDE, serious_findings
from tests.e2e.test_saga import decided

pytestmark = pytest.mark.timeout(400)
TIMES = "\N{MULTIPLICATION SIGN}"


def test_introduction_is_open_until_a_customer_exists(visit: Visit) -> None:
    empty: dict[str, Any] = {"customers": [], "nextToken": None}
    visit.page.route("**/customers?*", lambda route: route.fulfill(json=empty))
    page = visit.open()

    introduction = page.locator(".intro")
    expect(introduction).to_have_attribute("open", "")
    expect(introduction).to_contain_text("A saga changes them in steps instead")
    for state in ("PENDING", "APPROVED", "REJECTED", "CANCELLED"):
        expect(introduction.locator(".legend")).to_contain_text(state)
    create_customer(page)
    expect(introduction).not_to_have_attribute("open", "")

    introduction.get_by_text("One order, two services").click()
    expect(introduction.locator(".legend")).to_be_visible()
    place_order(page, "1")
    expect(introduction.locator(".legend")).to_be_visible()


def test_approved_order_is_shown_in_all_places_without_a_reload(
    visit: Visit, api: ApiClient
) -> None:
    page = visit.open()
    customer_id = create_customer(page)
    page.evaluate("window.isSameDocument = true")

    card = place_order(page, "40.00")

    expect_state(card, "APPROVED")
    expect(page.locator("#credit")).to_contain_text("40.00 reserved, 60.00 left of 100.00")
    expect(page.locator("#customers [aria-pressed=true]")).to_contain_text("60.00 of 100.00 left")
    assert api.get_customer(customer_id)["availableCredit"] == {"amount": 60}
    names = ["OrderCreated", "CustomerCreditReserved", "OrderApproved"]
    expect(event_names(page)).to_contain_text(names)
    order_id = card.get_attribute("data-order")
    events = api.request("GET", f"/orderhistory/orders/{order_id}/events").json()["events"]
    assert [event["type"] for event in events] == names
    expect(page.locator(".diagram circle.event")).to_have_count(3)
    expect(page.locator(".diagram .arrow.to-service")).to_have_count(2)
    expect(page.locator(".diagram .arrow.to-view")).to_have_count(3)
    expect(page.get_by_role("img", name="Sequence diagram of 3 events")).to_be_visible()
    expect(page.locator(".facts tbody tr").first).to_contain_text("APPROVEDAPPROVED")
    page.get_by_text("Document of the view, as JSON").click()
    expect(page.locator("#view-document pre")).to_contain_text('"amount": 40')
    assert page.evaluate("window.isSameDocument") is True


def test_selected_order_that_is_pending_is_waited_for_in_one_request(visit: Visit) -> None:
    page, preferences = visit.open(), list[str | None]()

    def pending_unless_waited_for(route: Route) -> None:
        preferences.append(route.request.headers.get("prefer"))
        state = {} if preferences[-1] else {"orderState": "PENDING"}
        route.fulfill(json=route.fetch().json() | state)

    create_customer(page)
    page.route(re.compile(r"/v1/orders/\d+$"), pending_unless_waited_for)
    place_order(page, "1")

    expect(page.locator(".saga-head .state")).to_have_text("APPROVED")
    assert preferences[:2] == [None, "wait=2"]


def test_order_beyond_the_limit_is_rejected_with_its_reason(visit: Visit) -> None:
    page = visit.open()
    create_customer(page, "5")

    card = place_order(page, "5.01")

    expect_state(card, "REJECTED")
    expect(card).to_contain_text("not enough credit")
    expect(page.locator("#credit")).to_contain_text("0.00 reserved, 5.00 left of 5.00")
    expect(event_names(page)).to_contain_text(
        ["OrderCreated", "CustomerCreditReservationFailed", "OrderRejected"]
    )


def test_cancelled_order_releases_its_credit(visit: Visit) -> None:
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


def test_twenty_orders_at_once_stay_within_the_limit(visit: Visit, api: ApiClient) -> None:
    page = visit.open()
    customer_id = create_customer(page)

    page.get_by_role("button", name="Place twenty orders at once").click()

    verdict = page.locator("#rush-result .verdict")
    expect(verdict).to_contain_text("7 approved for 99.96, 13 not. 99.96 ≤ 100.00: the limit held.")
    expect(page.locator(".ticks span")).to_have_count(20)
    expect(page.locator("#announcer")).to_contain_text("the limit held")
    assert api.get_customer(customer_id)["availableCredit"] == {"amount": Decimal("0.04")}
    expect(page.locator(".card")).to_have_count(20)
    page.get_by_role("button", name="APPROVED 7").click()
    expect(page.locator(".card")).to_have_count(7)
    page.get_by_role("button", name="All 20").click()
    expect(page.locator(".card")).to_have_count(20)


def change_states(visit: Visit, state_of: Callable[[int], str]) -> None:
    """Replace the state of each order in the answers of the Orders service and of the view."""

    def order(route: Route) -> None:
        answer = route.fetch().json()
        state = state_of(answer["orderId"])
        route.fulfill(json=answer | {"orderState": state, "state": state})

    def history(route: Route) -> None:
        answer = route.fetch().json()
        for known in answer["orders"].values():
            known["state"] = state_of(known["orderId"])
        route.fulfill(json=answer)

    visit.page.route(re.compile(r"/orders/\d+$"), order)
    visit.page.route("**/orderhistory?*", history)


def test_verdict_compares_with_the_credit_that_was_left(visit: Visit) -> None:
    page = visit.open()
    create_customer(page)
    first = place_order(page, "60.00")
    expect_state(first, "APPROVED")
    expect(page.locator(".facts .same")).to_have_count(3)
    approved = [int(first.get_attribute("data-order") or "")]

    def approve_five_more(order_id: int) -> str:
        if order_id not in approved and len(approved) < 6:
            approved.append(order_id)
        return "APPROVED" if order_id in approved else "REJECTED"

    change_states(visit, approve_five_more)
    page.get_by_role("button", name="Place twenty orders at once").click()

    # 5 x 14.28 is less than the limit of 100.00, but more than the 40.00 that were left.
    expect(page.locator("#rush-result .verdict")).to_have_text(
        "5 approved for 71.40, 15 not. 71.40 > 40.00: the limit was broken!"
    )


def test_unknown_state_is_final_and_grey(visit: Visit) -> None:
    page = visit.open()
    create_customer(page)
    card = place_order(page, "10.00")
    expect_state(card, "APPROVED")
    expect(event_names(page)).to_have_count(3)

    change_states(visit, lambda _: "SHIPPED")

    expect_state(card, "SHIPPED")
    expect(page.locator(".facts tbody tr").first).to_contain_text("SHIPPEDSHIPPED")
    expect(page.locator(".waiting")).to_have_count(0)
    soft = page.locator(".order-id").evaluate("element => getComputedStyle(element).color")
    expect(card.locator(".state")).to_have_css("color", soft)


def test_error_is_shown_at_its_field_until_it_is_edited(visit: Visit) -> None:
    visit.expected_errors = ["status of 400 .*/(orders|customers)$"]
    page = visit.open()
    page.set_viewport_size({"width": 320, "height": 740})
    create_customer(page)
    total, button = page.get_by_label("Order total"), page.get_by_role("button", name="Place order")
    error = page.locator("#order-total-error")
    place = button.evaluate("element => element.offsetTop - element.form.offsetTop")

    for value, message in (("0", "must be from 0.01"), ("a lot", "must be a number")):
        total.fill(value)
        button.click()
        expect(error).to_contain_text(message)
        expect(total).to_have_attribute("aria-invalid", "true")
        expect(total).to_be_focused()
        assert button.evaluate("element => element.offsetTop - element.form.offsetTop") == place
    expect(page.locator("#no-orders")).to_be_visible()

    total.fill("1")
    expect(error).to_be_empty()
    expect(total).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("Name").fill(" ")
    page.get_by_role("button", name="Create customer").click()
    expect(page.locator("#name-error")).to_contain_text("must have a visible character")


def test_problem_without_a_field_is_shown_with_its_correlation_id(visit: Visit) -> None:
    visit.expected_errors = ["status of 500 .*/orders$"]
    page = visit.open()
    create_customer(page)
    problem = {"title": "Internal Server Error", "detail": "The request failed. Retry it."}
    problem |= {"correlationId": "7d3c"}
    page.route("**/orders", lambda route: route.fulfill(status=500, json=problem))

    page.get_by_role("button", name="Place order").click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Internal Server Error. The request failed. Retry it.")
    expect(alert).to_contain_text("Correlation id 7d3c")
    alert.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()


def test_unreachable_api_is_shown_on_a_scrolled_phone_until_it_answers(visit: Visit) -> None:
    visit.expected_errors = ["ERR_INTERNET_DISCONNECTED"]
    page = visit.open()
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    create_customer(page)
    page.locator("footer").scroll_into_view_if_needed()

    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("The API cannot be reached.")
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
    expect(page.locator("#pulse")).to_contain_text("No answer")

    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#pulse")).to_contain_text("Live")


def test_redelivered_event_is_marked(visit: Visit) -> None:
    page = visit.open()

    def redeliver_first_event(route: Route) -> None:
        answer: dict[str, Any] = route.fetch().json()
        for event in answer["events"][:1]:
            event |= {"deliveries": 3, "lastDeliveredAt": "2040-01-01T00:00:00.000Z"}
        route.fulfill(json=answer)

    page.route("**/events", redeliver_first_event)
    create_customer(page)
    place_order(page, "1.00")

    expect(page.locator(".events .repeated")).to_contain_text(["OrderCreated by Orders"])
    expect(page.locator(".events .repeated")).to_contain_text(f"delivered 3{TIMES}")
    expect(page.locator(".diagram .again")).to_have_count(1)
    expect(page.locator(".diagram .again-text").first).to_contain_text(f"delivered 3{TIMES}")
    expect(page.locator(".diagram .arrow.repeated")).to_have_count(1)
    expect(page.locator(".diagram .again-text").last).to_contain_text("1 again after")
    expect(page.locator("#saga-detail")).to_contain_text("1 of 3 events was redelivered.")


def test_order_can_be_placed_and_cancelled_by_keyboard(visit: Visit) -> None:
    page = visit.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to customers and orders")).to_be_focused()
    page.keyboard.press("Enter")

    def tab_to(target: Locator) -> None:
        for _ in range(200):
            if target.evaluate("element => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {target}")

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
    tab_to(card.get_by_role("button", name="Cancel order"))
    page.keyboard.press("Space")

    expect_state(card, "CANCELLED")
    expect(page.locator("#announcer")).to_contain_text("CANCELLED")


def test_hidden_tab_sends_no_requests(visit: Visit) -> None:
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
    page.wait_for_timeout(6000)  # longer than the longest pause between two requests
    assert len(visit.requests) == before

    page.evaluate(hide, False)
    expect(page.locator("#pulse")).to_contain_text("Live")
    assert len(visit.requests) > before


def test_address_works_without_its_last_slash(visit: Visit) -> None:
    page = visit.open("")

    create_customer(page)
    page.get_by_role("link", name="API documentation").click()
    expect(page).to_have_url(f"{visit.base_url}/docs")


def test_link_to_an_order_selects_it_even_if_the_browsers_clock_is_slow(
    visit: Visit, api: ApiClient
) -> None:
    customer_id = api.create_customer("Linda Linked", 10)
    order_id = decided(api, api.create_order(customer_id, 4))["orderId"]
    api.create_order(customer_id, 5)
    visit.page.add_init_script("const now = Date.now; Date.now = () => now() - 3_600_000;")

    page = visit.open(f"/#order={order_id}")

    expect(page.locator(".order-id")).to_contain_text(str(order_id))
    expect(event_names(page)).to_have_count(3)
    expect(page.get_by_role("heading", name="Orders of Linda Linked")).to_be_visible()
    expect(page.locator(".card")).to_have_count(2)
    assert page.url.endswith(f"#order={order_id}")


def test_order_is_found_by_its_id(visit: Visit, api: ApiClient) -> None:
    visit.expected_errors = [r"status of 404 .*/(orders/1|customers/4242)$"]
    order_id = api.create_order(api.create_customer("Fiona Found", 10), 4)
    rejected = api.create_order(4242, 4)  # the customer does not exist
    page = visit.open()
    field, find = page.get_by_label("Order id"), page.get_by_role("button", name="Find")

    for absent in ("1", "x", "99999999999999999999"):
        field.fill(absent)
        find.click()
        expect(page.locator("#find-error")).to_have_text("No order has this id.")
    for existing in (order_id, rejected):
        field.fill(f" {existing} ")
        find.click()
        expect(page.locator(".order-id")).to_contain_text(str(existing))
        expect(event_names(page)).to_have_count(3)
        assert page.url.endswith(f"#order={existing}")
    expect(page.locator(".facts")).to_contain_text("unknown customer")


def test_search_selects_customers_and_orders_by_keyboard(visit: Visit, api: ApiClient) -> None:
    visit.expected_errors = [r"status of 400 .*/orderhistory/search\?"]
    customer_id = api.create_customer("Sören Searched", 20)
    order_id = decided(api, api.create_order(customer_id, 4))["orderId"]
    wait_until(
        lambda: api.request("GET", f"/orderhistory/search?q={customer_id}%20approved").json(),
        lambda page: len(page["hits"]) == 1,
        deadline_seconds=60,
    )
    page = visit.open()
    field, hits = page.get_by_label("Search customers and orders"), page.locator("#hits button")

    field.fill("!")
    field.press("Enter")
    expect(page.locator("#search-error")).to_contain_text("1 to 8 words")
    field.fill("searched SOREN")
    field.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("2 results for “searched SOREN”.")
    for name, shown in (("Customer", "#orders-title"), ("APPROVED", ".order-id")):
        while name not in page.evaluate("document.activeElement.textContent"):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        text = "Orders of Sören Searched" if name == "Customer" else str(order_id)
        expect(page.locator(shown)).to_contain_text(text)
        expect(hits.filter(has_text=name)).to_have_attribute("aria-pressed", "true")
    for color_scheme in ("light", "dark"):
        page.emulate_media(color_scheme=color_scheme)
        assert serious_findings(page) == []
    page.set_viewport_size({"width": 320, "height": 740})
    assert page.evaluate(TOO_WIDE) == []
    page.keyboard.press("Escape")
    expect(hits).to_have_count(0)
    expect(field).to_be_focused()


def test_search_shows_more_results_until_the_last_page(visit: Visit) -> None:
    def answer(route: Route) -> None:
        is_first = "nextToken" not in route.request.url
        hit = customer(1 if is_first else 2) | {"kind": "customer"}
        route.fulfill(json={"hits": [hit], "nextToken": "2" if is_first else None})

    visit.page.route("**/orderhistory/search?*", answer)
    page = visit.open()
    page.get_by_label("Search customers and orders").fill("customer")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#search-note")).to_have_text("1 result for “customer” so far.")
    page.get_by_role("button", name="Show more results").click()

    expect(page.locator("#hits")).to_contain_text("Customer 1")
    expect(page.locator("#search-note")).to_have_text("2 results for “customer”.")
    expect(page.get_by_role("button", name="Show more results")).to_be_hidden()


def test_newest_customer_stays_listed_and_selected_after_a_reload(visit: Visit) -> None:
    page = visit.open()
    name = "Rita Reload"
    create_customer(page, name=name)
    others = [customer(number) for number in range(1, 101)]
    page.route(
        "**/customers?*",
        lambda route: route.fulfill(json={"customers": others, "nextToken": "2"}),
    )

    page.reload()

    expect(page.get_by_role("heading", name=f"Orders of {name}")).to_be_visible()
    expect(page.locator("#customers [aria-pressed=true]")).to_contain_text(name)
    expect(page.locator("#customers li")).to_have_count(101)


def customer(number: int) -> dict[str, Any]:
    credit = {name: {"amount": 1} for name in ("creditLimit", "availableCredit")}
    return {"customerId": number, "name": f"Customer {number}", **credit}


def test_show_more_customers_stays_hidden_after_the_last_page(visit: Visit) -> None:
    visit.expected_errors = [r"status of 404 .*/customers/\d+$"]
    pages = {None: (range(1, 101), "2"), "2": (range(101, 121), None)}

    def answer(route: Route) -> None:
        token = "2" if "nextToken=2" in route.request.url else None
        ids, following = pages[token]
        route.fulfill(json={"customers": [customer(n) for n in ids], "nextToken": following})

    visit.page.route("**/customers?*", answer)
    page = visit.open()
    more = page.get_by_role("button", name="Show more customers")

    more.click()
    expect(page.locator("#customers li")).to_have_count(120)
    expect(more).to_be_hidden()
    with page.expect_response(re.compile(r"/customers\?limit=100$")):
        pass  # the page polls the first page of the list again
    page.wait_for_timeout(300)
    expect(more).to_be_hidden()


def test_api_protected_by_iam_is_explained(visit: Visit) -> None:
    """API Gateway answers unsigned requests as this test does. No emulator does."""
    visit.expected_errors = ["status of 403"]
    for path in ("**/customers*", "**/orders*"):
        visit.page.route(
            path,
            lambda route: route.fulfill(
                status=403,
                headers={"x-amzn-ErrorType": "MissingAuthenticationTokenException"},
                json={"message": "Missing Authentication Token"},
            ),
        )
    command = f'curl "{visit.base_url}/customers" \\\n  --aws-sigv4 "aws:amz:REGION:execute-api"'

    page = visit.open()
    expect(page.get_by_role("heading", name="signed requests only")).to_be_visible()
    expect(page.locator("#signed-request")).to_contain_text(command)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.wait_for_load_state("networkidle")
    before = len(visit.requests)
    page.wait_for_timeout(3000)
    assert len(visit.requests) == before

    page = visit.open("/docs")
    expect(page.locator("#signature-notice")).to_contain_text("accepts signed requests only")
    expect(page.locator("#signed-request")).to_contain_text(command)
