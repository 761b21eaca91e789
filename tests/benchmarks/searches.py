"""The cost of one page of a search with few and with many customers.

A MongoDB server holds the customers, with an order each. The driver reports the commands.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pymongo import MongoClient
from pymongo.database import Database

from customers.events import CustomerCreated
from infra.local import emulators
from infra.local.emulators import Directories
from infra.local.processes import free_port, stop
from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope
from order_history.candidates import SearchQuery
from order_history.connection import Document, ViewConnection
from order_history.projection import Projected, changes_of
from order_history.search import OrderHistorySearch
from order_history.terms import parse_query
from order_history.view import OrderHistoryView
from orders.events import OrderCreated, OrderState
from shared.clock import now
from shared.money import Money
from tests.benchmarks.growth import FIRST_ID, Commands
from tests.model.stores import set_fields

SIZES = (100, 10_000)
PAGE = 10
ROUNDS = 9
CHUNK = 500
QUERIES = ("j", "doe jane", "pending", "jane 12.5", "12")
"""Each finds a page in every size: a fifth of the customers and more match."""


@dataclass
class PageCost:
    """The cost of one page, on average of all queries; milliseconds are the median of ROUNDS."""

    commands: float
    milliseconds: float


@contextmanager
def empty_view(commands: Commands) -> Iterator[tuple[ViewConnection, Database[Document]]]:
    """Yield a connection whose commands are counted, and the database without its time limits."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        process = emulators.start_mongodb(port, Directories(Path(directory)))
        try:
            emulators.wait_until_ready(process)
            uri = emulators.mongodb_uri(port)
            connection = ViewConnection(uri, event_listeners=[commands])
            OrderHistoryView(connection).ensure_indexes()
            yield connection, MongoClient[Document](uri).get_default_database()
        finally:
            stop([process])


def measure(show: Callable[[str], None]) -> dict[int, PageCost]:
    """Measure a page with each number of customers in SIZES."""
    commands, found, known = Commands(), {}, 0
    with empty_view(commands) as (view, database):
        for size in SIZES:
            show(f"search: {size:,} customers")
            for start in range(known, size, CHUNK):
                _insert(database, range(start, min(start + CHUNK, size)))
            known = size
            found[size] = _cost(OrderHistorySearch(view), commands)
    return found


def _cost(search: OrderHistorySearch, commands: Commands) -> PageCost:
    rounds = []
    for _ in range(ROUNDS):
        commands.count = 0
        started = time.perf_counter()
        for text in QUERIES:
            page = search.search(SearchQuery(parse_query(text)), PAGE, None)
            if len(page.hits) != PAGE:
                raise AssertionError(f"{text} finds {len(page.hits)}")
        rounds.append(time.perf_counter() - started)
    number = len(QUERIES)
    return PageCost(commands.count / number, median(rounds) * 1000 / number)


def _insert(database: Database[Document], numbers: range) -> None:
    """Insert the documents that the projection makes of a customer and an order for each number."""
    events = [event for number in numbers for event in _events(number)]
    documents: dict[str, list[Document]] = defaultdict(list)
    for (collection, document_id), change in changes_of(events).items():
        document: Document = {"_id": document_id, "version": change.version}
        set_fields(document, change.facts | change.personal | change.latest)
        documents[collection].append(document)
    for collection, found in documents.items():
        database[collection].insert_many(found, ordered=False)


def _events(number: int) -> Iterator[Projected]:
    customer_id, order_id = FIRST_ID + number, 2 * FIRST_ID + number
    name = f"{('Jane', 'John', 'Ann')[number % 3]} Doe"
    limit, total = Money(1000 + number % 5 * 100), Money(1150 + number % 2 * 100)
    at, cause = now(), Cause("correlation")
    for event in (
        CustomerCreated(customer_id=customer_id, name=name, credit_limit=limit),
        OrderCreated(
            order_id=order_id,
            customer_id=customer_id,
            order_total=total,
            state=OrderState.PENDING,
            rejection_reason=None,
            created_at=at,
        ),
    ):
        yield Projected(DomainEventEnvelope.wrap(event, 1, cause), at)
