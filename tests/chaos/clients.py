"""Clients that make orders as real ones would: each request with an Idempotency-Key, again until it is answered."""

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
GIVE_UP_SECONDS = 90.0
PAUSE_SECONDS = 0.2
LOOK_SECONDS = 0.2
DEAREST = 100
"""The largest order total; the average is half of it."""


class ClientGaveUpError(Exception):
    """A request was not answered, however often it was made."""


@dataclass
class Placed:
    """What the API has said yes to."""

    limits: dict[int, Decimal] = field(default_factory=dict)
    """The credit limit of each customer, by id."""
    orders: set[int] = field(default_factory=set)
    answers: int = 0
    """How many orders were answered; as many as there are ids, if none was given twice."""


class Clients:
    """So many clients at a time."""

    def __init__(self, base_url: str, clients: int, show: Callable[[str], None]) -> None:
        self._base_url = base_url
        self._clients = clients
        self._show = show
        self._dice = random.Random(2026)
        self._stopped = threading.Event()

    def place(self, orders: int, customers: int = 5, *, cancel_share: float = 0.1) -> Placed:
        """The orders are accepted: of random totals, about half of which the limits allow. Some are cancelled, too."""
        limit = Decimal(orders * DEAREST // (4 * customers))
        placed = Placed()
        with ApiClient(self._base_url) as api:
            names = [f"Customer {number}" for number in range(customers)]
            ids = self._at_once(lambda name: self._create_customer(api, name, limit), names)
            placed.limits = dict.fromkeys(ids, limit)
            wanted = [
                (self._dice.choice(ids), Decimal(self._dice.randint(1, DEAREST * 100)) / 100)
                for _ in range(orders)
            ]
            answered = self._at_once(lambda order: self._create_order(api, *order), wanted)
            placed.orders, placed.answers = set(answered), len(answered)
            chosen = self._dice.sample(answered, int(orders * cancel_share))
            self._at_once(lambda order_id: self._cancel(api, order_id), chosen)
        return placed

    def _create_customer(self, api: ApiClient, name: str, limit: Decimal) -> int:
        body = {"name": name, "creditLimit": {"amount": float(limit)}}
        return int(self._post(api, "/customers", body).json()["customerId"])

    def _create_order(self, api: ApiClient, customer_id: int, total: Decimal) -> int:
        body = {"customerId": customer_id, "orderTotal": {"amount": float(total)}}
        return int(self._post(api, "/orders", body).json()["orderId"])

    def _cancel(self, api: ApiClient, order_id: int) -> None:
        # A 409 says that the order is not approved, or not yet: as good an answer as any.
        self._post(api, f"/orders/{order_id}/cancel", None, {200, 409})

    def _post(
        self,
        api: ApiClient,
        path: str,
        body: dict[str, Any] | None,
        expected: Iterable[int] = (200,),
    ) -> httpx.Response:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        deadline = time.monotonic() + GIVE_UP_SECONDS
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
                if response.status_code < 500:
                    break
            time.sleep(PAUSE_SECONDS)
        raise ClientGaveUpError(f"POST {path}: {seen}")

    def _at_once(self, task: Callable[[T], Any], arguments: Iterable[T]) -> list[Any]:
        """What the task made of each argument, in order. An interruption does not wait for those not begun."""
        pool = ThreadPoolExecutor(self._clients)
        try:
            futures = [pool.submit(task, argument) for argument in arguments]
            waiting = set(futures)
            while waiting:
                _, waiting = wait(waiting, LOOK_SECONDS, FIRST_COMPLETED)
                self._show(f"{len(futures) - len(waiting)} of {len(futures)} requests answered")
            return [future.result() for future in futures]
        except BaseException:
            self._stopped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
