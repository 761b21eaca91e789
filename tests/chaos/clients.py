"""Clients that create customers and orders. Each retries a request with its Idempotency-Key until it is answered."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import httpx

from infra.local.api_client import ApiClient

T = TypeVar("T")
PATIENCE_SECONDS = 180.0
"""Limits the retries of one request. One attempt may take 30 s after a killed function."""
MAX_TOTAL = 100
"""Largest order total. The average is half of it."""


class ClientGaveUpError(Exception):
    """A request was refused, or not answered within PATIENCE_SECONDS."""


@dataclass
class Placed:
    """What the API confirmed."""

    limits: dict[int, Decimal] = field(default_factory=dict)
    """Credit limit by customer id."""
    orders: set[int] = field(default_factory=set)
    answers: int = 0
    """Number of answers with an order id. Larger than `orders` if an id was given twice."""


def place(
    base_url: str,
    orders: int,
    customers: int = 5,
    *,
    clients: int = 8,
    cancel_share: float = 0.1,
    unknown_share: float = 0,
    stopped: threading.Event | None = None,
) -> Placed:
    """Create orders with random totals and cancel some. The credit limits allow about half of them.

    `unknown_share` of the orders are of a customer who does not exist, whose limit is 0.
    Raises: ClientGaveUpError, also if another thread sets `stopped`.
    """
    dice, stopped = random.Random(2026), stopped or threading.Event()
    limit = Decimal(orders * MAX_TOTAL // (4 * customers))

    def post(path: str, body: Any, expected: tuple[int, ...] = (200,)) -> Any:
        return _answer(api, path, body, expected, stopped)

    def create_customer(number: int) -> int:
        body = {"name": f"Customer {number}", "creditLimit": {"amount": float(limit)}}
        return int(post("/customers", body)["customerId"])

    def create_order(order: tuple[int, float]) -> int:
        body = {"customerId": order[0], "orderTotal": {"amount": order[1]}}
        return int(post("/orders", body)["orderId"])

    def cancel(order_id: int) -> None:
        post(f"/orders/{order_id}/cancel", None, (200, 409))  # 409: it is not APPROVED

    def at_once(task: Callable[[T], Any], arguments: Iterable[T]) -> list[Any]:
        try:
            return list(pool.map(task, arguments))
        except BaseException:
            stopped.set()
            raise

    with ApiClient(base_url) as api, ThreadPoolExecutor(clients) as pool:
        ids = at_once(create_customer, range(customers))
        totals = [dice.randint(1, MAX_TOTAL * 100) / 100 for _ in range(orders)]
        unknown = random.randrange(2**62, 2**63)
        customer_ids = [dice.choice(ids) for _ in totals]
        customer_ids[: int(orders * unknown_share)] = [unknown] * int(orders * unknown_share)
        answered = at_once(create_order, zip(customer_ids, totals, strict=True))
        at_once(cancel, dice.sample(answered, int(orders * cancel_share)))
    return Placed(dict.fromkeys(ids, limit) | {unknown: Decimal(0)}, set(answered), len(answered))


def _answer(
    api: ApiClient, path: str, body: Any, expected: tuple[int, ...], stopped: threading.Event
) -> Any:
    """Retry a request until it is answered. Raises: ClientGaveUpError."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    deadline = time.monotonic() + PATIENCE_SECONDS
    seen = ""
    while not stopped.is_set() and time.monotonic() < deadline:
        try:
            response = api.request("POST", path, json=body, headers=headers)
        except httpx.TransportError as error:
            seen = repr(error)
        else:
            if response.status_code in expected:
                return response.json()
            seen = f"{response.status_code} {response.text}"
            if response.status_code < 500:
                break
        time.sleep(0.2)
    raise ClientGaveUpError(f"POST {path}: {seen}")
