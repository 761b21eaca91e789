from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from order_history.candidates import SearchQuery
from order_history.search import Position
from order_history.terms import (
    MAX_TERM,
    MAX_TERMS,
    Facts,
    Via,
    Word,
    customer_terms,
    parse_query,
    sort_key,
    words_of,
)
from orders.events import OrderState
from rest_api.pagination import decode_position, encode_next_token
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS

WORDS = {
    "Zoë MÜLLER-Straße": ["zoe", "muller", "strasse"],
    "O'Brien & Söhne, Söhne": ["o", "brien", "sohne"],
    "ﬁnn ① \uff21B\uff11 İstanbul": ["finn", "1", "ab1", "istanbul"],
    "山田 太郎 हिन्दी": ["山田", "太郎", "हनद"],
    "\u0000 _ $gt .*": ["gt"],
    " -\t": [],
}


def test_words_have_neither_case_nor_accents() -> None:
    for text, words in WORDS.items():
        assert words_of(text) == words


@given(st.text())
def test_words_are_normal_however_the_text_is_composed(text: str) -> None:
    words = words_of(text)

    assert all(word.isalnum() for word in words)
    assert words_of(" ".join(words)) == words
    for form in ("NFC", "NFD"):
        assert words_of(unicodedata.normalize(form, text)) == words


@given(st.text(), st.data())
def test_each_word_of_a_name_is_found_by_each_beginning_in_any_order(
    name: str, data: st.DataObject
) -> None:
    words = data.draw(st.permutations(words_of(name)[: MAX_TERMS - 1]))
    starts = [word[: data.draw(st.integers(1, len(word)))] for word in words]

    query = parse_query(" ".join(starts))

    for word in query:
        found = dict(word.finds(Facts(1, -1, name)))
        assert Via.NAME in found, word
        assert found[Via.NAME] in customer_terms(name, 0), word
    assert len(query) <= len(words)


@given(st.integers(0, MAX_CENTS), st.integers(-150, 150))
def test_amounts_are_found_as_written_from_the_left(cents: int, difference: int) -> None:
    other = abs(cents + difference)
    whole, places = (f"{n}" for n in divmod(cents, 100))
    written = f"{other // 100}.{other % 100:02}"

    for text in (f"{whole}.{places:0>2}", f"{whole}.{places:0>2}"[:-1]):
        assert (other in Word.of(text).cents) == written.startswith(text)
    assert (other in Word.of(whole).cents) == (other // 100 == cents // 100)


def test_numbers_are_ids_and_amounts_only_in_their_own_spelling() -> None:
    assert parse_query(f"{MAX_ID} 12.5") == [
        Word(str(MAX_ID), MAX_ID, range(MAX_ID * 100, MAX_ID * 100 + 100)),
        Word("12.5", None, range(1250, 1260)),
    ]
    assert Word.of("0").id is None
    assert Word.of(str(MAX_ID + 1)).id is None
    for text in ("012", "1e3", "٣", "9" * 20):
        assert Word.of(text) == Word(text)
    order = Facts(7, 400, "Jane Doe", 8, OrderState.REJECTED)
    ways = {"7": Via.ID, "8": Via.CUSTOMER, "4.0": Via.AMOUNT, "rej": Via.STATE, "d": Via.NAME}
    for text, via in ways.items():
        assert [found for found, _ in Word.of(text).finds(order)] == [via]
    assert list(Word.of("x").finds(order)) == []


def test_keys_sort_by_term_then_the_latest_first() -> None:
    pairs = [("ann", 9), ("ann", 1), ("anna", MAX_ID), ("anna", 2), ("b", 5)]
    keys = [sort_key(*pair) for pair in pairs]
    assert keys == sorted(keys)


@given(
    st.integers(0, 7),
    st.integers(0, 9),
    st.text(st.characters(categories=["L", "N"]), max_size=MAX_TERM),
)
def test_positions_survive_their_tokens(word: int, section: int, term: str) -> None:
    position = Position(word, section, f"${term}#{MAX_ID}|{MAX_ID}#APPROVED#{MAX_ID}")
    token = encode_next_token(str(position))

    assert len(token or "") <= 300
    query = SearchQuery([Word("x")] * 8)
    assert decode_position(token, lambda text: Position.parse(text, query)) == position
    assert Position.parse(str(position), SearchQuery([Word("x")] * word)) is None
