"""Terms: the words of names and queries without case and accents, and the sort keys under which the view keeps them.

A sort key is `<term>#<rank>`. The rank is larger for older ids, so that a term's latest customers or orders come first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from orders.events import OrderState
from shared.identifiers import MAX_ID

MAX_WORDS = 8
"""Words of a query. Each costs queries to count its candidates."""
MAX_TERMS = 17
"""Terms of a customer: the credit limit, and the first words of the name."""
MAX_TERM = 32
"""Characters of a word that are indexed. Bounds keys and tokens; a search compares whole words with the name."""

_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,2}))?")


class Via(IntEnum):
    """By what a word finds a customer or an order, in the order of the results."""

    ID = 1
    CUSTOMER = 2
    """An order, by the id of its customer."""
    AMOUNT = 3
    STATE = 4
    NAME = 5


@dataclass(frozen=True)
class Facts:
    """By what a customer is found, or an order, which has also a state and the id of its customer."""

    id: int
    cents: int
    name: str
    customer_id: int | None = None
    state: OrderState | None = None


@dataclass(frozen=True)
class Word:
    """A word of a query: the beginning of a name's word or of a state; a number is also an id or an amount."""

    text: str
    id: int | None = None
    cents: range = range(0)
    """The amounts that begin with the number as it is written: 12 to 12.99 for 12, 12.50 to 12.59 for 12.5."""

    @classmethod
    def of(cls, text: str) -> Word:
        number = _NUMBER.fullmatch(text)
        if number is None:
            return cls(text)
        whole, places = number[1], number[2] or ""
        first = int(whole + places.ljust(2, "0"))
        cents = range(first, first + 10 ** (2 - len(places)))
        is_id = not places and 1 <= int(whole) <= MAX_ID
        return cls(text, int(whole) if is_id else None, cents)

    @property
    def states(self) -> list[OrderState]:
        return [state for state in OrderState if state.value.lower().startswith(self.text)]

    def finds(self, facts: Facts) -> Iterator[tuple[Via, str]]:
        """Yield each way in which the word finds the customer or order, in order, with the term of a name."""
        for via, is_found in (
            (Via.ID, self.id == facts.id),
            (Via.CUSTOMER, self.id is not None and self.id == facts.customer_id),
            (Via.AMOUNT, facts.cents in self.cents),
            (Via.STATE, facts.state in self.states),
        ):
            if is_found:
                yield via, ""
        for word in sorted(_name_words(facts.name)):
            if word.startswith(self.text):
                yield Via.NAME, word[:MAX_TERM]


def words_of(text: str) -> list[str]:
    """Return the distinct words without case and accents: zoe, muller, strasse for "Zoë Müller-Straße"."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    letters = (
        letter if letter.isalnum() else " "
        for letter in unicodedata.normalize("NFKD", decomposed)
        if not unicodedata.category(letter).startswith("M")
    )
    return list(dict.fromkeys("".join(letters).split()))


def parse_query(text: str) -> list[Word]:
    """Return the distinct words of a query. An amount such as 12.50 is one word."""
    texts = [
        word
        for part in text.split()
        for word in ([part] if _NUMBER.fullmatch(part) else words_of(part))
    ]
    return [Word.of(word) for word in dict.fromkeys(texts)]


def customer_terms(name: str, credit_limit_cents: int) -> list[str]:
    """Return the distinct terms under which a customer is kept, at most MAX_TERMS."""
    words = [word[:MAX_TERM] for word in _name_words(name)]
    return list(dict.fromkeys([amount_term(credit_limit_cents), *words]))


def _name_words(name: str) -> list[str]:
    return words_of(name)[: MAX_TERMS - 1]


def amount_term(cents: int) -> str:
    """Return the term of an amount, which is no term of a name."""
    return f"${cents:014}"


def sort_key(term: str, key_id: int) -> str:
    return f"{term}#{MAX_ID - key_id:019}"
