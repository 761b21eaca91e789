"""Candidates of a search: the sections of the view in which a word finds customers and orders, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pymongo import ASCENDING, DESCENDING

from order_history.connection import Document
from order_history.projection import CUSTOMERS, ORDERS, TERMS
from order_history.queries import OrderSummary, orders_of
from order_history.terms import MAX_TERM, MAX_WORDS, Facts, Via, Word, amount_term, parse_query
from orders.events import OrderState
from shared.errors import InvalidRequestError
from shared.money import Money

_AFTER_ALL_LETTERS = "\U0010ffff"


@dataclass(frozen=True)
class CustomerHit:
    """A customer that was found."""

    customer_id: int
    name: str
    credit_limit: Money
    available_credit: Money
    kind: Literal["customer"] = "customer"

    @property
    def facts(self) -> Facts:
        return Facts(self.customer_id, self.credit_limit.cents, self.name)


@dataclass(frozen=True)
class OrderHit(OrderSummary):
    """An order that was found. `customer_name` is None if the view does not have the customer."""

    customer_id: int
    customer_name: str | None
    kind: Literal["order"] = "order"

    @property
    def facts(self) -> Facts:
        name = self.customer_name or ""
        return Facts(self.order_id, self.order_total.cents, name, self.customer_id, self.state)


Hit = CustomerHit | OrderHit
Customers = dict[int, CustomerHit]


@dataclass(frozen=True)
class SearchQuery:
    """All words must find a result. `state` limits it to orders in the state, `customer_id` to one customer's data."""

    words: list[Word]
    state: OrderState | None = None
    customer_id: int | None = None

    @classmethod
    def parse(cls, text: str, state: OrderState | None, customer_id: int | None) -> Self:
        """Return the query for all words of a text. Raises: InvalidRequestError for no word, or too many."""
        words = parse_query(text)
        if not 1 <= len(words) <= MAX_WORDS:
            raise InvalidRequestError(
                f"The search q needs 1 to {MAX_WORDS} words with letters or digits."
            )
        return cls(words, state, customer_id)


@dataclass(frozen=True)
class Section:
    """Candidates of a word: customers or orders (`kind`) whose `field` is from `first` to below `last`.

    If `collection` is TERMS, they are the customers of the entries in this range, or the orders of these customers.
    """

    kind: str
    via: Via | None
    collection: str
    field: str
    first: Any
    last: Any = None
    direction: int = ASCENDING

    def filter(self, after: str) -> Document:
        """Return the filter of the documents after the key; of all for an empty one."""
        if self.field == "_id":  # a single document
            return {"_id": {"$in": [] if after else [self.first]}}
        if self.direction == DESCENDING:
            return {self.field: {"$gte": self.first, "$lt": min(after or self.last, self.last)}}
        low = {"$gt": after} if after >= self.first else {"$gte": self.first}
        return {self.field: {**low, "$lt": self.last}}


def sections_of(query: SearchQuery, word: Word) -> list[Section]:
    """Return the sections in which a word finds customers and orders; or a customer's own, which any word may find."""
    if query.customer_id is not None:
        own = Section(CUSTOMERS, None, CUSTOMERS, "_id", query.customer_id)
        return [own, orders_section(query.customer_id, query.state)]
    customers, orders = [], []
    if word.id is not None:
        customers.append(Section(CUSTOMERS, Via.ID, CUSTOMERS, "_id", word.id))
        orders.append(Section(ORDERS, Via.ID, ORDERS, "_id", word.id))
        orders.append(replace(orders_section(word.id, query.state), via=Via.CUSTOMER))
    if word.cents:
        amounts = amount_term(word.cents.start), amount_term(word.cents.stop)
        customers.append(Section(CUSTOMERS, Via.AMOUNT, TERMS, "key", *amounts))
        orders.append(Section(ORDERS, Via.AMOUNT, ORDERS, "totalKey", *amounts))
    for state in word.states:
        bounds = f"{state}#", f"{state}$"
        orders.append(Section(ORDERS, Via.STATE, ORDERS, "stateOrderKey", *bounds))
    start = word.text[:MAX_TERM]
    for kind, sections in ((CUSTOMERS, customers), (ORDERS, orders)):
        sections.append(Section(kind, Via.NAME, TERMS, "key", start, start + _AFTER_ALL_LETTERS))
    return orders if query.state is not None else customers + orders


def orders_section(customer_id: int, state: OrderState | None) -> Section:
    return Section(ORDERS, None, ORDERS, *orders_of(customer_id, state), DESCENDING)


def is_result(hit: Hit, query: SearchQuery, driver: int, section: Section, key: str) -> bool:
    """Return whether all words find the hit, and the driver nowhere before this section and key."""
    facts = hit.facts
    ways = [next(word.finds(facts), None) for word in query.words]
    if None in ways or (query.state is not None and facts.state != query.state):
        return False
    term = key.partition("#")[0] if section.via is Via.NAME else ""
    return section.via is None or ways[driver] == (section.via, term)
