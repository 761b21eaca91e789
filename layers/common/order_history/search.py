"""Search of the view: pages of the customers and orders that every word of a query finds.

The candidates of one word, the most selective, are read from indexes in their order; the other words are compared in
memory. A page examines at most MAX_EXAMINED candidates, so its cost depends neither on the number of customers nor on
how many of them match. A page may have fewer hits than asked for, even none, and still not be the last.

Orders are found by their customer's name through the customer. So a name is kept in one place, and the events of a
customer and of its orders do not depend on each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from order_history.candidates import (
    CustomerHit,
    Customers,
    Hit,
    OrderHit,
    SearchQuery,
    Section,
    is_result,
    orders_section,
    sections_of,
)
from order_history.connection import Document, ViewConnection, survives_rotation
from order_history.projection import CUSTOMERS, TERMS
from order_history.queries import to_summary
from orders.events import OrderState
from shared.money import Money

MAX_EXAMINED = 300
"""Candidates per page. Each costs at most one query: a customer whose orders are read."""
MAX_COUNTED = 100
"""Candidates counted with one query. A cursor's first batch has 101."""
BATCH = 50
"""Documents per query."""
_UNUSED = ("events", "timeline", "orders")
"""Fields that a search does not read. They are the largest."""


@dataclass(frozen=True)
class Position:
    """Where a page ends: the word whose candidates are read, the section of them, and the last key in the section."""

    word: int
    section: int = 0
    key: str = ""

    @classmethod
    def parse(cls, text: str, query: SearchQuery) -> Self | None:
        """Return the position that `str` wrote for the query; None for any other text."""
        found = re.fullmatch(r"([0-9])\.([0-9])\.((?:[^\W_]|[$#|])*)", text)
        if found is None or int(found[1]) >= len(query.words):
            return None
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.word}.{self.section}.{self.key}"


@dataclass(frozen=True)
class SearchPage:
    """A page of hits, and where it ends; None for the last page."""

    hits: list[Hit]
    end: Position | None


class OrderHistorySearch:
    """Finds customers and orders in the view."""

    def __init__(self, connection: ViewConnection) -> None:
        self.connection = connection

    @survives_rotation
    def search(self, query: SearchQuery, limit: int, after: Position | None) -> SearchPage:
        """Find customers, then orders, from the position on. Within a term, the latest come first."""
        start = after or Position(self._most_selective(query))
        found: list[Hit] = []
        end, examined = start, 0
        sections = sections_of(query, query.words[start.word])
        for number, section in enumerate(sections[start.section :], start.section):
            first_key = start.key if number == start.section else ""
            for key, hit in self._candidates(section, first_key, query.state):
                if hit is not None and is_result(hit, query, start.word, section, key):
                    if len(found) == limit:
                        return SearchPage(found, end)
                    found.append(hit)
                end, examined = Position(start.word, number, key), examined + 1
                if examined == MAX_EXAMINED:
                    return SearchPage(found, end)
        return SearchPage(found, None)

    def _most_selective(self, query: SearchQuery) -> int:
        """Return the index of the word with the fewest candidates, counted up to MAX_COUNTED in each section."""
        if len(query.words) == 1 or query.customer_id is not None:
            return 0
        counts = [
            sum(len(self._find(s, "", MAX_COUNTED, {s.field: 1})) for s in sections_of(query, word))
            for word in query.words
        ]
        return counts.index(min(counts))

    def _candidates(
        self, section: Section, after: str, state: OrderState | None
    ) -> Iterator[tuple[str, Hit | None]]:
        """Yield the keys after `after`, each with its customer or order; with None if there is none."""
        if section.collection != TERMS:
            yield from self._read(section, after)
        elif section.kind == CUSTOMERS:
            for entries, customers in self._read_terms(section, after):
                yield from ((e["key"], customers.get(_customer_of(e))) for e in entries)
        else:
            # An order's key follows that of its customer's entry, which is read again for its other orders.
            customer_key, _, order_key = after.partition("|")
            section = replace(section, first=max(section.first, customer_key))
            for entries, customers in self._read_terms(section, ""):
                for entry in entries:
                    key = entry["key"]
                    yield f"{key}|", None
                    below = order_key if key == customer_key else ""
                    orders = orders_section(_customer_of(entry), state)
                    for last, hit in self._read(orders, below, customers):
                        yield f"{key}|{last}", hit

    def _read_terms(
        self, section: Section, after: str
    ) -> Iterator[tuple[list[Document], Customers]]:
        """Yield batches of entries, each with their customers."""
        for entries in self._batches(section, after):
            yield entries, self._find_customers(map(_customer_of, entries))

    def _read(
        self, section: Section, after: str, customers: Customers | None = None
    ) -> Iterator[tuple[str, Hit | None]]:
        """Yield the customers or orders of the section. The orders' customers are read unless they are given."""
        for batch in self._batches(section, after):
            is_customer = section.kind == CUSTOMERS
            owner = "_id" if is_customer else "customerId"
            known = customers
            if known is None:
                known = self._find_customers(d[owner] for d in batch if owner in d)
            for document in batch:
                hit = known.get(document["_id"]) if is_customer else _to_order(document, known)
                yield str(document[section.field]), hit

    def _batches(self, section: Section, after: str) -> Iterator[list[Document]]:
        while batch := self._find(section, after, BATCH, dict.fromkeys(_UNUSED, 0)):
            yield batch
            if len(batch) < BATCH:
                return
            after = str(batch[-1][section.field])

    def _find(self, section: Section, after: str, limit: int, fields: Document) -> list[Document]:
        found = self.connection.database[section.collection].find(section.filter(after), fields)
        return list(found.sort(section.field, section.direction).limit(limit))

    def _find_customers(self, ids: Iterable[int]) -> Customers:
        query = {"_id": {"$in": sorted(set(ids))}}
        found = self.connection.database[CUSTOMERS].find(query, dict.fromkeys(_UNUSED, 0))
        return {
            customer["_id"]: CustomerHit(
                customer["_id"],
                customer["name"],
                Money(customer["creditLimitCents"]),
                Money(customer["availableCreditCents"]),
            )
            for customer in found
            if "name" in customer
        }


def _customer_of(entry: Document) -> int:
    return int(entry["_id"].partition("#")[0])


def _to_order(order: Document, customers: Customers) -> OrderHit | None:
    if "state" not in order:  # the view has seen only events of its customer
        return None
    customer_id = order["customerId"]
    name = customers[customer_id].name if customer_id in customers else None
    return OrderHit(**vars(to_summary(order)), customer_id=customer_id, customer_name=name)
