"""The saga, walked through by HTTP: every request and what came back. Works against any deployment.

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

from infra.local.stack import EmbeddedStack, directory_of

DEADLINE_SECONDS = 30.0
POLL_INTERVAL_SECONDS = 0.2
# Ids are made of the time: no customer will ever have this one.
UNKNOWN_CUSTOMER = 1

Body = dict[str, Any]

console = Console(highlight=False, soft_wrap=True)


class UnexpectedAnswerError(Exception):
    """The system did not do what the saga says."""


class Walkthrough:
    """Sends requests and prints each with its answer."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def post(self, path: str, body: Body | None = None) -> Body:
        """The answer. Raises UnexpectedAnswerError if it is not a 200."""
        response = self._client.post(path, json=body)
        _show("POST", path, body, response)
        if response.status_code != httpx.codes.OK:
            raise UnexpectedAnswerError(f"POST {path} was answered {response.status_code}")
        answer: Body = response.json()
        return answer

    def get_until(self, path: str, expected: str, is_expected: Callable[[Body], bool]) -> None:
        """The resource is as expected. It is asked for again and again, and shown when it has changed.

        Raises: UnexpectedAnswerError if it is not so within the deadline.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        last = ""
        while True:
            response = self._client.get(path)
            if response.text != last:
                _show("GET", path, None, response)
                last = response.text
            if response.is_success and is_expected(response.json()):
                return
            if time.monotonic() > deadline:
                raise UnexpectedAnswerError(
                    f"GET {path}: expected {expected} within {DEADLINE_SECONDS:.0f} s"
                )
            time.sleep(POLL_INTERVAL_SECONDS)

    def order(self, customer_id: int, total: int, state: str, reason: str | None = None) -> int:
        """An order was created, and the saga has brought it to the state, for the reason. Returns its id."""
        order = {"customerId": customer_id, "orderTotal": {"amount": total}}
        order_id = int(self.post("/orders", order)["orderId"])
        self.get_until(
            f"/orders/{order_id}",
            f"{state} {reason or ''}".strip(),
            lambda answer: (answer["orderState"], answer["rejectionReason"]) == (state, reason),
        )
        return order_id

    def walk(self) -> None:
        """Every scenario has ended as it should."""
        _say("Jane Doe becomes a customer, with a credit limit of 5.")
        jane = {"name": "Jane Doe", "creditLimit": {"amount": 5}}
        customer = int(self.post("/customers", jane)["customerId"])

        _say("She orders for 4: Customers reserves the credit, and Orders approves the order.")
        first = self.order(customer, 4, "APPROVED")

        _say("She orders for 4 again, and has a credit of 1 left: the order is rejected.")
        second = self.order(customer, 4, "REJECTED", "INSUFFICIENT_CREDIT")

        _say("An order by nobody is recorded like any other, then rejected.")
        self.order(UNKNOWN_CUSTOMER, 4, "REJECTED", "UNKNOWN_CUSTOMER")

        _say("She cancels her first order, and Customers gives the credit back.")
        cancelled = self.post(f"/orders/{first}/cancel")
        if cancelled["orderState"] != "CANCELLED":
            raise UnexpectedAnswerError(f"order {first}: expected CANCELLED")
        self.get_until(
            f"/customers/{customer}",
            "an available credit of 5",
            lambda answer: bool(answer["availableCredit"]["amount"] == 5),
        )

        _say("So she can order for 4 once more.")
        third = self.order(customer, 4, "APPROVED")

        _say("Order history has heard of it all.")
        states = {first: "CANCELLED", second: "REJECTED", third: "APPROVED"}
        self.get_until(
            f"/customers/{customer}/orderhistory",
            f"the orders {states}",
            lambda answer: _states(answer) == states,
        )


@click.command(help="Walk through the saga by HTTP.")
@click.option("--base-url", envvar="BASE_URL", help="Of the API; without it, of what runs here.")
@click.option("--port", envvar="PORT", default=4566, show_default=True, help="Where it runs here.")
def main(base_url: str | None, port: int) -> None:
    """Exits 1, saying why, when the system did not do what it should."""
    url = base_url or _local_base_url(port)
    console.print(f"Base URL {url}")
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=bool(base_url)) as client:
            Walkthrough(client).walk()
    except (UnexpectedAnswerError, httpx.TransportError) as error:
        console.print(f"\n{error or repr(error)}", style="red", markup=False)
        sys.exit(1)
    console.print("\nEverything went as it should.", style="bold green")


def _local_base_url(port: int) -> str:
    stack = EmbeddedStack.find(directory_of(port))
    if stack is None or not stack.is_running():
        raise click.ClickException(f"Not running on port {port}: `make up` starts it.")
    return stack.base_url


def _states(history: Body) -> dict[int, str]:
    return {int(order_id): order["state"] for order_id, order in history["orders"].items()}


def _say(text: str) -> None:
    console.print(f"\n{text}", style="bold")


def _show(method: str, path: str, body: Body | None, response: httpx.Response) -> None:
    request = f"{method} {path} {json.dumps(body) if body else ''}".rstrip()
    console.print(f"  {request}", markup=False)
    console.print(f"    {response.status_code} {response.text}", style="cyan", markup=False)


if __name__ == "__main__":
    main()
