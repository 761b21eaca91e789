"""The layout and accessibility of the console and the API's documentation: light and dark, desktop and phone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, Route, expect

from tests.browser.actions import create_customer, event_names, expect_state, place_order
from tests.browser.conftest import DESKTOP, PHONE, Visit

pytestmark = pytest.mark.timeout(400)

LOOKS: list[tuple[tuple[int, int], Literal["light", "dark"]]] = [
    (size, color_scheme) for size in (DESKTOP, PHONE) for color_scheme in ("light", "dark")
]
WIDTHS = (320, 360, 430, 800, 1100, 1280, 1440)

TOO_WIDE = """() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const isTooWide = (element) => element.getBoundingClientRect().right > clientWidth;
    const elements = scrollWidth > clientWidth ? [...document.querySelectorAll("body *")].filter(isTooWide) : [];
    return elements.map((element) => element.outerHTML.slice(0, 200));
}"""
BROKEN_WORDS = """() => {
    const broken = [];
    for (const cell of document.querySelectorAll("table th, table td")) {
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const text = texts.currentNode;
            if (!text.parentElement.checkVisibility()) continue;
            for (const word of text.data.matchAll(/[A-Za-z]+/g)) {
                const range = new Range();
                range.setStart(text, word.index);
                range.setEnd(text, word.index + word[0].length);
                if (range.getClientRects().length > 1) broken.push(word[0]);
            }
        }
    }
    return broken;
}"""
OVERLAPPING_EVENTS = """() => {
    const circles = [...document.querySelectorAll(".diagram circle.event")].map(({cx, cy}) => [cx.baseVal.value, cy.baseVal.value]);
    return circles.some(([x, y], i) => circles.slice(i + 1).some(([u, v]) => Math.hypot(x - u, y - v) < 18));
}"""
CROSSED_LABELS = """() => {
    const labels = [...document.querySelectorAll(".diagram text:not(.number, .lane text)")];
    const points = [...document.querySelectorAll(".diagram .arrow line, .diagram .lane line")].flatMap((line) =>
        Array.from({length: 201}, (_, i) => {
            const along = (from, to) => line[from].baseVal.value + (line[to].baseVal.value - line[from].baseVal.value) * i / 200;
            return [along("x1", "x2"), along("y1", "y2")];
        }));
    const {width} = document.querySelector(".diagram svg").viewBox.baseVal;
    return labels.filter((label) => {
        const box = label.getBBox();
        return box.x + box.width > width || points.some(([x, y]) =>
            box.x < x && x < box.x + box.width && box.y + 2 < y && y < box.y + box.height - 2);
    }).map((label) => label.textContent);
}"""


def serious_findings(page: Page) -> list[tuple[str, list[str]]]:
    """Return the rules of axe that the page breaks, each with the elements that break it."""
    violations = Axe().run(page).response["violations"]
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in violations
        if violation["impact"] in {"serious", "critical"}
    ]


def resize(page: Page, width: int, height: int) -> None:
    """Resize the viewport and wait until the diagram is as wide as its pane."""
    page.set_viewport_size({"width": width, "height": height})
    pane = page.locator("#saga-detail").evaluate("element => element.clientWidth")
    expect(page.locator(".diagram svg")).to_have_js_property("clientWidth", pane)


def test_axe_finds_nothing_serious(visit: Visit) -> None:
    visit.expected_errors = ["status of 400 .*/orders$"]
    page = visit.open()
    create_customer(page)
    cancelled = place_order(page, "40.00")
    expect_state(cancelled, "APPROVED")
    expect_state(place_order(page, "35.50"), "APPROVED")
    expect_state(place_order(page, "64.00"), "REJECTED")
    cancelled.get_by_role("button", name="Cancel order").click()
    expect(event_names(page)).to_have_count(5)
    page.get_by_text("One order, two services").click()
    page.get_by_label("Order total").fill("")
    page.get_by_role("button", name="Place order").click()
    expect(page.locator("#order-total-error")).not_to_be_empty()

    for (width, height), color_scheme in LOOKS:
        page.emulate_media(color_scheme=color_scheme)
        resize(page, width, height)
        assert serious_findings(page) == []


def slow_down(route: Route) -> None:
    """Make each event 12.4 s later than the one before, and redelivered a minute later."""
    answer = route.fetch().json()
    for number, event in enumerate(answer["events"]):
        event["deliveries"] = 3
        for name in ("occurredAt", "projectedAt", "lastDeliveredAt"):
            minutes = name == "lastDeliveredAt"
            delay = timedelta(seconds=12.4 * number, minutes=minutes)
            event[name] = (datetime.fromisoformat(event[name]) + delay).isoformat()
    route.fulfill(json=answer)


def test_no_width_scrolls_sideways_breaks_words_or_crosses_labels(visit: Visit) -> None:
    page = visit.open()
    create_customer(page, "9999999999.99")
    cancelled = place_order(page, "9999999999.98")
    expect_state(cancelled, "APPROVED")
    rejected = place_order(page, "9999999999.98")
    expect_state(rejected, "REJECTED")
    cancelled.get_by_role("button", name="Cancel order").click()

    for card, events, is_slow in ((cancelled, 5, 0), (rejected, 3, 0), (cancelled, 5, 1)):
        if is_slow:
            page.route("**/events", slow_down)
        card.locator(".row-button").click()
        expect(event_names(page)).to_have_count(events)
        expect(page.locator(".events .repeated")).to_have_count(events * is_slow)
        for width in WIDTHS:
            resize(page, width, 800)
            assert page.evaluate(TOO_WIDE) == [], width
            assert page.evaluate(BROKEN_WORDS) == [], width
            assert page.evaluate(CROSSED_LABELS) == [], width
            assert page.evaluate(OVERLAPPING_EVENTS) is False, width


def test_documentation_follows_the_browsers_color_scheme(visit: Visit) -> None:
    page = visit.open("/docs")
    brightness = "element => Math.max(...getComputedStyle(element).%s.match(/\\d+/g).map(Number))"

    for color_scheme in ("dark", "light"):
        page.emulate_media(color_scheme=color_scheme)
        is_dark = color_scheme == "dark"
        expect(page.locator("html")).to_have_class("dark-mode" if is_dark else "")
        expect(page.locator(".info .title")).to_be_visible()
        text = page.locator(".info .title").evaluate(brightness % "color")
        assert (text > 128) is is_dark
