"""The view in a MongoDB-compatible database: writes. `queries.py` has the reads, `projection.py` the documents.

Uses only operators that MongoDB, Amazon DocumentDB, FerretDB and the embedded server have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import pymongo
from aws_lambda_powertools import Logger
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, OperationFailure

from messaging.domain_event import DomainEvent
from messaging.subscriber import Delivery, Handled
from order_history.connection import Document, ViewConnection, survives_rotation
from order_history.projection import (
    CUSTOMERS,
    EVENTS,
    ORDERS,
    PERSONAL_FIELDS,
    TERMS,
    DocumentChange,
    Key,
    Projected,
    changes_of,
    guarded_document,
)
from orders.events import OrderEvent
from shared.clock import now

logger = Logger(child=True)

RECENT_ORDERS = 20
"""How many orders, the latest, a customer's document holds at least. Bounds the cost of an event.

Queries rely on it. Before a smaller number, deploy the API before the projection; after a larger one, rebuild the view.
"""
_EVICTION_INTERVAL = 16
"""One in so many events of orders evicts its customer's oldest orders."""
MAX_UPDATES = 1000
"""Of one bulk write. A customer has up to 20 documents, and a bulk write must end before the driver's timeout of 4 s."""
_DUPLICATE_KEY = 11000
NOT_ERASED: Document = {"erased": {"$exists": False}}


Bulk = list[UpdateOne]


class OrderHistoryView:
    """Writes the documents of the view. Implements messaging.subscriber.EventHandler."""

    event_classes: Collection[type[DomainEvent]] = EVENTS

    def __init__(self, connection: ViewConnection) -> None:
        self.connection = connection
        self._has_indexes = False

    @property
    def _database(self) -> Database[Document]:
        return self.connection.database

    def handle(
        self, deliveries: Sequence[Delivery], _seconds_left: Callable[[], float]
    ) -> Iterable[Handled]:
        """Project a batch of events. An event that is stale is reported as unchanged. Raises: PyMongoError."""
        self._try_to_ensure_indexes()
        at = now()
        events = [Projected(d.envelope, at, len(d.message_ids)) for d in deliveries]
        stale = self.project(events)
        return [Handled(d, guarded_document(d.envelope) not in stale, None) for d in deliveries]

    @survives_rotation
    def project(self, events: Sequence[Projected]) -> set[Key]:
        """Apply the events' changes: one unordered bulk write per collection.

        A customer's terms are written before the customer, and orders last: a version that an order's document has is
        in its customer's document, too, and a customer that has one is found by a search.
        Return the documents that held a later version already. Raises: PyMongoError.
        """
        changes = changes_of(events)
        stale: set[Key] = set()
        for collection in sorted({name for name, _ in changes}):
            of_collection = {key: c for key, c in changes.items() if key[0] == collection}
            stale |= self._write(collection, of_collection)
        self._evict(_customers_to_evict(events))
        return stale

    def _write(self, collection: str, changes: Mapping[Key, DocumentChange]) -> set[Key]:
        items = list(changes.items())
        refused = self._bulk_write(collection, [_upsert(k, c) for k, c in items])
        if not refused:
            return set()
        # A refused upsert means that the document exists: with a later version, erased, or inserted a moment ago.
        repeated = [items[index] for index in refused]
        updates = [update for key, change in repeated for update in _updates(key, change)]
        self._bulk_write(collection, updates)
        return {key for key, change in repeated if change.version}

    def _bulk_write(self, collection: str, updates: Bulk) -> list[int]:
        """Perform the updates and return the indexes of those that failed with a duplicate key."""
        refused = []
        for start in range(0, len(updates), MAX_UPDATES):
            try:
                self._database[collection].bulk_write(
                    updates[start : start + MAX_UPDATES], ordered=False
                )
            except BulkWriteError as error:
                failed = error.details["writeErrors"]
                if error.details.get("writeConcernErrors") or any(
                    e["code"] != _DUPLICATE_KEY for e in failed
                ):
                    raise
                refused += [start + e["index"] for e in failed]
        return refused

    def _evict(self, customer_ids: Collection[int]) -> None:
        """Remove all but the latest RECENT_ORDERS orders from the customers' documents."""
        if not customer_ids:
            return
        evictions = []
        customers = self._database[CUSTOMERS]
        for document in customers.find({"_id": {"$in": list(customer_ids)}}, {"orders": 1}):
            latest_last = sorted(document.get("orders", {}), key=int)
            if excess := latest_last[:-RECENT_ORDERS]:
                # If the view was dropped since it was read, the document may lack the later orders: then keep all.
                kept = {f"orders.{n}": {"$exists": True} for n in latest_last[-RECENT_ORDERS:]}
                removed = {f"orders.{order_id}": "" for order_id in excess}
                evictions.append(UpdateOne({"_id": document["_id"], **kept}, {"$unset": removed}))
        self._bulk_write(CUSTOMERS, evictions)

    def _try_to_ensure_indexes(self) -> None:
        """Create the indexes once per execution environment.

        Amazon DocumentDB builds one index of a collection at a time. An environment that loses this race tries again
        with its next batch: the projection works without indexes.
        """
        if self._has_indexes:
            return
        try:
            self.ensure_indexes()
        except OperationFailure as error:
            logger.warning("index not created", extra={"reason": str(error)})
        else:
            self._has_indexes = True

    @survives_rotation
    def ensure_indexes(self) -> None:
        """Create the indexes that the queries need, if they do not exist. Raises: PyMongoError."""
        for name in ("customerKey", "stateKey", "totalKey", "stateOrderKey"):
            self._database[ORDERS].create_index(name)
        self._database[TERMS].create_index("key")

    def drop(self) -> None:
        """Delete the view. The documents of events that are projected meanwhile may survive."""
        # Not dropDatabase, which needs more than the permission to write.
        for name in self._database.list_collection_names():
            self._database.drop_collection(name)
        self.ensure_indexes()

    @survives_rotation
    def ping(self, time_limit_seconds: float) -> None:
        """Check that the database answers within the time limit. Raises: PyMongoError."""
        with pymongo.timeout(time_limit_seconds):
            self._database.command("ping")

    @property
    def rebuilding(self) -> pymongo.collection.Collection[Document]:
        """The progress of a rebuild (rebuild.py). Part of the view, so that it is lost together with it."""
        return self._database["rebuilding"]


