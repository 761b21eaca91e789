"""The lab of `make lab`, started as its users start it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from playwright.sync_api import Locator, expect

from infra.local.processes import free_port
from tests.browser.conftest import Visit
from tests.browser.test_appearance import LOOKS, TOO_WIDE, resize, serious_findings
from tests.commands import run
from tests.stacks import still_running
from tests.template import ROOT

# Its `base_url` is a stack of its own, so another process may run these tests beside those of the local stack.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("lab")]
ACTIONS = ("orders", "relay", "subscribers", "unordered", "mongodb", "rush", "broken")
STOP_SECONDS = 300
"""Limits the deletion of the stack's files: some hundred megabytes for its workers, also for the killed ones."""


def command(port: int) -> list[str]:
    return [sys.executable, "-m", "tests.chaos.lab", "--port", str(port)]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Start the lab. Afterwards check that Ctrl-C stops it and all its processes."""
    with subprocess.Popen(command(free_port()), cwd=ROOT, stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdout is not None
        try:
            yield lab.stdout.readline().removeprefix("The lab is at ").rstrip("/\n")
            children = psutil.Process(lab.pid).children(recursive=True)
        finally:
            lab.send_signal(signal.SIGINT)
            output, _ = lab.communicate(timeout=STOP_SECONDS)
    assert lab.returncode == 0
    assert output.endswith("All processes are stopped.\n")
    assert len(children) > 2
    assert still_running(children) == []


def test_requests_of_other_sites_are_refused(base_url: str) -> None:
    other = {"Origin": "http://evil.example"}
    for method, path in (("POST", "lab/relay"), ("GET", "lab/state"), ("POST", "customers")):
        answer = httpx.request(method, f"{base_url}/{path}", headers=other, trust_env=False)
        assert answer.status_code == 403, path
    own = httpx.get(f"{base_url}/lab/state", headers={"Origin": base_url}, trust_env=False)
    assert (own.status_code, own.json()["running"], own.json()["log"]) == (200, [], [])


def test_taken_port_is_named(base_url: str) -> None:
    port = urlsplit(base_url).port or 0
    done = run(*command(port))
    assert done.returncode == 1
    assert f"Port {port}: Address already in use. Choose another: make lab LAB_PORT" in done.stderr


def press_all(letters: Locator, button: str) -> None:
    """Press the button of each letter. A subscriber that is killed before it deletes a message makes a second one."""
    while letters.count():
        letter = letters.first.element_handle()
        letters.first.get_by_role("button", name=button).click()
        letter.wait_for_element_state("hidden")


def test_faults_while_orders_are_created_lose_and_duplicate_nothing(visit: Visit) -> None:
    # The view's API fails while MongoDB is down.
    visit.expected_errors = [r"status of 50\d .*/(orderhistory/orders/\d+|\d+/orderhistory)"]
    page = visit.open()
    verdict, letters = page.locator("#lab-verdict"), page.locator("#lab-letters li")

    for action in ACTIONS:
        page.locator(f'[data-action="{action}"]').press("Enter")
    expect(letters.first).to_contain_text("OrderCreated.orderTotalCents is not a valid Money")
    expect(page.get_by_role("log")).to_contain_text("customers-subscriber was killed")
    expect(page.get_by_role("log")).to_contain_text("orders-outbox-relay was killed")
    expect(page.get_by_role("log")).to_contain_text("published like this")
    expect(page.get_by_role("log")).to_contain_text("MongoDB is back")
    for (width, height), color_scheme in LOOKS[::3]:  # a light desktop and a dark phone
        page.emulate_media(color_scheme=color_scheme)
        resize(page, width, height)
        assert serious_findings(page) == []
        assert page.evaluate(TOO_WIDE) == []

    page.get_by_label("Open the orders that faults affect").uncheck()
    letters.first.get_by_role("link").click()
    expect(letters.first).to_contain_text("shown below")
    press_all(letters, "Correct and redrive")
    expect(page.locator(".diagram .repeated").first).to_be_visible()

    page.get_by_role("button", name="Send a broken message").click()
    expect(letters.first).to_be_visible()
    press_all(letters, "Discard")

    page.get_by_role("button", name="Stop orders and audit").click()
    expect(verdict).to_contain_text("lost 0, duplicated 0, over limit 0")
    expect(page.locator("#lab-findings li")).to_have_count(0)
    orders, faults, redelivered = re.findall(r"\d+", verdict.inner_text())[:3]
    assert int(orders) > 40
    assert int(faults) > len(ACTIONS)
    assert int(redelivered) > 0
