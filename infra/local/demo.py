"""Walk through the saga by HTTP and print each request with its answer. Works on any deployment."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
import httpx
from rich.console import Console

from infra.local.api_client import ApiClient, wait_until
from infra.local.processes import EmbeddedError
from infra.local.target import Target, setting, target_option

# Ids are made from the time, so no customer has this one.
UNKNOWN_CUSTOMER = 1

console = Console(highlight=False, soft_wrap=True)


class Printer:
    """Prints each request with its answer, but a repeated request with the same answer only once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, response: httpx.Response) -> None:
        """Print the response and its request."""
        answer, sent = response.read().decode(), response.request
        path = sent.url.raw_path.decode().rpartition("/v1")[2]
        prefer = f"(Prefer: {sent.headers['Prefer']})" if "Prefer" in sent.headers else ""
        request = f"{sent.method} {path} {prefer}{sent.content.decode()}"
        shown = f"  {request.rstrip()}\n    {response.status_code} {answer}"
        if shown != self._last:
            console.print(shown, markup=False)
        self._last = shown


def expect(look: Callable[[], dict[str, Any]], expected: Any, part: Callable[[Any], Any]) -> None:
    """Ask until the part of the answer is as expected. Raises: TimeoutError."""

    def seen() -> Any:
        with suppress(httpx.HTTPStatusError):  # 404, 503: the view has not handled the event yet
            return part(look())

    wait_until(seen, lambda found: bool(found == expected), pause_seconds=0.2)


def walk(api: ApiClient) -> None:
    """Run each scenario of the saga."""

    def order(customer_id: int, *outcome: str | None) -> int:
        order_id = api.create_order(customer_id, 4)
        expect(
            lambda: api.get_order(order_id, wait_seconds=10),
            outcome,
            lambda found: (found["orderState"], found["rejectionReason"]),
        )
        return order_id

    _say("Create the customer Jane Doe with a credit limit of 5.")
    customer = api.create_customer("Jane Doe", 5)
    _say("Order for 4: Customers reserves the credit, and Orders approves the order.")
    first = order(customer, "APPROVED", None)
    _say("Order for 4 again. The available credit is 1, so the order is rejected.")
    second = order(customer, "REJECTED", "INSUFFICIENT_CREDIT")
    _say("Order for a customer that does not exist. The order is recorded, then rejected.")
    order(UNKNOWN_CUSTOMER, "REJECTED", "UNKNOWN_CUSTOMER")
    _say("Cancel the first order. Customers releases the credit.")
    if api.cancel_order(first)["orderState"] != "CANCELLED":
        raise EmbeddedError(f"order {first}: expected CANCELLED")
    expect(lambda: api.get_customer(customer), 5, lambda found: found["availableCredit"]["amount"])
    _say("Order for 4 with the released credit.")
    third = order(customer, "APPROVED", None)
    _say("Order history has the approval, the second version of the order, soon after.")
    expect(
        lambda: api.get_order_timeline(third, minVersion=2),
        "APPROVED",
        lambda found: found["state"],
    )
    _say("Order history shows the customer with all their orders.")
    expect(
        lambda: api.get_order_history(customer),
        {str(first): "CANCELLED", str(second): "REJECTED", str(third): "APPROVED"},
        lambda found: {key: order["state"] for key, order in found["orders"].items()},
    )


@click.command(help="Walk through the saga by HTTP.")
@target_option
@setting("base-url", "Base URL of another deployment.")
def main(where: Target, base_url: str | None) -> None:
    """Exit with 1, and the reason, if the system does not do what the saga says."""
    url = base_url or where.base_url()
    console.print(f"Base URL {url}")
    hooks = {"response": [Printer()]}
    try:
        with ApiClient(url, trust_env=bool(base_url), event_hooks=hooks) as api:
            walk(api)
    except (httpx.HTTPError, TimeoutError) as error:
        raise EmbeddedError(str(error) or repr(error)) from error
    console.print("\nEvery answer was as expected.", style="bold green")


def _say(text: str) -> None:
    console.print(f"\n{text}", style="bold")


if __name__ == "__main__":
    main()
