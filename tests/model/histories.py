"""Check recorded runs: the tables, the outboxes and the view must tell one legal history per aggregate.

`violations` and `view_violations` take plain items (DynamoDB's JSON) and documents. They know the rules of the
domain, but share no code with it. All must have been read while nothing was written.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from order_history.view import RECENT_ORDERS

Item = Mapping[str, Any]

ANSWERS = {
    # The event that each answer is caused by
    "CustomerCreditReserved": "OrderCreated",
    "CustomerCreditReservationFailed": "OrderCreated",
    "CustomerValidationFailed": "OrderCreated",
    "CustomerCreditReleased": "OrderCancelled",
}
DECISIONS = {
    # The state and the reason of an order after each answer
    "CustomerCreditReserved": ("APPROVED", None),
    "CustomerCreditReservationFailed": ("REJECTED", "INSUFFICIENT_CREDIT"),
    "CustomerValidationFailed": ("REJECTED", "UNKNOWN_CUSTOMER"),
}
ORDER_HISTORIES = (
    ["OrderCreated"],
    ["OrderCreated", "OrderApproved"],
    ["OrderCreated", "OrderRejected"],
    ["OrderCreated", "OrderApproved", "OrderCancelled"],
)


@dataclass(frozen=True)
class Event:
    """An item of an outbox."""

    id: str
    type: str
    aggregate_id: int
    version: int
    cause: str | None
    data: Item
    metadata: Item

    @property
    def order_id(self) -> int | None:
        return self.data.get("orderId")


@lru_cache(maxsize=100_000)
def _event(event_id: str, event_type: str, detail: str) -> Event:
    decoded = json.loads(detail)
    metadata = decoded["metadata"]
    return Event(
        event_id,
        event_type,
        int(metadata["aggregateId"]),
        metadata["aggregateVersion"],
        metadata["causationId"],
        decoded["data"],
        metadata,
    )


def events_of(outbox: Iterable[Item]) -> list[Event]:
    """Decode the items of an outbox."""
    return [_event(i["eventId"]["S"], i["eventType"]["S"], i["detail"]["S"]) for i in outbox]


def violations(
    customers: Iterable[Item],
    customers_outbox: Iterable[Item],
    orders: Iterable[Item],
    orders_outbox: Iterable[Item],
    *,
    finished: bool = False,
) -> list[str]:
    """Return the broken rules; none if the run was correct. `finished`: every event was handled."""
    customer_events, order_events = events_of(customers_outbox), events_of(orders_outbox)
    by_id = {event.id: event for event in [*customer_events, *order_events]}
    totals = {e.order_id: int(e.data["orderTotalCents"]) for e in order_events}
    found = [*_causes(customer_events, by_id), *_causes(order_events, by_id)]

    orders_by_id = {int(item["orderId"]["N"]): item for item in orders}
    histories = _by_aggregate(order_events)
    for order_id in orders_by_id.keys() | histories.keys():
        item, history = orders_by_id.get(order_id), histories.get(order_id, [])
        found += [f"order {order_id}: {rule}" for rule in _order_rules(item, history, by_id)]

    accounts: dict[int, dict[int, int]] = defaultdict(dict)
    rows = {}
    for item in customers:
        customer_id, sk = int(item["customerId"]["N"]), item["sk"]["S"]
        if sk == "CUSTOMER":
            rows[customer_id] = item
        else:
            order_id = int(sk.removeprefix("RESERVATION#"))
            accounts[customer_id][order_id] = int(item["reservedCents"]["N"])
    by_customer = _by_aggregate(customer_events)
    for customer_id in rows.keys() | accounts.keys() | by_customer.keys():
        account = (rows.get(customer_id), accounts[customer_id], by_customer.get(customer_id, []))
        found += [f"customer {customer_id}: {rule}" for rule in _customer_rules(*account, totals)]

    reserved = {order_id for account in accounts.values() for order_id in account}
    states = {order_id: item["state"]["S"] for order_id, item in orders_by_id.items()}
    approved = {order_id for order_id, state in states.items() if state == "APPROVED"}
    found += [f"order {i}: approved without a reservation" for i in approved - reserved]
    if finished:
        found += [f"order {i}: reservation without approval" for i in reserved - approved]
        found += [f"order {i}: still PENDING" for i, state in states.items() if state == "PENDING"]
        answered = Counter(e.cause for e in customer_events)
        for event in order_events:
            if event.type in ANSWERS.values() and answered[event.id] != 1:
                found.append(f"order {event.order_id}: {event.type} not answered exactly once")
    return found


def _by_aggregate(events: Iterable[Event]) -> dict[int, list[Event]]:
    histories: dict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda e: e.version):
        histories[event.aggregate_id].append(event)
    return histories


def _causes(events: Sequence[Event], by_id: Mapping[str, Event]) -> Iterator[str]:
    """Each event was caused by one request or event, and no event caused two of one service."""
    for cause_id, number in Counter(e.cause for e in events if e.cause).items():
        if number > 1:
            yield f"event {cause_id} caused {number} events of one service"
    for event in events:
        cause = by_id.get(event.cause or "")
        if event.type in ANSWERS:
            answered = (ANSWERS[event.type], event.order_id)
            if cause is None or (cause.type, cause.order_id) != answered:
                yield f"{event.type} of order {event.order_id} has another cause"
        elif event.type in {"OrderApproved", "OrderRejected"}:
            decision = (event.data["state"], event.data["rejectionReason"])
            is_of_order = cause is not None and cause.order_id == event.order_id
            if not is_of_order or cause is None or _decision_after(cause) != decision:
                yield f"{event.type} of order {event.order_id} has another cause"
        elif event.cause is not None:
            yield f"{event.type} was caused by an event"


def _decision_after(answer: Event) -> tuple[str, str | None]:
    state, reason = DECISIONS.get(answer.type, ("", None))
    # A failed validation has a reason since version 2.
    return state, answer.data.get("reason", reason)


def _order_rules(
    item: Item | None, history: Sequence[Event], by_id: Mapping[str, Event]
) -> Iterator[str]:
    types = [event.type for event in history]
    if [event.version for event in history] != list(range(1, len(history) + 1)):
        yield f"versions are {[event.version for event in history]}"
    if types not in ORDER_HISTORIES:
        yield f"its history is {types}"
    elif item is None:
        yield "it has events and no item"
    else:
        last = history[-1].data
        reason = item.get("rejectionReason", {}).get("S")
        stored = (item["state"]["S"], reason, int(item["version"]["N"]))
        if stored != (last["state"], last["rejectionReason"], len(history)):
            yield f"stored as {stored} after {types}"


def _customer_rules(
    item: Item | None,
    reservations: Mapping[int, int],
    history: Sequence[Event],
    totals: Mapping[int | None, int],
) -> Iterator[str]:
    changes = [e for e in history if not e.type.endswith("Failed")]
    if [event.version for event in changes] != list(range(1, len(changes) + 1)):
        yield f"versions are {[event.version for event in changes]}"
    if [e.type for e in changes].count("CustomerCreated") != bool(changes):
        yield "not created exactly once"
    erased_at = [event.version for event in changes if event.type == "CustomerErased"]
    yield from _erasure_rules(item, changes, erased_at)
    credit_at: dict[int, int] = {}
    reserved: dict[int | None, int] = {}
    yield from _credit_rules(changes, totals, credit_at, reserved)
    for event in history:
        if event.type.endswith("Failed"):
            yield from _refusal_rules(event, totals[event.order_id], credit_at, erased_at)
    kept = {order_id: cents for order_id, cents in reserved.items() if cents}
    if reservations != kept:
        yield f"reservations are {dict(reservations)} after {kept}"
    if (item is None) != (not changes):
        yield "it has events without an item, or the reverse"
    elif item is not None:
        stored = (int(item["version"]["N"]), int(item["reservedCreditCents"]["N"]))
        if stored != (len(changes), sum(kept.values())):
            yield f"stored with version and reserved credit {stored}"


def _erasure_rules(
    item: Item | None, changes: Sequence[Event], erased_at: Sequence[int]
) -> Iterator[str]:
    """Erased at most once, then without a name in the item and in the events, and without reservations."""
    if len(erased_at) > 1:
        yield "erased more than once"
    for event in changes:
        if event.type == "CustomerCreated" and (event.data["name"] == "erased") != bool(erased_at):
            yield f"the name {event.data['name']} is stored, erased at {erased_at}"
        if erased_at and event.type == "CustomerCreditReserved" and event.version > erased_at[0]:
            yield f"credit of order {event.order_id} reserved after erasure"
    personal = {"name", "listedCustomerId"} & (item or {}).keys()
    if item is not None and (bool(personal), "erased" in item) != (not erased_at, bool(erased_at)):
        yield f"stored with {personal}, erased at {erased_at}"


def _credit_rules(
    changes: Sequence[Event],
    totals: Mapping[int | None, int],
    credit_at: dict[int, int],
    reserved: dict[int | None, int],
) -> Iterator[str]:
    """Reservations sum up at every version. Fills in the credit by version and the reservations."""
    available = changes[0].data.get("creditLimitCents", 0) if changes else 0
    for event in changes:
        if event.type == "CustomerCreditReserved":
            if event.order_id in reserved:
                yield f"credit of order {event.order_id} reserved twice"
            reserved[event.order_id] = totals[event.order_id]
            available -= totals[event.order_id]
        elif event.type == "CustomerCreditReleased":
            if not reserved.get(event.order_id):
                yield f"credit of order {event.order_id} released without a reservation"
            available += reserved.get(event.order_id, 0)
            reserved[event.order_id] = 0
        credit_at[event.version] = available
        if available < 0:
            yield f"limit exceeded at version {event.version}"
        if event.data.get("availableCreditCents", available) != available:
            yield f"version {event.version} has another available credit than {available}"


def _refusal_rules(
    event: Event, total: int, credit_at: Mapping[int, int], erased_at: Sequence[int]
) -> Iterator[str]:
    """A refusal was decided on the credit of its version; version 0 is an unknown customer."""
    if event.data.get("reason") == "CUSTOMER_ERASED":
        if not erased_at or event.version < erased_at[0]:
            yield f"order {event.order_id} refused at version {event.version}, erased at {erased_at}"
        return
    credit = event.data.get("availableCreditCents")
    if credit != credit_at.get(event.version):
        yield f"refusal of order {event.order_id} at version {event.version} with {credit}"
    if credit is not None and total <= credit:
        yield f"order {event.order_id} refused with enough credit"


def view_violations(
    documents: Mapping[str, Iterable[Item]],
    customers_outbox: Iterable[Item],
    orders_outbox: Iterable[Item],
) -> list[str]:
    """Return the differences between the view's documents, by collection, and the events of both outboxes."""
    expected = _expected_view(events_of(customers_outbox), events_of(orders_outbox))
    found = []
    expected["customers"] = {
        key: with_recent_orders(document) for key, document in expected["customers"].items()
    }
    for name, wanted in expected.items():
        stored = {d["_id"]: _comparable(d) for d in documents.get(name, [])}
        found += [
            f"{name} {key}: {stored.get(key)} instead of {wanted.get(key)}"
            for key in sorted(stored.keys() | wanted.keys())
            if stored.get(key) != wanted.get(key)
        ]
    return found


