"""In-memory stand-ins of DynamoDB (messaging.dynamodb.Database) and of the view's MongoDB database.

Only the operations that the shipped code uses. `test_stores.py` and the tests of the view hold both to the real
clients. All contents are JSON texts, so that a state is hashable and no caller can change it by accident.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pynamodb.expressions.condition import Condition

from messaging.dynamodb import (
    MAX_TRANSACTION_ITEMS,
    ConditionFailedError,
    Item,
    Write,
    _key_names,
)

Commit = Callable[[], None]
Fault = Callable[[Commit], None]
"""Called instead of a write. It may call its argument, the write, and may raise an error before or after it."""
Document = dict[str, Any]
Key = tuple[str, str]
"""A table or collection and the key, as JSON."""
State = frozenset[tuple[Key, str]]
"""The whole contents of a store."""


class Store:
    """Rows of JSON, and the faults of the next writes."""

    def __init__(self) -> None:
        self.rows: dict[Key, str] = {}
        self.faults: deque[Fault] = deque()
        self.stream: list[str] = []
        """The items that were inserted into the outbox, for the relay."""

    @property
    def state(self) -> State:
        return frozenset(self.rows.items())

    def load(self, state: State) -> None:
        """Replace the contents."""
        self.rows = dict(state)
        self.stream.clear()

    def all(self, table: str) -> list[Any]:
        """Return the contents of a table or collection."""
        return [json.loads(text) for (name, _), text in sorted(self.rows.items()) if name == table]

    def perform(self, commit: Commit) -> None:
        """Perform a write, or the next fault instead of it."""
        if self.faults:
            self.faults.popleft()(commit)
        else:
            commit()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class MemoryTables(Store):
    """DynamoDB tables: consistent reads and conditional, atomic writes."""

    def get(self, table: str, key: Item) -> Item | None:
        text = self.rows.get((table, _json(key)))
        return json.loads(text) if text else None

    def get_all(self, table: str, keys: Iterable[Item]) -> list[Item]:
        return [item for key in keys if (item := self.get(table, key)) is not None]

    def query(self, table: str, key: Item, having: Item) -> Iterator[Item]:
        values = {**key, **having}
        return (item for item in self.all(table) if item.items() >= values.items())

    def write(self, writes: Sequence[Write]) -> None:
        if len(writes) > MAX_TRANSACTION_ITEMS:
            raise ValueError(f"{len(writes)} items are more than a transaction takes")
        self.perform(lambda: self._commit(writes))

    def _commit(self, writes: Sequence[Write]) -> None:
        rows = [(_row_key(write), write) for write in writes]
        assert len({key for key, _ in rows}) == len(rows), "two writes of one item in a transaction"
        stored = [json.loads(self.rows.get(key, "{}")) for key, _ in rows]
        failed = [
            (write, item)
            for write, item in zip(writes, stored, strict=True)
            if not _holds(write.condition, item)
        ]
        if failed:
            # The error of a single PutItem comes without the stored item.
            raise ConditionFailedError(failed if len(writes) > 1 else [(writes[0], {})])
        for key, write in rows:
            if write.is_delete:
                self.rows.pop(key, None)
            else:
                is_insert = key not in self.rows
                self.rows[key] = _json(write.item.to_dynamodb_dict())
                if write.table.endswith("Outbox") and is_insert:
                    self.stream.append(self.rows[key])


def _row_key(write: Write) -> Key:
    item = write.item.to_dynamodb_dict()
    return write.table, _json({name: item[name] for name in _key_names(type(write.item))})


def _holds(condition: Condition, item: Mapping[str, Any]) -> bool:
    if condition.operator == "OR":
        return any(_holds(part, item) for part in condition.values)
    stored = item.get(condition.values[0].path[0])
    match condition.operator:
        case "attribute_exists":
            return stored is not None
        case "attribute_not_exists":
            return stored is None
        case "=":
            return bool(stored == condition.values[1].value)
        case "<=":
            return stored is not None and int(stored["N"]) <= int(condition.values[1].value["N"])
    raise NotImplementedError(condition)


class MemoryMongo(Store):
    """A MongoDB database: upserts with dotted paths, and range queries."""

    def __getitem__(self, name: str) -> MemoryCollection:
        return MemoryCollection(self, name)

    def list_collection_names(self) -> list[str]:
        return sorted({name for name, _ in self.rows})

    def drop_collection(self, name: str) -> None:
        self[name].drop()


class MemoryCollection:
    def __init__(self, store: MemoryMongo, name: str) -> None:
        self._store = store
        self._name = name

    def create_index(self, _field: str) -> None:
        """Do nothing: every query is a scan."""

    def estimated_document_count(self) -> int:
        return sum(name == self._name for name, _ in self._store.rows)

    def drop(self) -> None:
        self._store.rows = {k: text for k, text in self._store.rows.items() if k[0] != self._name}

    def find_one(self, query: Document) -> Document | None:
        return next(iter(self.find(query)), None)

    def find(self, query: Document | None = None, fields: Document | None = None) -> MemoryCursor:
        found = (
            document for document in self._candidates(query or {}) if _matches(document, query)
        )
        return MemoryCursor([_project(document, fields or {}) for document in found])

    def insert_one(self, document: Document) -> None:
        if self._key(document["_id"]) in self._store.rows:
            raise DuplicateKeyError("duplicate key", 11000)
        self._store.rows[self._key(document["_id"])] = _json(document)

    def update_one(self, query: Document, update: Document) -> None:
        self._update(UpdateOne(query, update))

    def bulk_write(self, updates: Sequence[UpdateOne], ordered: bool) -> None:
        assert not ordered
        assert updates, "MongoDB refuses an empty bulk write"
        self._store.perform(lambda: self._bulk_write(updates))

    def _bulk_write(self, updates: Sequence[UpdateOne]) -> None:
        refused = [i for i, update in enumerate(updates) if not self._update(update)]
        if refused:
            errors = [{"index": index, "code": 11000} for index in refused]
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": []})

    def _update(self, update: UpdateOne) -> bool:
        """Return False if an upsert fails because its filter misses the document with its key."""
        query: Any = update._filter
        change: Any = update._doc
        document = self.find_one(query)
        if document is None:
            if not update._upsert:
                return True
            document = {"_id": query["_id"]}
            if self._key(query["_id"]) in self._store.rows:
                return False
            set_fields(document, change.get("$setOnInsert", {}))
        set_fields(document, change.get("$set", {}))
        for path in change.get("$unset", {}):
            parent, _, name = path.rpartition(".")
            _at(document, parent).pop(name, None)
        self._store.rows[self._key(query["_id"])] = _json(document)
        return True

    def _candidates(self, query: Document) -> Iterator[Document]:
        rows, key = self._store.rows, query.get("_id")
        if key is not None and not isinstance(key, dict):
            if text := rows.get(self._key(key)):
                yield json.loads(text)
        else:
            yield from self._store.all(self._name)

    def _key(self, document_id: Any) -> Key:
        return self._name, _json(document_id)


class MemoryCursor(list[Document]):
    """The found documents."""

    def sort(self, field: str, direction: int) -> MemoryCursor:  # type: ignore[override]
        return MemoryCursor(sorted(self, key=lambda d: d[field], reverse=direction < 0))

    def limit(self, number: int) -> MemoryCursor:
        return MemoryCursor(self[:number])


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$lt": lambda value, bound: value < bound,
    "$gt": lambda value, bound: value > bound,
    "$lte": lambda value, bound: value <= bound,
    "$gte": lambda value, bound: value >= bound,
    "$in": lambda value, values: value in values,
    "$exists": lambda _value, wanted: bool(wanted),
}


def _matches(document: Document, query: Document | None) -> bool:
    for path, condition in (query or {}).items():
        *parents, name = path.split(".")
        parent = reduce(lambda found, key: found.get(key, {}), parents, document)
        tests = condition if isinstance(condition, dict) else {"$in": [condition]}
        if name not in parent and tests == {"$exists": False}:
            continue
        if name not in parent or not all(_OPERATORS[o](parent[name], v) for o, v in tests.items()):
            return False
    return True


def _project(document: Document, fields: Document) -> Document:
    included = {name for name, wanted in fields.items() if wanted}
    return {
        name: value
        for name, value in document.items()
        if (name in included | {"_id"} if included else name not in fields)
    }


def _at(document: Document, path: str) -> Document:
    for name in filter(None, path.split(".")):
        document = document.setdefault(name, {})
    return document


def set_fields(document: Document, fields: Document) -> None:
    """Set the fields, whose names are paths such as `timeline.2`."""
    for path, value in fields.items():
        parent, _, name = path.rpartition(".")
        _at(document, parent)[name] = value