def _customers_to_evict(events: Sequence[Projected]) -> set[int]:
    """Return the customers whose orders are evicted. Late events evict too: they bring evicted orders back."""
    customers = set()
    for projected in events:
        event, version = projected.envelope.event, projected.envelope.metadata.aggregate_version
        if isinstance(event, OrderEvent) and (event.order_id - version) % _EVICTION_INTERVAL == 0:
            customers.add(event.customer_id)
    return customers


def _upsert(key: Key, change: DocumentChange) -> UpdateOne:
    found = _older(key, change) if change.version else {"_id": key[1]}
    update = _facts(change)
    update["$set"] |= change.personal
    if change.personal:
        found |= NOT_ERASED
    if change.version:
        update["$set"] |= {**change.latest, "version": change.version}
    else:
        # The version makes the document match the guard of the event that comes later.
        update["$setOnInsert"] = {"version": 0}
    return UpdateOne(found, update, upsert=True)


def _updates(key: Key, change: DocumentChange) -> Bulk:
    """Return the updates of an existing document: the facts in any case, other fields as far as their guards allow."""
    updates = []
    if change.version:
        latest = {**change.facts, **change.latest, "version": change.version}
        updates.append(UpdateOne(_older(key, change), {"$set": latest}))
    if change.personal:
        personal = {**change.facts, **change.personal}
        updates.append(UpdateOne({"_id": key[1], **NOT_ERASED}, {"$set": personal}))
    if change.facts or change.erases:
        updates.append(UpdateOne({"_id": key[1]}, _facts(change)))
    return updates


def _facts(change: DocumentChange) -> Document:
    if not change.erases:
        return {"$set": {**change.facts}}
    removed = dict.fromkeys(PERSONAL_FIELDS, "")
    return {"$set": {**change.facts, "erased": True}, "$unset": removed}


def _older(key: Key, change: DocumentChange) -> Document:
    return {"_id": key[1], "version": {"$lt": change.version}}
