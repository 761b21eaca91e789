"""What is in the tables, as they are and as a test means it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from messaging.envelope import DomainEventEnvelope, EventDecoder
from tests.samples import published_classes, schema_of
from tests.template import resources

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLES = tuple(
    f"{service}{kind}"
    for service in ("Customers", "Orders")
    for kind in ("", "Outbox", "Idempotency")
)
_DECODER = EventDecoder(published_classes())


def create_tables(client: DynamoDBClient) -> None:
    """The tables of template.yaml are there and empty, called by their logical ids."""
    for name, properties in resources("AWS::DynamoDB::Table").items():
        as_they_are = {"AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode"}
        wanted: dict[str, Any] = {k: v for k, v in properties.items() if k in as_they_are}
        if stream := properties.get("StreamSpecification"):
            wanted["StreamSpecification"] = {"StreamEnabled": True, **stream}
        client.create_table(TableName=name, **wanted)


def items(client: DynamoDBClient, table: str) -> list[dict[str, Any]]:
    """All items of the table, in DynamoDB's JSON."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [dict(item) for page in pages for item in page["Items"]]


def snapshot(client: DynamoDBClient) -> dict[str, list[str]]:
    """Every item of every table, so that two snapshots are equal if, and only if, nothing has changed."""
    return {
        table: sorted(json.dumps(item, sort_keys=True) for item in items(client, table))
        for table in TABLES
    }


def published(client: DynamoDBClient, outbox: str) -> list[DomainEventEnvelope]:
    """The events in the outbox, each as its schema says."""
    envelopes = []
    for item in items(client, outbox):
        detail = json.loads(item["detail"]["S"])
        source, event_type = item["source"]["S"], item["eventType"]["S"]
        schema_of(event_type).validate(detail)
        envelope = _DECODER.decode(source, event_type, detail)
        assert item["aggregateId"]["S"] == envelope.metadata.aggregate_id
        assert item["eventId"]["S"] == envelope.metadata.event_id
        envelopes.append(envelope)
    return envelopes
