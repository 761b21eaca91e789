"""Events that were written when every schema version was 1, read by today's subscribers and projection.

test_order_history_rebuild.py rebuilds the view from them.

events_of_version_1.jsonl has the items of both outboxes of a local stack, in the order in which they were written: a
customer, and an approved order, two rejected ones and a cancelled one.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from typing import Any

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from customers.customer import Customer
from customers.events import CustomerCreated
from customers.repository import CustomerRepository
from functions.customers import subscriber as customers_subscriber
from functions.order_history import projection
from functions.orders import subscriber as orders_subscriber
from messaging.domain_event import DomainEvent
from messaging.envelope import NewerSchemaVersionError
from order_history.rebuild import Rebuild
from order_history.view import OrderHistoryView
from orders.events import OrderCancelled, OrderCreated, OrderRejected
from orders.order import Order
from orders.repository import OrderRepository
from tests.integration.conftest import LambdaContext
from tests.integration.mongodb import documents
from tests.integration.tables import decode, items, published
from tests.model.histories import view_violations, violations
from tests.samples import to_batch
from tests.template import ROOT

LINES = (ROOT / "tests/integration/events_of_version_1.jsonl").read_text().splitlines()
RECORDED: list[Any] = [json.loads(line) for line in LINES]
OUTBOXES = {"Customers": "CustomersOutbox", "Orders": "OrdersOutbox"}


def outbox_of(item: Any) -> str:
    return OUTBOXES[item["source"]["S"].rpartition(".")[2].title()]


def message(item: Any) -> dict[str, Any]:
    """Return the event as EventBridge delivered it."""
    detail = json.loads(item["detail"]["S"])
    return {"source": item["source"]["S"], "detail-type": item["eventType"]["S"], "detail": detail}


def recorded_data(event: DomainEvent) -> dict[str, Any]:
    """Return the type and the data of the event, without the fields that were added after the recording."""
    older = [field.name for field in fields(event) if field.default is MISSING]
    return {"type": type(event), **{name: getattr(event, name) for name in older}}


def test_subscribers_answer_recorded_events_with_the_recorded_answers(
    customers: CustomerRepository, orders: OrderRepository, dynamodb: DynamoDBClient
) -> None:
    for item in RECORDED:
        envelope = decode(item)
        match envelope.event:
            case CustomerCreated(customer_id=customer_id, name=name, credit_limit=limit):
                customer, _ = Customer.create(customer_id, name, limit)
                customers.insert(customer, envelope)
                continue
            case OrderCreated(order_id=order_id, customer_id=customer_id) as created:
                order, _ = Order.create(order_id, customer_id, created.order_total)
                orders.insert(replace(order, created_at=created.created_at), envelope)
            case OrderCancelled(order_id=order_id):
                found = orders.find(order_id)
                assert found
                before = replace(found)
                found.cancel()
                orders.outbox.write([envelope], orders.update(before, found))
        to_orders = outbox_of(item) == "CustomersOutbox"
        subscriber = (orders_subscriber if to_orders else customers_subscriber).subscriber
        if type(envelope.event) in subscriber._handler.event_classes:
            result = subscriber.handle_batch(to_batch(message(item)), LambdaContext())
            assert (result.failed, result.dead_letters) == ([], 0)

    answered = [event for outbox in OUTBOXES.values() for event in published(dynamodb, outbox)]
    recorded = {item["eventId"]["S"]: recorded_data(decode(item).event) for item in RECORDED}
    assert {e.metadata.event_id: recorded_data(e.event) for e in answered} == recorded
    tables = ("Customers", "CustomersOutbox", "Orders", "OrdersOutbox")
    assert violations(*[items(dynamodb, table) for table in tables], finished=True) == []


def test_projected_view_tells_what_was_recorded(
    view: OrderHistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection.subscriber, "_handler", view)
    batch = to_batch(*map(message, reversed(RECORDED)))
    assert projection.lambda_handler(batch, LambdaContext()) == {"batchItemFailures": []}
    customers = [item for item in RECORDED if outbox_of(item) == "CustomersOutbox"]
    orders = [item for item in RECORDED if outbox_of(item) == "OrdersOutbox"]
    assert view_violations(documents(view), customers, orders) == []


def test_rebuild_by_older_code_fails_instead_of_building_a_part_of_the_view(
    view: OrderHistoryView, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected = [item for item in RECORDED if item["eventType"]["S"] == "OrderRejected"]
    for item in rejected:
        detail = item["detail"]["S"].replace('"schemaVersion":1', '"schemaVersion":2')
        dynamodb.put_item(TableName="OrdersOutbox", Item=item | {"detail": {"S": detail}})
    monkeypatch.setattr(OrderRejected, "upcasters", ())
    rebuild = Rebuild(view, OUTBOXES)
    rebuild.begin(1)
    (_, orders) = rebuild.parts()

    with pytest.raises(NewerSchemaVersionError, match="deploy newer code"):
        rebuild.advance(orders.name, 60, 60)
