"""A page in the system's Chromium that records errors and requests, and the stack that serves it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_GET_IT = "The browser tests need Chromium: `apt-get install chromium` on Debian, or set CHROMIUM to the path of one."
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DEADLINE_MILLISECONDS = 90_000
DESKTOP, PHONE = (1440, 900), (375, 812)

# The view answers 404 until it has handled the first event. The page retries; browsers log each 404.
VIEW_IS_BEHIND = r"status of 404 .*/(customers/\d+/orderhistory|orderhistory/orders/\d+)\b"

expect.set_options(timeout=DEADLINE_MILLISECONDS)


def find_chromium() -> str:
    """Return the path of the browser. Without one, fail in CI and skip elsewhere."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(HOW_TO_GET_IT)
    if found is None:
        pytest.skip(HOW_TO_GET_IT)
    return found


@pytest.fixture(scope="session", autouse=True)  # before a stack is started
def chromium() -> str:
    return find_chromium()


@pytest.fixture(scope="module")
def browser(base_url: str, chromium: str) -> Iterator[Browser]:
    """Start the browser for one module: Playwright's event loop disturbs tests of other modules."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page with its requests and errors."""

    page: Page
    base_url: str
    requests: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    expected_errors: list[str] = field(default_factory=list)
    """Regular expressions of the errors that the test causes."""

    def open(self, path: str = "/") -> Page:
        """Load the page. Retry if Chromium cancelled requests because a network interface changed."""
        for _ in range(3):
            self.page.goto(f"{self.base_url}{path}")
            if not any("ERR_NETWORK_CHANGED" in error for error in self.errors):
                break
            self.errors.clear()
        return self.page


@pytest.fixture
def visit(browser: Browser, base_url: str) -> Iterator[Visit]:
    """Open a page. Afterwards check that the browser logged no error and contacted no other host."""
    viewport = {"width": DESKTOP[0], "height": DESKTOP[1]}
    context = browser.new_context(viewport=viewport, reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(DEADLINE_MILLISECONDS)
    page = context.new_page()
    visit = Visit(page, base_url)
    page.on("request", lambda request: visit.requests.append(request))  # noqa: PLW0108, no built-in does
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on(
        "console",
        lambda message: (
            visit.errors.append(f"{message.text} {message.location.get('url', '')}")
            if message.type in {"error", "warning"}
            else None
        ),
    )
    yield visit
    page.unroute_all(behavior="ignoreErrors")  # a handler may still wait for its answer
    context.close()
    expected = [VIEW_IS_BEHIND, *visit.expected_errors]
    assert [e for e in visit.errors if not any(re.search(one, e) for one in expected)] == []
    hosts = {urlsplit(request.url).netloc for request in visit.requests}
    assert hosts <= {urlsplit(base_url).netloc, ""}  # data: URLs have no host
