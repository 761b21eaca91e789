"""Events for tests: the files in events/, and strategies that generate events."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from referencing import Registry, Resource

from customers import events as customer_events
from customers.events import CustomerEvent
from messaging.domain_event import Cause, DomainEvent
from messaging.envelope import DomainEventEnvelope, EventMetadata, _JsonField
from orders import events as order_events
from orders.events import OrderEvent
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money
from tests.event_schemas import SCHEMAS, schema_file
from tests.template import ROOT

EVENTS = ROOT / "events"


def load(name: str) -> dict[str, Any]:
    """Return a new copy of events/`name`.json."""
    file = EVENTS / f"{name}.json"
    assert file.exists(), f"events/{file.name} is missing: add a sample (events/README.md)"
    sample: dict[str, Any] = json.loads(file.read_text())
    return sample


def samples() -> list[str]:
    """Return the names of the files in events/."""
    return sorted(path.stem for path in EVENTS.glob("*.json"))


JANE = int(load("customers_api_get")["pathParameters"]["customerId"])
ORDER = int(load("orders_api_get")["pathParameters"]["orderId"])
REQUEST = Cause("a request")


def messages(batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the EventBridge messages in an SQS batch."""
    for record in batch["Records"]:
        yield json.loads(record["body"])


def to_message(envelope: DomainEventEnvelope) -> dict[str, Any]:
    """Return the event as EventBridge sends it to a queue."""
    return {
        "version": "0",
        "detail-type": envelope.event_type,
        "source": envelope.event.source,
        "detail": json.loads(envelope.to_detail()),
    }


def to_batch(*bodies: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return an SQS batch with a message for each body, with the ids message-1, message-2, ..."""
    (record, *_) = load("customers_subscriber_batch")["Records"]
    records = []
    for number, body in enumerate(bodies, 1):
        text = body if isinstance(body, str) else json.dumps(body)
        records.append({**copy.deepcopy(record), "messageId": f"message-{number}", "body": text})
    return {"Records": records}


def published_classes() -> list[type[DomainEvent]]:
    """Return all classes of events that the services publish."""
    bases = (CustomerEvent, OrderEvent)
    return [
        value
        for module in (customer_events, order_events)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    ]


def read_schema(name: str) -> dict[str, Any]:
    """Return a new copy of events/schemas/`name`.json."""
    file = SCHEMAS / f"{name}.json"
    assert file.exists(), f"events/schemas/{file.name} is missing: add the JSON Schema of the event"
    schema: dict[str, Any] = json.loads(file.read_text())
    return schema


def schema_of(event_type: str, detail: Mapping[str, Any]) -> Validator:
    """Return the validator of a `detail` of its type and schema version. It checks formats, too."""
    return _validator(schema_file(event_type, detail["metadata"]["schemaVersion"]).stem)


@cache
def _validator(name: str) -> Validator:
    schemas = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    resources = [(file, Resource.from_contents(schema)) for file, schema in schemas.items()]
    registry: Registry[Any] = Registry().with_resources(resources)
    return Draft202012Validator(
        read_schema(name),
        registry=registry,
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def any_event(event_class: type[DomainEvent]) -> SearchStrategy[DomainEvent]:
    """Generate events of the class, with any data that its schema allows."""
    hints, data = get_type_hints(event_class), {}
    described = read_schema(event_class.__name__)["properties"]["data"]["properties"]
    for field in fields(event_class):
        json_name = _JsonField.of(field, hints[field.name]).json_name
        assert json_name in described, (
            f"events/schemas/{event_class.__name__}.json: add the property {json_name}"
        )
        data[field.name] = _any_value(field, hints[field.name], described[json_name])
    return st.builds(event_class, **data)


@st.composite
def any_envelope(
    draw: st.DrawFn, event_class: type[DomainEvent] | None = None
) -> DomainEventEnvelope:
    """Generate events of the class (default: of any), with any metadata that they may have."""
    event = draw(any_event(event_class or draw(st.sampled_from(published_classes()))))
    metadata = EventMetadata(
        event_id=str(draw(st.uuids())),
        aggregate_type=event.aggregate_type,
        aggregate_id=str(event.aggregate_id),
        aggregate_version=draw(st.integers(0, 10**6)),
        occurred_at=draw(_instants),
        correlation_id=draw(st.text(min_size=1, max_size=40)),
        causation_id=draw(st.none() | st.uuids().map(str)),
        schema_version=event.schema_version(),
    )
    return DomainEventEnvelope(metadata, event)


def an_event_id(name: str) -> str:
    """Return the same event id for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def wrap(event: DomainEvent, version: int = 1, cause: Cause = REQUEST) -> DomainEventEnvelope:
    """Return the event as published because of an API request, or of another cause."""
    return DomainEventEnvelope.wrap(event, version, cause)


_instants = st.integers(0, 4_000_000_000_000).map(  # until the year 2096
    lambda milliseconds: datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
)


def _any_value(field: Field[Any], hint: Any, described: Mapping[str, Any]) -> SearchStrategy[Any]:
    by_type: dict[Any, SearchStrategy[Any]] = {
        int: st.integers(1, MAX_ID),
        str: st.text(min_size=1, max_size=200),
        Money: st.integers(field.metadata.get("minimum", 1), MAX_CENTS).map(Money),
        datetime: _instants,
    }
    types = get_args(hint) or (hint,)
    if issubclass(types[0], StrEnum):
        values = [types[0](value) for value in described["enum"] if value is not None]
        by_type[types[0]] = st.sampled_from(values)
    return by_type[types[0]] if len(types) == 1 else st.none() | by_type[types[0]]