def with_recent_orders(customer: Item) -> dict[str, Any]:
    """Return a customer's document with the latest orders only. It may hold more until the next eviction."""
    if (orders := customer.get("orders")) is None:
        return {**customer}
    latest = sorted(orders, key=int)[-RECENT_ORDERS:]
    return {**customer, "orders": {order_id: orders[order_id] for order_id in latest}}


def _comparable(document: Item) -> dict[str, Any]:
    """Leave out the times and numbers of deliveries, and fields that are not set yet."""
    names = {"_id", "customerKey", "stateKey"}
    kept = {k: v for k, v in with_recent_orders(document).items() if k not in names}
    if "events" in kept:
        kept["events"] = {key: entry["event"] for key, entry in kept["events"].items()}
    return kept


def _expected_view(
    customer_events: Iterable[Event], order_events: Iterable[Event]
) -> dict[str, dict[Any, dict[str, Any]]]:
    customers: dict[int, dict[str, Any]] = defaultdict(lambda: {"version": 0})
    orders: dict[int, dict[str, Any]] = defaultdict(lambda: {"version": 0})
    names: dict[int, dict[str, Any]] = {}
    erased, terms = {}, {}
    for event in sorted([*customer_events, *order_events], key=lambda e: e.version):
        data, metadata = event.data, event.metadata
        is_order_event = event.type.startswith("Order")
        if event.type == "CustomerCreated":
            names[event.aggregate_id] = {"name": data["name"], "version": 0}
            words = re.findall("[a-z0-9]+", data["name"].lower())
            found = dict.fromkeys([f"${data['creditLimitCents']:014}", *words])
            for number, term in enumerate(found):
                key = f"{term}#{_rank(event.aggregate_id)}"
                terms[f"{event.aggregate_id:019}#{number}"] = {"key": key, "version": 0}
            customers[event.aggregate_id] |= {
                "name": data["name"],
                "creditLimitCents": data["creditLimitCents"],
                "availableCreditCents": data["creditLimitCents"],
                "version": 1,
            }
            continue
        if event.type == "CustomerErased":
            erased[event.aggregate_id] = {"erased": True, "version": 0}
            for document in (customers[event.aggregate_id], names[event.aggregate_id]):
                document["erased"] = True
                del document["name"]
            for number in range(17):
                terms[f"{event.aggregate_id:019}#{number}"] = {"erased": True, "version": 0}
            continue
        order = orders[data["orderId"]]
        order.setdefault("events", {})[event.id] = {
            "type": event.type,
            "source": f"customers-and-orders.{'orders' if is_order_event else 'customers'}",
            "aggregateType": "Order" if is_order_event else "Customer",
            "aggregateId": event.aggregate_id,
            **{
                name: metadata[name]
                for name in ("aggregateVersion", "occurredAt", "correlationId", "causationId")
            },
        }
        if is_order_event:
            summary = {name: data[name] for name in ("orderTotalCents", "createdAt")}
            order |= summary | {n: data[n] for n in ("customerId", "state", "rejectionReason")}
            rank = _rank(data["orderId"])
            order["totalKey"] = f"${data['orderTotalCents']:014}#{rank}"
            order["stateOrderKey"] = f"{data['state']}#{rank}"
            order["version"] = event.version
            entry = {"state": data["state"], "at": metadata["occurredAt"]}
            order.setdefault("timeline", {})[str(event.version)] = entry
            recent = customers[data["customerId"]].setdefault("orders", {})
            embedded = recent.setdefault(str(data["orderId"]), {"states": {}})
            embedded |= summary
            embedded["states"][str(event.version)] = data["state"]
            if data["rejectionReason"]:
                embedded["rejectionReason"] = data["rejectionReason"]
        elif event.type in {"CustomerCreditReserved", "CustomerCreditReleased"}:
            latest = {
                "availableCreditCents": data["availableCreditCents"],
                "version": event.version,
            }
            customers[event.aggregate_id] |= latest
    return {
        "customers": dict(customers),
        "orders": dict(orders),
        "names": names,
        "erased": erased,
        "customerTerms": terms,
    }


def _rank(customer_or_order_id: int) -> str:
    return f"{2**63 - 1 - customer_or_order_id:019}"
