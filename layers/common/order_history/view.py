"""The view in a MongoDB-compatible database.

Three collections. `customers` has a document per customer, with the customer's most recent orders:

    {_id: customerId, name, creditLimitCents, availableCreditCents, version,
     orders: {"<orderId>": {orderId, orderTotalCents, state, rejectionReason, createdAt, version}}}

`orders` has a document per order, all of them:

    {_id: orderId, customerId, orderTotalCents, state, rejectionReason, createdAt, version,
     customerKey, stateKey, timeline: {"<version>": {state, at}}}

and `events` a document per event that concerns an order, with what the projection saw of it:

    {_id: eventId, orderKey, type, source, aggregateType, aggregateId, aggregateVersion,
     occurredAt, correlationId, causationId, projectedAt, deliveries}

`customerKey` and `stateKey` sort a customer's orders (in one state) by id, `orderKey` an order's events by
their occurrence, each in one string with one index, so that a page costs the same however many there
are, on every database that speaks the protocol. Amounts are integer cents, instants ISO 8601 strings. Only operators that MongoDB,
Amazon DocumentDB, FerretDB and the embedded server have in common are used.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import pymongo
from pymongo import ASCENDING, DESCENDING, MongoClient
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError

from messaging.domain_event import DomainEventEnvelope
from order_history.projection import OrderSnapshot
from orders.events import OrderState
from shared.clock import format_instant, now
from shared.money import Money

RECENT_ORDERS = 100
"""So many orders, the latest, are in a customer's document, to bound what one event costs."""

Document = dict[str, Any]


class InvalidMongoDbUriError(Exception):
    """The URI is none. Is the password in it percent-encoded (RFC 3986)? Of the URI itself nothing is told."""


def connect_from_environment() -> OrderHistoryView:
    """The view at MONGODB_URI or, over TLS, at the URI in the secret named MONGODB_SECRET_NAME.

    The secret is fetched once per execution environment: call this while a handler is imported.
    """
    secret_name = os.environ.get("MONGODB_SECRET_NAME")
    if not secret_name:
        return connect(os.environ["MONGODB_URI"])
    # Not needed, and so not imported, where the URI is in the environment.
    from aws_lambda_powertools.utilities.parameters import get_secret  # noqa: PLC0415

    return connect(str(get_secret(secret_name)), tls=True)


def connect(uri: str, **options: Any) -> OrderHistoryView:
    """The view in the database that the URI names, or in `order_history` where it names none.

    Nothing is sent yet. One invocation is handled at a time, so a small pool is enough; and an
    unreachable database must fail well within a function's time limit.
    """
    try:
        client: MongoClient[Document] = MongoClient(
            uri,
            **options,
            maxPoolSize=2,
            serverSelectionTimeoutMS=3000,
            connectTimeoutMS=2000,
            socketTimeoutMS=5000,
            retryWrites=False,  # DocumentDB has none; every write here may be repeated
        )
    except (PyMongoError, ValueError) as error:
        # The driver quotes what it cannot read, which with an unescaped "/" is the rest of the password.
        raise InvalidMongoDbUriError(type(error).__name__) from None
    return OrderHistoryView(client)


