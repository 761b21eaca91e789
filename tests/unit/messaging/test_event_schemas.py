"""The schemas in events/schemas, the event classes, and the events in JSON agree."""

from __future__ import annotations

import json
import re
import shutil
import types
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hypothesis import given
from jsonschema import Draft202012Validator

from customers.events import ValidationFailureReason
from messaging.envelope import DomainEventEnvelope, EventMetadata
from orders.events import OrderState, RejectionReason
from shared.identifiers import MAX_ID
from shared.money import MAX_CENTS, Money
from tests.event_schemas import SCHEMAS, incompatibilities
from tests.event_schemas import fields as released_fields
from tests.samples import any_envelope, published_classes, read_schema, schema_of, to_message

CLASSES = published_classes()


def check_schema(schema: dict[str, Any], cls: type) -> None:
    """Assert that the schema has each field of the class with its type, bounds and default, and no other field.

    A field with a default is not required: it was added within the schema version. An enumeration in the schema has
    the values that this event can carry.
    """
    place = f"events/schemas/{'metadata' if cls is EventMetadata else cls.__name__}.json"
    hints = get_type_hints(cls)
    names = set()
    for field in fields(cls):
        hint = hints[field.name]
        parts = get_args(hint) or (hint,)
        (field_type,) = (part for part in parts if part is not types.NoneType)
        name = re.sub("_(.)", lambda letter: letter[1].upper(), field.name)
        name += "Cents" if field_type is Money else ""
        names.add(name)
        assert name in schema["properties"], f"{place}: add the property {name}"
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
            assert set(described["enum"]) <= {*field_type, *[None] * nullable}, name
        assert described.get("format") == field.metadata.get("format", described.get("format"))
        is_required = field.default is MISSING
        assert (name in schema["required"]) is is_required, (
            f"{place}: {name} is in `required` if and only if the field has no default"
        )
        assert ("default" in described) is not is_required, (
            f"{place}: {name} has a `default` if and only if the field has one"
        )
        if not is_required:
            assert described["default"] == field.default, name
    assert set(schema["properties"]) == names, f"{place}: {cls.__name__} has other fields"
    assert schema["additionalProperties"] is True


def test_each_event_has_a_schema_and_each_schema_an_event() -> None:
    names = {path.stem for path in SCHEMAS.glob("*.json")}

    older = {f"{c.__name__}.{v}" for c in CLASSES for v in range(1, c.schema_version())}
    expected = {event_class.__name__ for event_class in CLASSES} | {"metadata"} | older
    missing = [f"events/schemas/{name}.json" for name in sorted(expected - names)]
    assert missing == [], "add the JSON Schemas of the events"
    unknown = [f"events/schemas/{name}.json" for name in sorted(names - expected)]
    assert unknown == [], "no class in events.py, or no upcaster from this version"
    for name in names:
        Draft202012Validator.check_schema(read_schema(name))
    for name in older:
        metadata = read_schema(name)["properties"]["metadata"]["properties"]
        assert metadata["schemaVersion"] == {"const": int(name.partition(".")[2])}
    for value in (*OrderState, *RejectionReason, *ValidationFailureReason):
        assert any(f'"{value}"' in json.dumps(read_schema(name)) for name in names - older), (
            f"events/schemas: no schema has the value {value}"
        )


def test_schemas_agree_with_the_classes() -> None:
    for event_class in CLASSES:
        schema = read_schema(event_class.__name__)
        check_schema(schema["properties"]["data"], event_class)
        assert set(schema["required"]) == set(schema["properties"]) == {"metadata", "data"}
        assert schema["properties"]["metadata"]["properties"] == {
            "aggregateType": {"const": event_class.aggregate_type},
            "schemaVersion": {"const": event_class.schema_version()},
        }
        assert schema["title"] == event_class.__name__
    check_schema(read_schema("metadata"), EventMetadata)


@given(any_envelope())
def test_published_events_match_their_schema_also_with_added_fields(
    envelope: DomainEventEnvelope,
) -> None:
    message = to_message(envelope)
    schema = schema_of(envelope.event_type, message["detail"])
    schema.validate(message["detail"])
    for part in (message["detail"], *message["detail"].values()):
        part["addedLater"] = {"anything": [1.5, None]}
    schema.validate(message["detail"])


Change = Callable[[dict[str, Any]], object]


def test_schema_may_only_gain_optional_fields_within_a_version(tmp_path: Path) -> None:
    def data(change: Change) -> Change:
        return lambda schema: change(schema["properties"]["data"])

    def add(schema: dict[str, Any]) -> None:
        schema["properties"]["added"] = {"type": "string", "default": "none"}

    def require(schema: dict[str, Any]) -> None:
        add(schema)
        schema["required"].append("added")

    def next_version(schema: dict[str, Any]) -> None:
        schema["properties"]["metadata"]["properties"]["schemaVersion"]["const"] = 3
        require(schema["properties"]["data"])

    reasons = data(lambda d: d["properties"]["rejectionReason"]["enum"].append("BECAUSE"))
    changes: dict[str, list[tuple[Change, str]]] = {
        "OrderRejected": [
            (data(add), ""),
            (data(lambda d: d["properties"]["state"].update(description="x")), ""),
            (data(require), "added of version 2 is new and not optional"),
            (data(lambda d: d["properties"].pop("state")), "state of version 2 is missing"),
            (data(lambda d: d["required"].remove("state")), "state of version 2 is changed"),
            (reasons, "rejectionReason of version 2 is changed"),
            (next_version, "createdAt of version 2 is missing"),
        ],
        "OrderRejected.1": [(reasons, "rejectionReason of version 1 is changed")],
        "metadata": [(add, ""), (require, "added of version 1 is new and not optional. Restore")],
    }
    released = list(released_fields())
    cases = [(name, *case) for name, of_schema in changes.items() for case in of_schema]
    for number, (name, change, problem) in enumerate(cases):
        directory = shutil.copytree(SCHEMAS, tmp_path / str(number))
        schema = read_schema(name)
        change(schema)
        (directory / f"{name}.json").write_text(json.dumps(schema))

        found = incompatibilities(released, directory)

        assert bool(found) is bool(problem), (name, problem, found)
        if problem:
            assert any(f"events/schemas/{name}.json: {problem}" in text for text in found), found
        if problem and name != "metadata":
            assert "new schemaVersion with an upcaster and both sample events" in found[0]
        if change is next_version:
            shutil.copy(SCHEMAS / "OrderRejected.json", directory / "OrderRejected.2.json")
            assert incompatibilities(released, directory) == []
