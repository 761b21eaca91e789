"""Client of the HTTP API for tools and tests. Amounts are Decimals, so numbers are exact."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Self, TypeVar

import httpx

T = TypeVar("T")


class ApiClient:
    """Sends requests to the API at `base_url`. Methods return the body, or raise httpx.HTTPStatusError.

    `options` are those of httpx.Client. Proxies of the environment are ignored by default.
    """

    def __init__(
        self,
        base_url: str,
        timeout_seconds: float = 30,
        authorization: str | None = None,
        **options: Any,
    ) -> None:
        headers = {"Authorization": authorization} if authorization else {}
        options = {"trust_env": False, "headers": headers, **options}
        self._http = httpx.Client(base_url=base_url, timeout=timeout_seconds, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Return the response, with any status."""
        return self._http.request(method, path, **arguments)

    def create_customer(self, name: str, credit_limit: Decimal | int) -> int:
        body = {"name": name, "creditLimit": {"amount": credit_limit}}
        return int(self._post("/customers", body)["customerId"])

    def create_order(self, customer_id: int, order_total: Decimal | int) -> int:
        body = {"customerId": customer_id, "orderTotal": {"amount": order_total}}
        return int(self._post("/orders", body)["orderId"])

    def cancel_order(self, order_id: int) -> dict[str, Any]:
        return _json(self.request("POST", f"/orders/{order_id}/cancel"))

    def erase_customer(self, customer_id: int) -> None:
        self.request("DELETE", f"/customers/{customer_id}").raise_for_status()

    def get_customer(self, customer_id: int) -> dict[str, Any]:
        return self._get(f"/customers/{customer_id}")

    def get_order(self, order_id: int, wait_seconds: int = 0) -> dict[str, Any]:
        """Return the order, with up to `wait_seconds` for its decision."""
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        return _json(self.request("GET", f"/orders/{order_id}", headers=headers))

    def get_order_history(self, customer_id: int, **query: str | int) -> dict[str, Any]:
        return self._get(f"/customers/{customer_id}/orderhistory", **query)

    def get_order_timeline(self, order_id: int, **query: int) -> dict[str, Any]:
        return self._get(f"/orderhistory/orders/{order_id}", **query)

    def customers(self) -> Iterator[dict[str, Any]]:
        """Yield all customers, page by page."""
        for page in self._pages("/customers"):
            yield from page["customers"]

    def orders(self) -> Iterator[dict[str, Any]]:
        """Yield all orders, page by page."""
        for page in self._pages("/orders"):
            yield from page["orders"]

    def order_history(self, customer_id: int) -> dict[str, dict[str, Any]]:
        """Return all orders of the customer in the view, by order id."""
        pages = self._pages(f"/customers/{customer_id}/orderhistory")
        return {key: order for page in pages for key, order in page["orders"].items()}

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        query: dict[str, str | int] = {"limit": 100}
        while True:
            page = self._get(path, **query)
            yield page
            if page["nextToken"] is None:
                return
            query["nextToken"] = page["nextToken"]

    def _get(self, path: str, **query: str | int) -> dict[str, Any]:
        return _json(self.request("GET", path, params=query))

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(body, default=float)  # a total of at most two decimal places
        headers = {"Content-Type": "application/json"}
        return _json(self.request("POST", path, content=content, headers=headers))


def _json(response: httpx.Response) -> dict[str, Any]:
    response.raise_for_status()
    body: dict[str, Any] = json.loads(response.text, parse_float=Decimal)
    return body


def wait_until(
    look: Callable[[], T],
    is_done: Callable[[T], bool],
    deadline_seconds: float = 30,
    pause_seconds: float = 0.02,
) -> T:
    """Call `look` until `is_done` accepts its result, and return that.

    Raises: TimeoutError with the last result after `deadline_seconds`.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        seen = look()
        if is_done(seen):
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {deadline_seconds} seconds; seen last: {seen!r}")
        time.sleep(pause_seconds)
