"""Deterministic simulation: thousands of sagas with random requests, batches, redeliveries and faults.

Everything random comes from one seed: the same seed and number of sagas give the same run.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from messaging.retry import WriteConflictError
from tests.model.explorer import (
    Crash,
    UnknownOutcomeError,
    answer_lost,
    conflict,
    crash_after,
    request_lost,
)
from tests.model.stores import Store
from tests.model.system import CUSTOMERS, ORDERS, START, VIEW, Event, System, event_type, message

T = TypeVar("T")
FAULTS = (crash_after, answer_lost, request_lost, conflict)
FAULT_RATE = 0.15
REDELIVERY_RATE = 0.1
MAX_BATCH = 10
MAX_QUEUE = 100
"""Messages that wait at most while requests are made."""
CANCEL_RATE = 0.25
ERASE_RATE = 0.01
ORDERS_PER_CUSTOMER = 20
UNKNOWN_CUSTOMER = 10**12


@dataclass
class Report:
    """The outcome of a simulation."""

    seed: int
    sagas: int
    steps: int = 0
    states: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    problems: list[str] = field(default_factory=list)
    digest: str = ""
    """Hash of all tables: equal for equal runs."""


class Simulation:
    def __init__(self, seed: int, sagas: int) -> None:
        self._random = random.Random(seed)
        self._system = System()
        self._report = Report(seed, sagas)
        self._queues: dict[str, list[Event]] = {CUSTOMERS: [], ORDERS: [], VIEW: []}
        self._ids = itertools.count(1)
        self._customers: list[int] = []
        self._orders: list[int] = []

    def run(self) -> Report:
        """Make the requests of all sagas, deliver all messages, and check the result."""
        report, system = self._report, self._system
        system.clock = lambda: START + timedelta(milliseconds=report.steps)
        with system.deterministic():
            while len(self._orders) < report.sagas:
                self._request()
                for _ in range(self._random.randrange(4)):
                    self._deliver()
                while max(map(len, self._queues.values())) > MAX_QUEUE:
                    self._deliver()
            while any(self._queues.values()):
                self._deliver()
            report.problems = system.violations(finished=True, view=True)
        report.states.update(item["state"]["S"] for item in system.orders.all("Orders"))
        rows = repr([sorted(store.rows.items()) for store in system.store.values()])
        report.digest = hashlib.sha256(rows.encode()).hexdigest()
        return report

    def _request(self) -> None:
        """Create a customer, create an order, cancel one, or erase a customer."""
        if len(self._orders) >= ORDERS_PER_CUSTOMER * len(self._customers):
            number = len(self._customers) + 1
            limit, key = number % 7 * 1500, f"customer {number}"
            customer = (f"Customer {number}", limit, key)
            self._customers.append(
                self._retried(CUSTOMERS, lambda: self._system.create_customer(*customer))
            )
        if self._orders and self._random.random() < CANCEL_RATE:
            # Mostly one of the latest orders: it may be PENDING, and others soon want its credit.
            age = int(self._random.expovariate(0.1)) + 1
            order_id = self._orders[-min(len(self._orders), age)]
            self._retried(ORDERS, lambda: self._system.cancel_order(order_id, f"{next(self._ids)}"))
        elif self._customers and self._random.random() < ERASE_RATE:
            erased = self._random.choice(self._customers)
            request = f"{next(self._ids)}"
            self._retried(CUSTOMERS, lambda: self._system.erase_customer(erased, request))
        else:
            customer_id = self._random.choice([*self._customers[-3:] * 4, UNKNOWN_CUSTOMER])
            order = (customer_id, self._random.randint(1, 700), f"order {len(self._orders)}")
            self._orders.append(self._retried(ORDERS, lambda: self._system.create_order(*order)))

    def _retried(self, service: str, request: Callable[[], T]) -> T:
        """Make a request until it is answered, and sometimes repeat it. Return the answer."""
        answers: list[T] = []
        while not answers or self._random.random() < REDELIVERY_RATE:
            self._system.next_id = next(self._ids)
            self._attempt(service, lambda: answers.append(request()))
        assert len(set(answers)) == 1, "a repeated request was answered differently"
        return answers[0]

    def _deliver(self) -> None:
        name = self._random.choice([n for n, queue in self._queues.items() if queue] or [VIEW])
        queue = self._queues[name]
        batch = self._random.sample(queue, min(len(queue), self._random.randint(1, MAX_BATCH)))
        if not batch:
            return
        failed = set(batch)

        def deliver() -> None:
            result = self._system.deliver(name, [body for _, body in batch])
            failed.intersection_update(batch[int(index)] for index in result.failed)

        self._attempt(name, deliver)
        handled = [event for event in batch if event not in failed]
        redelivered = {event for event in handled if self._random.random() < REDELIVERY_RATE}
        gone = set(handled) - redelivered
        self._queues[name] = [event for event in queue if event not in gone]

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        """Perform an action with random faults, and relay the events."""
        self._report.steps += 1
        store = self._system.store[name]
        store.faults.clear()
        if self._random.random() < FAULT_RATE:
            number = self._random.choice((1, 1, 2))
            store.faults.extend(self._random.choice(FAULTS) for _ in range(number))
        planned = len(store.faults)
        try:
            action()
        except (Crash, UnknownOutcomeError, WriteConflictError):
            pass
        finally:
            self._report.faults += planned - len(store.faults)
            store.faults.clear()
            self._relay(store)

    def _relay(self, store: Store) -> None:
        """Send the new events of a service to the subscribers' queues."""
        for item in store.stream:
            event = message(item)
            for name, types in self._system.subscriptions.items():
                if event_type(event[1]) in types:
                    self._queues[name].append(event)
        store.stream.clear()


def simulate(seed: int, sagas: int) -> Report:
    """Run one simulation."""
    return Simulation(seed, sagas).run()
