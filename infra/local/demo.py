"""Walk through the saga by HTTP and print each request with its answer. Works on any deployment.

python -m infra.local.demo [--base-url URL]
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import httpx
from rich.console import Console

from infra.local.processes import EmbeddedError
from infra.local.target import Target, target_option

DEADLINE_SECONDS = 30.0
POLL_INTERVAL_SECONDS = 0.2
# Ids are made from the time. No customer gets this one.
UNKNOWN_CUSTOMER = 1

Body = dict[str, Any]

console = Console(highlight=False, soft_wrap=True)


class Walkthrough:
    """Sends requests and prints each with its answer."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def post(self, path: str, body: Body | None = None) -> Body:
        """Return the answer. Raises: EmbeddedError if its status is not 200."""
        response = self._client.post(path, json=body)
        _show("POST", path, body, response)
        if response.status_code != httpx.codes.OK:
            raise EmbeddedError(f"POST {path} answered {response.status_code}")
        answer: Body = response.json()
        return answer

    def get_until(self, path: str, expected: str, is_expected: Callable[[Body], bool]) -> None:
        """Poll the resource until it is as expected, and print each change. Raises: EmbeddedError at the deadline."""
        deadline, last = time.monotonic() + DEADLINE_SECONDS, ""
        while time.monotonic() < deadline:
            response = self._client.get(path)
            if response.text != last:
                _show("GET", path, None, response)
                last = response.text
            if response.is_success and is_expected(response.json()):
                return
            time.sleep(POLL_INTERVAL_SECONDS)
        raise EmbeddedError(f"GET {path}: expected {expected} within {DEADLINE_SECONDS:.0f} s")

    def order(self, customer_id: int, state: str, reason: str | None = None) -> int:
        """Create an order for 4 and wait for its state. Return its id."""
        order = {"customerId": customer_id, "orderTotal": {"amount": 4}}
        order_id = int(self.post("/orders", order)["orderId"])
        self.get_until(
            f"/orders/{order_id}",
            f"{state} {reason or ''}",
            lambda answer: (answer["orderState"], answer["rejectionReason"]) == (state, reason),
        )
        return order_id

    def walk(self) -> None:
        """Run each scenario of the saga."""
        _say("Create the customer Jane Doe with a credit limit of 5.")
        jane = {"name": "Jane Doe", "creditLimit": {"amount": 5}}
        customer = int(self.post("/customers", jane)["customerId"])

        _say("Order for 4: Customers reserves the credit, and Orders approves the order.")
        first = self.order(customer, "APPROVED")

        _say("Order for 4 again. The available credit is 1, so the order is rejected.")
        second = self.order(customer, "REJECTED", "INSUFFICIENT_CREDIT")

        _say("Order for a customer that does not exist. The order is recorded, then rejected.")
        self.order(UNKNOWN_CUSTOMER, "REJECTED", "UNKNOWN_CUSTOMER")

        _say("Cancel the first order. Customers releases the credit.")
        if self.post(f"/orders/{first}/cancel")["orderState"] != "CANCELLED":
            raise EmbeddedError(f"order {first}: expected CANCELLED")
        self.get_until(
            f"/customers/{customer}",
            "an available credit of 5",
            lambda answer: bool(answer["availableCredit"]["amount"] == 5),
        )

        _say("Order for 4 with the released credit.")
        third = self.order(customer, "APPROVED")

        _say("Order history shows the customer with all their orders.")
        states = {str(first): "CANCELLED", str(second): "REJECTED", str(third): "APPROVED"}
        self.get_until(
            f"/customers/{customer}/orderhistory",
            f"the orders {states}",
            lambda answer: (
                {key: order["state"] for key, order in answer["orders"].items()} == states
            ),
        )


@click.command(help="Walk through the saga by HTTP.")
@target_option
@click.option("--base-url", envvar="BASE_URL", help="Base URL of another deployment (BASE_URL).")
def main(where: Target, base_url: str | None) -> None:
    """Exit with 1, and the reason, if the system does not do what the saga says."""
    try:
        url = base_url or where.base_url()
        console.print(f"Base URL {url}")
        with httpx.Client(base_url=url, timeout=30, trust_env=bool(base_url)) as client:
            Walkthrough(client).walk()
    except (EmbeddedError, httpx.TransportError) as error:
        console.print(f"\n{error or repr(error)}", style="red", markup=False)
        sys.exit(1)
    console.print("\nEvery answer was as expected.", style="bold green")


def _say(text: str) -> None:
    console.print(f"\n{text}", style="bold")


def _show(method: str, path: str, body: Body | None, response: httpx.Response) -> None:
    request = f"{method} {path} {json.dumps(body) if body else ''}".rstrip()
    console.print(f"  {request}", markup=False)
    console.print(f"    {response.status_code} {response.text}", style="cyan", markup=False)


if __name__ == "__main__":
    main()
