"""Clients that create customers and orders. Each retries a request with its Idempotency-Key until it is answered."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import httpx

from infra.local.api_client import ApiClient

T = TypeVar("T")
PATIENCE_SECONDS = 90.0
"""Limits the retries of one request."""
PAUSE_SECONDS = 0.2
MAX_TOTAL = 100
"""Largest order total. The average is half of it."""


class ClientGaveUpError(Exception):
    """A request was not answered within PATIENCE_SECONDS, or was refused."""


@dataclass
class Placed:
    """What the API confirmed."""

    limits: dict[int, Decimal] = field(default_factory=dict)
    """Credit limit by customer id."""
    orders: set[int] = field(default_factory=set)
    answers: int = 0
    """Number of answers with an order id. Larger than `orders` if an id was given twice."""


class Clients:
    """A number of concurrent clients."""

    def __init__(self, base_url: str, clients: int, show: Callable[[str], None]) -> None:
        self._base_url = base_url
        self._clients = clients
        self._show = show
        self._dice = random.Random(2026)
        self._stopped = threading.Event()

    def place(self, orders: int, customers: int = 5, *, cancel_share: float = 0.1) -> Placed:
        """Create orders with random totals and cancel some. The credit limits allow about half of them."""
        limit = Decimal(orders * MAX_TOTAL // (4 * customers))
        with ApiClient(self._base_url) as api:

            def create_customer(number: int) -> int:
                credit = {"amount": float(limit)}
                body = {"name": f"Customer {number}", "creditLimit": credit}
                return int(self._post(api, "/customers", body).json()["customerId"])

            def create_order(order: tuple[int, float]) -> int:
                body = {"customerId": order[0], "orderTotal": {"amount": order[1]}}
                return int(self._post(api, "/orders", body).json()["orderId"])

            def cancel(order_id: int) -> None:
                # 409: the order is not APPROVED.
                self._post(api, f"/orders/{order_id}/cancel", None, {200, 409})

            ids = self._at_once(create_customer, range(customers))
            wanted = [
                (self._dice.choice(ids), self._dice.randint(1, MAX_TOTAL * 100) / 100)
                for _ in range(orders)
            ]
            answered = self._at_once(create_order, wanted)
            self._at_once(cancel, self._dice.sample(answered, int(orders * cancel_share)))
        return Placed(dict.fromkeys(ids, limit), set(answered), len(answered))

    def _post(
        self,
        api: ApiClient,
        path: str,
        body: dict[str, Any] | None,
        expected: Iterable[int] = (200,),
    ) -> httpx.Response:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        deadline = time.monotonic() + PATIENCE_SECONDS
        seen = ""
        while not self._stopped.is_set() and time.monotonic() < deadline:
            try:
                response = api.request("POST", path, json=body, headers=headers)
            except httpx.TransportError as error:
                seen = repr(error)
            else:
                if response.status_code in expected:
                    return response
                seen = f"{response.status_code} {response.text}"
                if response.status_code < 500 and response.status_code != 429:
                    break
            time.sleep(PAUSE_SECONDS)
        raise ClientGaveUpError(f"POST {path}: {seen}")

    def _at_once(self, task: Callable[[T], Any], arguments: Iterable[T]) -> list[Any]:
        """Return the task's result for each argument. An error stops the other clients."""
        pool = ThreadPoolExecutor(self._clients)
        try:
            futures = [pool.submit(task, argument) for argument in arguments]
            waiting = set(futures)
            while waiting:
                _, waiting = wait(waiting, PAUSE_SECONDS, FIRST_COMPLETED)
                self._show(f"{len(futures) - len(waiting)} of {len(futures)} requests answered")
            return [future.result() for future in futures]
        except BaseException:
            self._stopped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
