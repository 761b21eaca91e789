"""Another site's page, open in the developer's browser, cannot use the local stack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import Browser

PAGE = b"<!doctype html><title>Another site</title>"
# Requests that a browser sends without asking the server first. Nothing is learnt of the answers.
ATTACK = """async ([emulator, api]) => {
  const plain = {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}};
  const customer = JSON.stringify({name: "Mallory", creditLimit: {amount: 5}});
  await fetch(`${api}/customers`, {...plain, body: customer});
  await fetch(`${emulator}/_ministack/reset`, plain);
  await new Promise(done => { const image = new Image(); image.onerror = image.onload = done;
    image.src = `${emulator}/?Action=CreateQueue&QueueName=mallory&Version=2012-11-05`; });
}"""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def other_site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def names(base_url: str) -> set[str]:
    answer = httpx.get(f"{base_url}/customers?limit=100", trust_env=False, timeout=60).json()
    return {customer["name"] for customer in answer["customers"]}


def test_requests_of_another_site_change_nothing(
    browser: Browser, base_url: str, other_site: str
) -> None:
    customer = {"name": "Alice", "creditLimit": {"amount": 5}}
    created = httpx.post(f"{base_url}/customers", json=customer, trust_env=False, timeout=60)
    assert created.is_success
    page = browser.new_page()
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))
    page.goto(other_site)
    statuses.clear()

    page.evaluate(ATTACK, [base_url.partition("/_aws/")[0], base_url])
    page.close()

    assert statuses == [403, 403, 403]
    assert "Alice" in names(base_url)
    assert "Mallory" not in names(base_url)
