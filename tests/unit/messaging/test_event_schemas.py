"""The schemas in events/schemas, the event classes, and the events in JSON agree."""

from __future__ import annotations

import json
import re
import types
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from messaging.envelope import SCHEMA_VERSION, DomainEventEnvelope, EventDecoder, EventMetadata
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money
from tests.samples import SCHEMAS, any_envelope, published_classes, schema_of, to_message

CLASSES = published_classes()


def read(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    return schema


def check_schema(schema: dict[str, Any], cls: type) -> None:
    """Assert that the schema has each field of the class with its type, bounds and default, and no other field.

    A field with a default is not required: it was added within the schema version.
    """
    hints = get_type_hints(cls)
    names = set()
    for field in fields(cls):
        hint = hints[field.name]
        parts = get_args(hint) or (hint,)
        (field_type,) = (part for part in parts if part is not types.NoneType)
        name = re.sub("_(.)", lambda letter: letter[1].upper(), field.name)
        name += "Cents" if field_type is Money else ""
        names.add(name)
        described = schema["properties"][name]
        nullable = types.NoneType in parts
        json_type = "integer" if field_type in {int, Money} else "string"
        assert described["type"] == ([json_type, "null"] if nullable else json_type), name
        assert described["description"], name
        if field_type is Money:
            bounds = (field.metadata.get("minimum", 1), MAX_CENTS)
            assert (described["minimum"], described["maximum"]) == bounds, name
            assert "cents" in described["description"], name
        elif field_type is int and name.endswith("Id"):
            assert (described["minimum"], described["maximum"]) == (1, MAX_ID), name
        elif field_type is datetime:
            assert described["format"] == "date-time", name
        elif issubclass(field_type, StrEnum):
            values = [member.value for member in field_type]
            assert described["enum"] == values + [None] * nullable, name
        assert described.get("format") == field.metadata.get("format", described.get("format"))
        is_required = field.default is MISSING
        assert (name in schema["required"]) is is_required, name
        assert ("default" in described) is not is_required, name
        if not is_required:
            assert described["default"] == field.default, name
    assert set(schema["properties"]) == names
    assert schema["additionalProperties"] is True


def test_each_event_has_a_schema_and_each_schema_an_event() -> None:
    names = {path.stem for path in SCHEMAS.glob("*.json")}

    assert names == {event_class.__name__ for event_class in CLASSES} | {"metadata"}
    for name in names:
        Draft202012Validator.check_schema(read(name))


def test_schemas_agree_with_the_classes() -> None:
    for event_class in CLASSES:
        schema = read(event_class.__name__)
        check_schema(schema["properties"]["data"], event_class)
        assert set(schema["required"]) == set(schema["properties"]) == {"metadata", "data"}
        aggregate_type = schema["properties"]["metadata"]["properties"]["aggregateType"]
        assert aggregate_type == {"const": event_class.aggregate_type}
        assert schema["title"] == event_class.__name__
    metadata = read("metadata")
    check_schema(metadata, EventMetadata)
    assert metadata["properties"]["schemaVersion"]["const"] == SCHEMA_VERSION


def test_added_field_needs_a_default_and_a_removed_renamed_or_changed_field_fails() -> None:
    @dataclass(kw_only=True)
    class Noted:
        order_id: int
        note: str = "none"

    order_id = {"type": "integer", "minimum": 1, "maximum": MAX_ID, "description": "..."}
    note = {"type": "string", "default": "none", "description": "..."}
    good = {"orderId": order_id, "note": note}
    check_schema({"properties": good, "required": ["orderId"], "additionalProperties": True}, Noted)
    bad: list[tuple[dict[str, Any], list[str]]] = [
        (good, ["orderId", "note"]),
        (good, []),
        ({**good, "note": {**note, "default": "another"}}, ["orderId"]),
        ({**good, "note": {"type": "string", "description": "..."}}, ["orderId"]),
        ({**good, "note": {**note, "type": "integer"}}, ["orderId"]),
        ({"orderId": order_id}, ["orderId"]),
        ({**good, "removed": note}, ["orderId"]),
        ({"id": order_id, "note": note}, ["id"]),
    ]
    for properties, required in bad:
        schema = {"properties": properties, "required": required, "additionalProperties": True}
        with pytest.raises((AssertionError, KeyError)):
            check_schema(schema, Noted)


@given(any_envelope())
def test_published_events_match_their_schema_also_with_added_fields(
    envelope: DomainEventEnvelope,
) -> None:
    message = to_message(envelope)
    schema = schema_of(envelope.event_type)
    schema.validate(message["detail"])
    for part in (message["detail"], *message["detail"].values()):
        part["addedLater"] = {"anything": [1.5, None]}
    schema.validate(message["detail"])

    decoder = EventDecoder(CLASSES)
    assert decoder.decode(message["source"], message["detail-type"], message["detail"]) == envelope
