"""The schemas in events/schemas, the classes, and what is written as JSON are the same thing three times."""

from __future__ import annotations

import json
import re
import types
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from messaging.domain_event import DomainEvent
from messaging.envelope import SCHEMA_VERSION, DomainEventEnvelope, EventDecoder, EventMetadata
from shared.money import Money
from tests.samples import SCHEMAS, any_envelope, published_classes, schema_of, to_message

CLASSES = published_classes()


def read(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    return schema


def expected_types(declared: Any) -> set[str]:
    """The JSON types of a field declared like this."""
    if get_origin(declared) in {Union, types.UnionType}:
        return set().union(*(expected_types(part) for part in get_args(declared)))
    if declared is types.NoneType:
        return {"null"}
    return {"integer"} if declared in {int, Money} else {"string"}


def expected_values(declared: Any) -> list[str | None] | None:
    """The values of an enumeration, with None where there may be none."""
    parts = get_args(declared) or (declared,)
    enums = [part for part in parts if isinstance(part, type) and issubclass(part, StrEnum)]
    if not enums:
        return None
    values: list[str | None] = [member.value for member in enums[0]]
    return [*values, None] if types.NoneType in parts else values


def assert_describes(schema: dict[str, Any], cls: type) -> None:
    """The schema has each field of the dataclass, required, of the right type, with its unit; and no other."""
    hints = get_type_hints(cls)
    expected = {}
    for field in fields(cls):
        name = re.sub("_(.)", lambda letter: letter[1].upper(), field.name)
        unit = "Cents" if hints[field.name] is Money else ""
        expected[name + unit] = hints[field.name]
    assert set(schema["properties"]) == set(schema["required"]) == set(expected)
    assert schema["additionalProperties"] is True
    for name, declared in expected.items():
        described = schema["properties"][name]
        json_types = described["type"]
        json_types = {json_types} if isinstance(json_types, str) else set(json_types)
        assert json_types == expected_types(declared), name
        if (values := expected_values(declared)) is not None:
            assert described["enum"] == values, name
        if declared is datetime:
            assert described["format"] == "date-time", name
        if declared is Money:
            assert "cents" in described["description"], name
        assert described["description"], name


def test_there_is_a_schema_for_each_event_and_for_nothing_else() -> None:
    names = {path.stem for path in SCHEMAS.glob("*.json")}

    assert names == {event_class.__name__ for event_class in CLASSES} | {"metadata"}


@pytest.mark.parametrize("name", sorted(path.stem for path in SCHEMAS.glob("*.json")))
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(read(name))


@pytest.mark.parametrize("event_class", CLASSES)
def test_a_schema_has_the_facts_that_the_class_declares(event_class: type[DomainEvent]) -> None:
    schema = read(event_class.__name__)

    assert_describes(schema["properties"]["data"], event_class)
    assert set(schema["required"]) == set(schema["properties"]) == {"metadata", "data"}


@pytest.mark.parametrize("event_class", CLASSES)
def test_a_schema_tells_what_the_class_tells(event_class: type[DomainEvent]) -> None:
    schema = read(event_class.__name__)
    assert event_class.__doc__
    told = event_class.__doc__.split("\n")[0].replace("`rejection_reason`", "rejectionReason")

    assert schema["title"] == event_class.__name__
    assert schema["description"].startswith(told)


def test_the_metadata_are_those_that_the_class_declares() -> None:
    schema = read("metadata")

    assert_describes(schema, EventMetadata)
    assert schema["properties"]["schemaVersion"]["const"] == SCHEMA_VERSION
    kinds = {event_class.aggregate_type for event_class in CLASSES}
    assert set(schema["properties"]["aggregateType"]["enum"]) == kinds


@given(any_envelope())
def test_what_is_published_is_what_the_schema_says(envelope: DomainEventEnvelope) -> None:
    schema_of(envelope.event_type).validate(json.loads(envelope.to_detail()))


@given(any_envelope())
def test_what_the_schema_allows_to_be_added_does_not_disturb_a_subscriber(
    envelope: DomainEventEnvelope,
) -> None:
    message = to_message(envelope)
    for part in (message["detail"], *message["detail"].values()):
        part["addedLater"] = {"anything": [1.5, None]}
    schema_of(envelope.event_type).validate(message["detail"])

    decoded = EventDecoder(CLASSES).decode(
        envelope.event.source, envelope.event_type, message["detail"]
    )

    assert decoded == envelope


@given(any_envelope())
def test_what_lacks_a_field_or_has_one_of_a_wrong_type_is_not_what_the_schema_says(
    envelope: DomainEventEnvelope,
) -> None:
    schema = schema_of(envelope.event_type)
    for part in ("metadata", "data"):
        for name in json.loads(envelope.to_detail())[part]:
            missing, wrong = (json.loads(envelope.to_detail()) for _ in range(2))
            del missing[part][name]
            wrong[part][name] = True

            assert not schema.is_valid(missing), name
            assert not schema.is_valid(wrong), name
