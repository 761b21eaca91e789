"""Make the pictures of the documents: the console, a recording of twenty orders placed at once, and the lab."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from infra.local.processes import handle_interrupts
from infra.local.stack import EmbeddedStack
from tests.browser.actions import create_customer, event_names, expect_state, place_order
from tests.browser.conftest import ARGUMENTS, DEADLINE_MILLISECONDS, find_chromium
from tests.chaos.lab.server import serving

IMAGES = Path(__file__).parents[2] / "docs/images"
SIZE = (1280, 800)  # pixels, 16:10
LAB_HEIGHT = 1080  # pixels
RECORDING_SIZE = (960, 600)  # pixels
LONGEST_FRAME = 1000  # milliseconds
LAST_FRAME = 3000  # milliseconds, to read the verdict
MAX_BYTES = 2_000_000


def take_screenshot(page: Page) -> None:
    """Write console.png: APPROVED and REJECTED orders, and the saga of an approved one."""
    create_customer(page, "250.00", "Ada Lovelace")
    expect_state(place_order(page, "180.00"), "APPROVED")
    create_customer(page, name="Jane Doe")
    cancelled = place_order(page, "24.50")
    expect_state(cancelled, "APPROVED")
    cancelled.get_by_role("button", name="Cancel order").click()
    expect_state(cancelled, "CANCELLED")
    expect_state(place_order(page, "80.00"), "APPROVED")
    expect_state(place_order(page, "64.00"), "REJECTED")
    page.locator(".card .row-button").nth(1).click()
    expect(event_names(page)).to_have_count(3)
    expect(page.locator(".facts .same")).to_have_count(3)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / "console.png")


def place_twenty_orders(page: Page) -> Iterator[tuple[float, bytes]]:
    """Place twenty orders at once. Yield a screenshot and its time in seconds for each change of the page."""
    verdict = page.locator("#rush-result .verdict")
    previous = page.screenshot()
    yield time.monotonic(), previous
    page.get_by_role("button", name="Place twenty orders at once").click()
    while not verdict.is_visible():
        frame = page.screenshot()
        if frame != previous:
            yield time.monotonic(), frame
        previous = frame
    expect(verdict).to_contain_text("the limit held")
    page.get_by_role("button", name="APPROVED 7").click()
    expect(event_names(page)).to_have_count(3)
    yield time.monotonic(), page.screenshot()


def record_twenty_orders(page: Page) -> None:
    """Write twenty-orders.webp: from the click to the verdict."""
    create_customer(page, name="Ada Lovelace")
    list(place_twenty_orders(page))  # warms up the functions
    create_customer(page, name="Grace Hopper")
    page.evaluate("scrollTo(0, 0)")
    frames = list(place_twenty_orders(page))

    pauses = [round((end - start) * 1000) for (start, _), (end, _) in itertools.pairwise(frames)]
    images = [Image.open(io.BytesIO(frame)).resize(RECORDING_SIZE) for _, frame in frames]
    path = IMAGES / "twenty-orders.webp"
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=[*(min(pause, LONGEST_FRAME) for pause in pauses), LAST_FRAME],
        loop=0,
        quality=70,
        method=4,
    )
    size = path.stat().st_size
    print(f"{path.name}: {len(images)} frames, {sum(pauses) / 1000:.1f} s, {size / 1000:.0f} kB")
    assert size < MAX_BYTES, f"{path.name} is larger than {MAX_BYTES} bytes"


def take_screenshot_of_lab(page: Page) -> None:
    """Write lab.png: a dead letter, the audit's verdict, and the saga of an order with redelivered events."""
    page.set_viewport_size({"width": SIZE[0], "height": LAB_HEIGHT})
    log = page.get_by_role("log")
    for action in ("relay", "subscribers", "rush", "broken"):
        page.locator(f'[data-action="{action}"]').click()
    expect(log).to_contain_text("orders-subscriber was killed")
    page.locator('[data-action="unordered"]').click()
    expect(log).to_contain_text("published like this")
    page.get_by_role("button", name="Stop orders and audit").click()
    expect(page.locator("#lab-verdict")).to_contain_text("lost 0, duplicated 0, over limit 0")
    log.locator("li", has_text="reverse order").get_by_role("link").click()
    expect(page.locator(".diagram .repeated")).not_to_have_count(0)
    log.evaluate("log => { document.activeElement.blur(); log.scrollTop = 0; scrollTo(0, 0); }")
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / "lab.png")


@contextmanager
def opened(url: str) -> Iterator[Page]:
    """Open the address in a browser. Start the stack before: it needs an event loop of its own."""
    width, height = SIZE
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height}, reduced_motion="reduce"
        )
        page.set_default_timeout(DEADLINE_MILLISECONDS)
        page.goto(url)
        yield page
        browser.close()


def main() -> None:
    handle_interrupts()
    IMAGES.mkdir(exist_ok=True)
    with EmbeddedStack.start() as stack, opened(stack.base_url) as page:
        take_screenshot(page)
        record_twenty_orders(page)
    with TemporaryDirectory() as directory, serving(Path(directory)) as url, opened(url) as page:
        take_screenshot_of_lab(page)


if __name__ == "__main__":
    main()
