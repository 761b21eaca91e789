"""Another site's page, open in the developer's browser, cannot use the local stack."""

from __future__ import annotations

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import httpx
from playwright.sync_api import Browser

# Requests that a browser sends without asking the server first. The page cannot read the answers.
ATTACK = """async ([emulator, api]) => {
  const plain = {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}};
  const customer = JSON.stringify({name: "Mallory", creditLimit: {amount: 5}});
  await fetch(`${api}/customers`, {...plain, body: customer});
  await fetch(`${emulator}/_ministack/reset`, plain);
  await new Promise(done => { const image = new Image(); image.onerror = image.onload = done;
    image.src = `${emulator}/?Action=CreateQueue&QueueName=mallory&Version=2012-11-05`; });
}"""


def test_requests_of_another_site_change_nothing(browser: Browser, base_url: str) -> None:
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other_site,
        httpx.Client(trust_env=False, timeout=60) as client,
        browser.new_page() as page,
    ):
        customer = {"name": "Alice", "creditLimit": {"amount": 5}}
        client.post(f"{base_url}/customers", json=customer).raise_for_status()
        threading.Thread(target=other_site.serve_forever, daemon=True).start()
        page.goto(f"http://localhost:{other_site.server_port}")
        statuses: list[int] = []
        page.on("response", lambda response: statuses.append(response.status))

        page.evaluate(ATTACK, [base_url.partition("/_aws/")[0], base_url])

        assert statuses == [403, 403, 403]
        customers = client.get(f"{base_url}/customers?limit=100").json()["customers"]
        names = {customer["name"] for customer in customers}
        assert "Alice" in names
        assert "Mallory" not in names
        other_site.shutdown()
