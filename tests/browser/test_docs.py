"""The API's documentation, used in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.timeout(400)


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
