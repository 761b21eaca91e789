"""The DynamoDB tables of template.yaml: creating, reading and scanning them in a test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from mypy_boto3_dynamodb import DynamoDBClient

from customers.customer import Customer
from customers.repository import CustomerRepository
from messaging.envelope import DomainEventEnvelope, EventDecoder
from orders.events import OrderState, RejectionReason
from orders.order import Order
from orders.repository import OrderRepository
from shared.clock import format_instant
from shared.money import Money
from tests.samples import JANE, ORDER, published_classes, schema_of, wrap
from tests.template import DEVELOPMENT

TABLES = (
    *("Customers", "CustomersOutbox", "CustomersIdempotency"),
    *("Orders", "OrdersOutbox", "OrdersIdempotency"),
)
_DECODER = EventDecoder(published_classes())
_SORTED_SCAN = Table.scan


def create_tables(client: DynamoDBClient) -> None:
    """Create the tables of template.yaml with all their indexes, named by their logical ids."""
    stack = DEVELOPMENT.with_parameters(ResumePendingOrders="on")
    for name, properties in stack.resources("AWS::DynamoDB::Table").items():
        unchanged = {"AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode"}
        wanted: dict[str, Any] = {k: v for k, v in properties.items() if k in unchanged}
        if stream := properties.get("StreamSpecification"):
            wanted["StreamSpecification"] = {"StreamEnabled": True, **stream}
        client.create_table(TableName=name, **wanted)


def insert_customer(
    customers: CustomerRepository, customer_id: int = JANE, limit: int = 500, reserved: int = 0
) -> None:
    """Insert the customer Jane Doe, with her id in events/ by default."""
    customer, created = Customer.create(customer_id, "Jane Doe", Money(limit))
    customers.insert(replace(customer, reserved_credit=Money(reserved)), wrap(created))


def insert_order(
    orders: OrderRepository,
    order_id: int = ORDER,
    state: OrderState = OrderState.PENDING,
    reason: RejectionReason | None = None,
) -> None:
    """Insert an order of Jane Doe over 4.10 in the state, with the order's id in events/ by default."""
    order, created = Order.create(order_id, JANE, Money(410))
    orders.insert(replace(order, state=state, rejection_reason=reason), wrap(created))


def items(client: DynamoDBClient, table: str) -> list[dict[str, Any]]:
    """Return all items of the table, in DynamoDB's JSON. Read from moto's memory: a Scan takes 20 times as long."""
    tables = dynamodb_backends[DEFAULT_ACCOUNT_ID][client.meta.region_name].tables
    return [dict(item.to_json()["Attributes"]) for item in tables[table].all_items()]


def snapshot(client: DynamoDBClient) -> dict[str, list[str]]:
    """Return every item of every table. Two snapshots are equal if and only if nothing has changed."""
    return {
        table: sorted(json.dumps(item, sort_keys=True) for item in items(client, table))
        for table in TABLES
    }


def published(client: DynamoDBClient, outbox: str) -> list[DomainEventEnvelope]:
    """Return the events in the outbox by aggregate and version. Each is checked against its schema."""
    envelopes = [decode(item) for item in items(client, outbox)]
    return sorted(envelopes, key=lambda e: (e.event.aggregate_id, e.metadata.aggregate_version))


def decode(item: dict[str, Any]) -> DomainEventEnvelope:
    """Decode an outbox item. Check the event against its schema, and each attribute against the event."""
    detail = json.loads(item["detail"]["S"])
    source, event_type = item["source"]["S"], item["eventType"]["S"]
    schema_of(event_type, detail).validate(detail)
    envelope = _DECODER.decode(source, event_type, detail)
    metadata = envelope.metadata
    others = {"detail", "traceHeader", "expiresAt"}
    assert {name: value for name, value in item.items() if name not in others} == {
        "aggregateId": {"S": metadata.aggregate_id},
        "eventId": {"S": metadata.event_id},
        "aggregateVersion": {"N": str(metadata.aggregate_version)},
        "source": {"S": source},
        "eventType": {"S": event_type},
        "occurredAt": {"S": format_instant(metadata.occurred_at)},
        "correlationId": {"S": metadata.correlation_id},
    }
    return envelope


def shuffled_scan(
    table: Any, filters: Any, limit: int, start: Any, *args: Any, short_pages: bool, **kwargs: Any
) -> tuple[list[Any], int, Any]:
    """Scan in the order of a hash, as DynamoDB does; moto sorts by key.

    With `short_pages`, pages may be shorter than their limit, and an empty page may follow the last item.
    """
    found, scanned, _ = _SORTED_SCAN(table, filters, 10**9, None, *args, **kwargs)  # type: ignore[arg-type]
    index = args[1] if len(args) > 1 else None
    keyed = {_hash(key := table._get_last_evaluated_key(i, index)): (i, key) for i in found}
    left = sorted(place for place in keyed if start is None or place > _hash(start))
    size = limit or len(left)
    if short_pages:
        size = max(1, size - len(left) % 3)
    page = left[:size]
    is_last = len(page) == len(left) and not (short_pages and len(page) == size)
    last_key = keyed[page[-1]][1] if page and not is_last else None
    return [keyed[place][0] for place in page], scanned, last_key


def _hash(key: Any) -> str:
    values = sorted((n, v if isinstance(v, dict) else v.to_json()) for n, v in key.items())
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