class OrderHistoryView:
    """What is known of customers and their orders. Every write keeps the latest version it was given."""

    def __init__(self, client: MongoClient[Document]) -> None:
        database = client.get_default_database("order_history")
        self._customers: Collection[Document] = database["customers"]
        self._orders: Collection[Document] = database["orders"]
        self._events: Collection[Document] = database["events"]
        self._has_indexes = False

    def ensure_indexes(self, *, once: bool = True) -> None:
        """The indexes that the queries need are there. Asks the database once per view object, unless told to ask again."""
        if not (self._has_indexes and once):
            self._orders.create_index("customerKey")
            self._orders.create_index("stateKey")
            self._events.create_index("orderKey")
            self._has_indexes = True

    def ping(self, time_limit_seconds: float) -> None:
        """The database has answered within the time. Raises: PyMongoError."""
        with pymongo.timeout(time_limit_seconds):
            self._customers.database.command("ping")

    # What the projection writes

    def put_customer(self, customer_id: int, name: str, credit_limit: Money) -> None:
        """The customer has the name and credit limit, which never change."""
        facts = {"name": name, "creditLimitCents": credit_limit.cents}
        change = {"$set": facts, "$setOnInsert": {"version": 0}}
        self._upsert(self._customers, {"_id": customer_id}, change)

    def put_available_credit(self, customer_id: int, available: Money, version: int) -> bool:
        """The customer has `available` credit, unless as late a version is known: then False."""
        return self._put_version(
            self._customers, customer_id, {"availableCreditCents": available.cents}, version
        )

    def put_order(self, order: OrderSnapshot) -> bool:
        """The order is as told, unless as late a version is known: then False. Its timeline has this version too."""
        moment = {
            f"timeline.{order.version}": {
                "state": order.state.value,
                "at": format_instant(order.changed_at),
            }
        }
        facts = _order_facts(order)
        document = {
            "customerId": order.customer_id,
            "customerKey": _customer_key(order.customer_id, order.order_id),
            "stateKey": _state_key(order.customer_id, order.state, order.order_id),
            **facts,
            **moment,
        }
        is_news = self._put_version(self._orders, order.order_id, document, order.version)
        if not is_news:
            self._orders.update_one({"_id": order.order_id}, {"$set": moment})
        self._put_recent_order(
            order, {"orderId": order.order_id, **facts, "version": order.version}
        )
        return is_news

    def put_event(
        self, envelope: DomainEventEnvelope, order_id: int, delivered_at: datetime | None
    ) -> None:
        """The event is among those of the order. With `delivered_at`, one more delivery of it is counted."""
        metadata = envelope.metadata
        facts = {
            "orderKey": _order_key(order_id, metadata.occurred_at, metadata.event_id),
            "type": envelope.event_type,
            "source": envelope.event.source,
            "aggregateType": metadata.aggregate_type,
            "aggregateId": int(metadata.aggregate_id),
            "aggregateVersion": metadata.aggregate_version,
            "occurredAt": format_instant(metadata.occurred_at),
            "correlationId": metadata.correlation_id,
            "causationId": metadata.causation_id,
            "projectedAt": format_instant(delivered_at or now()),
        }
        change: Document = {"$setOnInsert": facts}
        if delivered_at is None:
            facts["deliveries"] = 0
        else:
            change["$inc"] = {"deliveries": 1}
        self._upsert(self._events, {"_id": metadata.event_id}, change)

    def _put_version(
        self, collection: Collection[Document], key: int, facts: Document, version: int
    ) -> bool:
        """Whether `facts` are now in the document, because none as late as `version` were."""
        older = {"_id": key, "version": {"$lt": version}}
        return self._upsert(collection, older, {"$set": {**facts, "version": version}})

    def _upsert(
        self, collection: Collection[Document], document: Document, change: Document
    ) -> bool:
        """Whether the document, if need be a new one, matched and was changed."""
        try:
            collection.update_one(document, change, upsert=True)
        except DuplicateKeyError:
            # The document does not match, or somebody else has just inserted it and it may match now.
            return collection.update_one(document, change).matched_count == 1
        return True

    def _put_recent_order(self, order: OrderSnapshot, entry: Document) -> None:
        """The order's entry in its customer's document is as told, unless a later version is known.

        The guard asks for an older entry or for none. One update cannot ask for either (`$or` is not
        safe everywhere), so two are tried, and the first again, for an entry inserted between them.
        """
        path = f"orders.{order.order_id}"
        older = {"_id": order.customer_id, f"{path}.version": {"$lt": order.version}}
        absent = {"_id": order.customer_id, path: {"$exists": False}}
        change = {"$set": {path: entry}}
        if order.version > 1 and self._customers.update_one(older, change).matched_count:
            return
        if self._upsert(self._customers, absent, {**change, "$setOnInsert": {"version": 0}}):
            self._drop_oldest_orders(order.customer_id)
        else:
            self._customers.update_one(older, change)

    def _drop_oldest_orders(self, customer_id: int) -> None:
        """At most RECENT_ORDERS are left in the customer's document: those with the highest ids, the latest."""
        document = self._customers.find_one({"_id": customer_id}, {"orders": 1}) or {}
        ids = sorted(int(order_id) for order_id in document.get("orders", {}))
        if excess := ids[:-RECENT_ORDERS]:
            gone = {f"orders.{order_id}": "" for order_id in excess}
            self._customers.update_one({"_id": customer_id}, {"$unset": gone})

    # What rebuilding it takes

    def drop(self) -> None:
        """The view is as if it had heard of nothing. What is projected meanwhile may be in it, or not."""
        database = self._customers.database
        for name in database.list_collection_names():
            database.drop_collection(
                name
            )  # not the database, which takes more than a writer's rights
        self.ensure_indexes(once=False)

    @property
    def rebuilding(self) -> Collection[Document]:
        """How far a rebuild has come (order_history/rebuild.py). In the view, so that it is lost with it."""
        return self._customers.database["rebuilding"]

    # What the API asks

    def count_customers(self) -> int:
        """How many customers there are. A document without a name has seen no CustomerCreated: no customer."""
        return self._customers.count_documents({"name": {"$exists": True}})

    def find_customer(self, customer_id: int) -> Document | None:
        """The customer's document, with the most recent orders; None if no such customer is known."""
        document = self._customers.find_one({"_id": customer_id})
        return document if document and "name" in document else None

    def find_order(self, order_id: int) -> Document | None:
        return self._orders.find_one({"_id": order_id})

    def find_orders(
        self, customer_id: int, state: OrderState | None, limit: int, before: int | None
    ) -> list[Document]:
        """Up to `limit` orders of the customer (in `state`) with ids below `before`, the latest first."""
        if state is None:
            field, first = "customerKey", _customer_key(customer_id, 0)
            end = _customer_key(customer_id, before or _END)
        else:
            field, first = "stateKey", _state_key(customer_id, state, 0)
            end = _state_key(customer_id, state, before or _END)
        found = self._orders.find({field: {"$gte": first, "$lt": end}})
        return list(found.sort(field, DESCENDING).limit(limit))

    def find_events(self, order_id: int, limit: int, after: str | None) -> list[Document]:
        """Up to `limit` events of the order as they occurred, from behind the one with the id `after` on.

        An event that is none of the order's has none behind it.
        """
        start = _first_key(order_id)
        if after is not None:
            last = self._events.find_one({"_id": after})
            if last is None or not last["orderKey"].startswith(start):
                return []
            start = last["orderKey"]
        found = self._events.find({"orderKey": {"$gt": start, "$lt": _first_key(order_id + 1)}})
        return list(found.sort("orderKey", ASCENDING).limit(limit))


_END = 10**19 - 1
"""Above every id in the keys' 19 digits."""


def _order_facts(order: OrderSnapshot) -> Document:
    return {
        "orderTotalCents": order.order_total.cents,
        "state": order.state.value,
        "rejectionReason": order.rejection_reason and order.rejection_reason.value,
        "createdAt": format_instant(order.created_at),
    }


def _customer_key(customer_id: int, order_id: int) -> str:
    return f"{customer_id:019}#{order_id:019}"


def _state_key(customer_id: int, state: OrderState, order_id: int) -> str:
    return f"{customer_id:019}#{state.value}#{order_id:019}"


def _order_key(order_id: int, occurred_at: datetime, event_id: str) -> str:
    return f"{_first_key(order_id)}{format_instant(occurred_at)}#{event_id}"


def _first_key(order_id: int) -> str:
    return f"{order_id:019}#"
