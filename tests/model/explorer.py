"""Breadth-first search over every interleaving of a small world.

Customers and Orders share no store. So the next states of a service depend only on its own state and on the events
that the other one has published, and are computed once for each such pair. The view never influences the services:
its own search starts from the events of finished runs.

A state is the contents of all stores and the events that each subscriber has acknowledged. Every published event may
be delivered at any time, in any batch, again after it was acknowledged. That covers delays, redelivery, redrive,
`make resume`, and rebuilds of the view. A crash before a commit changes nothing, so it is the same as no delivery.
A crash after a commit leaves an answer in the outbox and the event in the queue. The event may be delivered again in
any case, so such a state is the same as the one in which the event was acknowledged.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

from messaging.retry import WriteConflictError
from tests.model.histories import view_violations, violations
from tests.model.stores import Commit, Fault, Key, State
from tests.model.system import (
    CUSTOMERS,
    ORDERS,
    VIEW,
    Event,
    System,
    answered,
    describe,
    event_type,
    published,
)


class Crash(BaseException):
    """The execution environment ends. Nothing is acknowledged."""


class UnknownOutcomeError(Exception):
    """The connection was lost: the caller cannot know whether the write was performed."""


def crash_after(commit: Commit) -> None:
    commit()
    raise Crash


def answer_lost(commit: Commit) -> None:
    commit()
    raise UnknownOutcomeError


def request_lost(_commit: Commit) -> None:
    raise UnknownOutcomeError


def conflict(_commit: Commit) -> None:
    raise WriteConflictError


SCRIPTS: dict[str, tuple[Fault, ...]] = {
    "": (),
    "crash after the commit": (crash_after,),
    "answer to the write lost": (answer_lost,),
    "request of the write lost": (request_lost,),
    "conflict": (conflict,),
    "conflict, then crash after the commit": (conflict, crash_after),
    "conflict, then answer to the write lost": (conflict, answer_lost),
}
"""The faults of a batch, by write."""
MEANWHILE = "meanwhile"
"""The label of a batch or request during which something else happens, between its read and its write."""


@dataclass(frozen=True)
class NewOrder:
    customer_id: int
    total: int
    cancelled: bool = True
    """Whether the client may cancel it."""


@dataclass(frozen=True)
class World:
    """The requests of clients, in any order. Each may be repeated with its idempotency key."""

    limits: Sequence[int]
    """Credit limits of the customers 1, 2, ..."""
    orders: Sequence[NewOrder]
    """The orders 11, 12, ..."""
    batch: int = 2
    """Largest batch."""
    faults: bool = True
    interleaved: int = 1
    """Largest batch that is interleaved with another invocation."""
    erased: bool = False
    """Whether clients may erase the customers."""


@dataclass(frozen=True)
class Part:
    """The state of one service, and the events that its subscriber acknowledged."""

    rows: State
    acknowledged: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        return int(vars(self)["hash"])

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", hash((self.rows, self.acknowledged)))


T = TypeVar("T")
Step = tuple[str, Part]
"""A description and the next state."""


@dataclass
class Result:
    states: int = 0
    is_complete: bool = False
    """Whether all states were visited."""
    finished: int = 0
    """States in which every event was handled."""
    executions: int = 0
    """Executions of the shipped code; equal ones are not repeated."""
    problems: list[str] = field(default_factory=list)
    """Broken rules of the first bad state."""
    trace: list[str] = field(default_factory=list)
    """The shortest way to it."""
    histories: set[tuple[State, State]] = field(default_factory=set)
    """The tables of the finished states."""

    def __str__(self) -> str:
        text = f"{'all' if self.is_complete else 'the first'} {self.states} states, "
        text += f"{self.finished} of them finished"
        if not self.problems:
            return text
        steps = [f"{number:3}. {step}" for number, step in enumerate(self.trace, 1)]
        return "\n".join(
            [f"{text}. Shortest counterexample:", *steps, "Broken rules:", *self.problems]
        )


@dataclass(frozen=True)
class Request:
    """A request of a client."""

    verb: str
    number: int
    """The id of the customer (up to 10) or order."""
    arguments: tuple[int, ...] = ()
    attempt: int = 0
    """1 for a second request at the same time."""

    def __str__(self) -> str:
        if self.verb == "cancel":
            return f"POST /orders/{self.number}/cancel"
        if self.verb == "erase":
            return f"DELETE /customers/{self.number}"
        return f"POST /{'customers' if self.number <= 10 else 'orders'} ({self.number})"

    def make(self, system: System) -> None:
        """Make the request. A retry generates another id than the first attempt."""
        if self.verb == "cancel":
            system.cancel_order(self.number, f"cancel {self.number} {self.attempt}")
            return
        if self.verb == "erase":
            system.erase_customer(self.number, f"erase {self.number} {self.attempt}")
            return
        is_customer = self.number <= 10
        rows = (system.customers if is_customer else system.orders).rows
        is_taken = any(key[0] in (CUSTOMERS, ORDERS) and _owner(key) == self.number for key in rows)
        system.next_id = self.number + 1000 * (self.attempt + 2 * is_taken)
        if is_customer:
            (limit,) = self.arguments
            system.create_customer(f"Customer {self.number}", limit, f"key {self.number}")
        else:
            customer_id, total = self.arguments
            system.create_order(customer_id, total, f"key {self.number}")


Batch = tuple[Event, ...]
Action = Request | Batch


class Explorer:
    """Computes the next states of one service or of the view."""

    def __init__(self, system: System, world: World) -> None:
        self._system = system
        self._world = world
        self._memo: dict[tuple[str, Part, Batch], list[Step]] = {}
        self._outcomes: dict[Any, tuple[State, frozenset[str]] | str] = {}
        self.executions = 0

    def steps(self, name: str, part: Part, available: tuple[Event, ...]) -> list[Step]:
        """Return the different next states, each with the shortest description that leads to it."""
        key = (name, part, available)
        if key not in self._memo:
            found: dict[Part, str] = {}
            for description, after in self._all_steps(name, part, available):
                if after != part:
                    found[after] = min(found.get(after, description), description, key=len)
            self._memo[key] = [(description, after) for after, description in found.items()]
        return self._memo[key]

    def _all_steps(self, name: str, part: Part, available: tuple[Event, ...]) -> Iterator[Step]:
        for request in self._requests(name):
            yield self._run(name, part, [request])
            yield self._run(name, part, [request], "conflict")
            # The first request loses, so that the id of the winner is always the same.
            yield self._run(name, part, [replace(request, attempt=1), request], MEANWHILE)
            for event in available:  # delivered between the request's read and its write
                yield self._run(name, part, [request, (event,)], MEANWHILE)
        for size in range(1, self._world.batch + 1):
            batches = itertools.permutations(available, size)
            repeated = ((event, event) for event in available) if size == 2 else ()
            for batch in itertools.chain(batches, repeated):
                yield from self._deliveries(name, part, batch, available)

    def _deliveries(
        self, name: str, part: Part, batch: Batch, available: Sequence[Event]
    ) -> Iterator[Step]:
        labels = [label for label in SCRIPTS if name != VIEW or "conflict" not in label]
        if not self._world.faults or len(batch) > 2:
            labels = labels[:1]
        for label in labels:
            yield self._run(name, part, [batch], label)
        if len(batch) <= self._world.interleaved:
            others: list[Action] = [(event,) for event in available]
            for other in [*others, *self._requests(name)]:
                yield self._run(name, part, [batch, other], MEANWHILE)

    def _run(self, name: str, part: Part, actions: Sequence[Action], label: str = "") -> Step:
        """Perform the first action with the labelled faults; a second action between its read and its write.

        Only the rows of the actions' aggregates are loaded, and equal executions are not repeated.
        """
        touched: set[int] = set()
        for action in actions:
            if isinstance(action, Request):
                touched.add(action.number)
            else:
                touched |= set().union(*(_ids(body) for _, body in action))
        rows = frozenset(row for row in part.rows if _owner(row[0]) in touched)
        repeated = isinstance(actions[0], tuple) and {e for e, _ in actions[0]} <= part.acknowledged
        text = f", {MEANWHILE} ".join(_text(name, action) for action in actions)
        text += f", {label}" if label and label != MEANWHILE else ""
        key = (name, rows, tuple(actions), label, repeated)
        if key not in self._outcomes:
            self._outcomes[key] = self._execute(name, rows, actions, label, repeated)
        outcome = self._outcomes[key]
        if isinstance(outcome, str):
            raise UnexpectedFailureError(text, outcome)
        after, acknowledged = outcome
        new = part.rows - rows | after
        return text, Part(new, part.acknowledged | acknowledged | answered(new, name))

    def _execute(
        self, name: str, rows: State, actions: Sequence[Action], label: str, repeated: bool
    ) -> tuple[State, frozenset[str]] | str:
        store = self._system.store[name]
        store.load(rows)
        store.faults.clear()
        store.faults.extend(SCRIPTS.get(label, ()))
        if label == MEANWHILE:

            def act_first(commit: Commit) -> None:
                self._act(name, actions[1])
                commit()

            store.faults.append(act_first)
        self.executions += 1
        acknowledged: frozenset[str] = frozenset()
        try:
            acknowledged = self._act(name, actions[0], repeated=repeated and not label, fault=label)
        except (Crash, UnknownOutcomeError):
            pass
        except Exception as error:  # noqa: BLE001, reported as a broken rule
            return f"{type(error).__name__}: {error}"
        return _without_deliveries(store.state) if name == VIEW else store.state, acknowledged

    def _act(
        self, name: str, action: Action, *, repeated: bool = False, fault: str = MEANWHILE
    ) -> frozenset[str]:
        """Make a request or deliver a batch. Return the ids of the events that are acknowledged."""
        if isinstance(action, Request):
            action.make(self._system)
            return frozenset()
        result = self._system.deliver(name, [body for _, body in action])
        failed = {action[int(index)][0] for index in result.failed}
        if failed and not fault:
            raise AssertionError("a message failed without a fault")
        # No version guards a refusal or an erasure, so the view does not recognise its redelivery.
        is_guarded = not event_type(action[0][1]).endswith(("Failed", "Erased"))
        if repeated and name == VIEW and len(action) == 1 and is_guarded:
            assert not result.handled[0].changed, "a redelivered event was reported as a change"
        return frozenset({event_id for event_id, _ in action} - failed)

    def _requests(self, name: str) -> Iterator[Request]:
        if name == CUSTOMERS:
            for number, limit in enumerate(self._world.limits, 1):
                yield Request("create", number, (limit,))
                if self._world.erased:
                    yield Request("erase", number)
        elif name == ORDERS:
            for number, order in enumerate(self._world.orders, 11):
                yield Request("create", number, (order.customer_id, order.total))
                if order.cancelled:
                    yield Request("cancel", number)


class UnexpectedFailureError(Exception):
    """The shipped code raised an error that no fault explains."""


def _text(name: str, action: Action) -> str:
    if isinstance(action, Request):
        return str(action)
    return f"{name} handles [{', '.join(describe(body) for _, body in action)}]"


@cache
def _owner(key: Key) -> int:
    """Return the id of the aggregate that a row belongs to. Retried requests use the id plus 1000."""
    document_id = json.loads(key[1])
    if isinstance(document_id, dict):  # a key of DynamoDB
        (document_id,) = next(iter(document_id.values())).values()
    return int(str(document_id).removeprefix("key ").partition("#")[0]) % 1000


@cache
def _ids(body: str) -> frozenset[int]:
    """Return the ids of the aggregates that an event concerns."""
    data = json.loads(body)["detail"]["data"]
    return frozenset(data[name] % 1000 for name in ("orderId", "customerId") if name in data)


def _without_deliveries(state: State) -> State:
    """Forget how often each event was delivered: the view only counts it."""
    return frozenset(
        (key, re.sub(r'("deliveries":\{"\d+":)\d+', r"\g<1>1", row)) for key, row in state
    )


def explore(world: World, limit: int = 10**7) -> Result:
    """Visit the states of the two services breadth-first, up to `limit`. Stop at the first bad state."""
    system, result = System(), Result()
    explorer = Explorer(system, world)

    def events_for(name: str, source: str, part: Part) -> tuple[Event, ...]:
        wanted = system.subscriptions[name]
        return tuple(e for e in published(part.rows, source) if event_type(e[1]) in wanted)

    def visit(state: tuple[Part, Part]) -> Iterator[tuple[str, tuple[Part, Part]]]:
        customers, orders = state
        created = events_for(CUSTOMERS, ORDERS, orders)
        answers = events_for(ORDERS, CUSTOMERS, customers)
        finished = {e for e, _ in created} <= customers.acknowledged
        finished &= {e for e, _ in answers} <= orders.acknowledged
        tables = [
            _rows(part.rows, table)
            for part, service in ((customers, CUSTOMERS), (orders, ORDERS))
            for table in (service, f"{service}Outbox")
        ]
        result.problems = violations(*tables, finished=finished)
        if result.problems:
            return
        if finished:
            result.finished += 1
            result.histories.add((customers.rows, orders.rows))
        for text, after in explorer.steps(CUSTOMERS, customers, created):
            yield text, (after, orders)
        for text, after in explorer.steps(ORDERS, orders, answers):
            yield text, (customers, after)

    with system.deterministic():
        _search((Part(frozenset()), Part(frozenset())), visit, result, limit)
    result.executions = explorer.executions
    return result


def explore_view(history: tuple[State, State], batch: int = 2, *, faults: bool = True) -> Result:
    """Visit the states of the view breadth-first, for the events of one finished history."""
    system, result = System(), Result()
    explorer = Explorer(system, World([], [], batch, faults))
    customers, orders = history
    events = tuple(sorted([*published(customers, CUSTOMERS), *published(orders, ORDERS)]))

    def visit(part: Part) -> Iterator[Step]:
        if len(part.acknowledged) == len(events):
            result.finished += 1
            system.view.load(part.rows)
            result.problems = view_violations(
                {name: system.view.all(name) for name in system.view.list_collection_names()},
                _rows(customers, "CustomersOutbox"),
                _rows(orders, "OrdersOutbox"),
            )
        if not result.problems:
            yield from explorer.steps(VIEW, part, events)

    with system.deterministic():
        _search(Part(frozenset()), visit, result)
    result.executions = explorer.executions
    return result


def _search(
    start: T, visit: Callable[[T], Iterator[tuple[str, T]]], result: Result, limit: int = 10**7
) -> None:
    """Visit states breadth-first until `visit` reports problems. It yields the next states."""
    reached: dict[T, tuple[T | None, str]] = {start: (None, "")}
    queue = deque([start])
    while queue and result.states < limit:
        state = queue.popleft()
        result.states += 1
        last_step = []
        try:
            for text, after in visit(state):
                if after not in reached:
                    reached[after] = (state, text)
                    queue.append(after)
        except UnexpectedFailureError as failure:
            description, problem = failure.args
            last_step, result.problems = [description], [problem]
        if result.problems:
            step = reached[state]
            while step[0] is not None:
                result.trace.insert(0, step[1])
                step = reached[step[0]]
            result.trace += last_step
            return
    result.is_complete = not queue


def _rows(state: State, table: str) -> list[dict[str, object]]:
    return [json.loads(text) for (name, _), text in state if name == table]
