"""docs/asyncapi.json, the events' schemas, their classes and the template tell of the same events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from infra import asyncapi
from messaging.domain_event import DomainEvent, DomainEventEnvelope
from tests.samples import any_envelope, published_classes, to_message
from tests.template import ROOT, resources

DOCUMENT = asyncapi.document()
CHANNELS: dict[str, Any] = DOCUMENT["channels"]
OPERATIONS: dict[str, Any] = DOCUMENT["operations"]
CLASSES = published_classes()
REGISTRY: Registry[Any] = Registry().with_resource("urn:asyncapi", DRAFT7.create_resource(DOCUMENT))


def payload_of(name: str) -> Draft7Validator:
    """Validates the event as a queue has it, by the document alone."""
    reference = {"$ref": f"urn:asyncapi#/components/messages/{name}/payload"}
    return Draft7Validator(
        reference, registry=REGISTRY, format_checker=Draft7Validator.FORMAT_CHECKER
    )


def resolved(reference: dict[str, str]) -> Any:
    found = DOCUMENT
    for key in reference["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found


def references(value: Any) -> list[dict[str, str]]:
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    if not isinstance(value, dict):
        return []
    if "$ref" in value:
        return [value]
    return [found for inner in value.values() for found in references(inner)]


def test_the_committed_document_is_the_one_that_schemas_and_template_make() -> None:
    committed = (ROOT / "docs/asyncapi.json").read_text()

    assert committed == asyncapi.to_text(DOCUMENT), "`make asyncapi` writes it anew"


def test_every_reference_leads_to_something_in_the_document() -> None:
    found = references(DOCUMENT)

    assert len(found) > 30
    for reference in found:
        assert set(reference) == {"$ref"}  # whatever is beside one counts for nothing
        assert resolved(reference)


@pytest.mark.parametrize("event_class", CLASSES)
def test_an_event_is_a_message_of_the_channel_that_its_publisher_sends_to(
    event_class: type[DomainEvent],
) -> None:
    name = event_class.__name__
    homes = [channel for channel in CHANNELS.values() if name in channel["messages"]]

    assert [channel["address"] for channel in homes] == [event_class.source]
    assert resolved(homes[0]["messages"][name])["name"] == name
    senders = [o for o in OPERATIONS.values() if o["action"] == "send"]
    assert [o for o in senders if resolved(o["channel"]) == homes[0]]


def test_there_are_no_other_messages() -> None:
    assert set(DOCUMENT["components"]["messages"]) == {cls.__name__ for cls in CLASSES}


def test_whoever_receives_an_event_is_whoever_has_a_rule_for_it() -> None:
    documented = {
        (resolved(operation["channel"])["address"], resolved(resolved(message))["name"], service)
        for operation in OPERATIONS.values()
        if operation["action"] == "receive"
        for service in [operation["tags"][0]["name"]]
        for message in operation["messages"]
    }
    sources = {cls.__name__: cls.source for cls in CLASSES}
    ruled = {
        (sources[event_type], event_type, name.lower())
        for name, rule in resources("AWS::Events::Rule").items()
        for event_type in rule["EventPattern"]["detail-type"]
        if sources[event_type] in rule["EventPattern"]["source"]
    }

    assert len(documented) == len(ruled)
    for source, event_type, service in documented:
        beginning = service.replace(" ", "").lower()
        assert any(
            (source, event_type) == (s, t) and rule.startswith(beginning) for s, t, rule in ruled
        )


@given(any_envelope())
def test_what_is_published_is_what_the_document_says(envelope: DomainEventEnvelope) -> None:
    payload_of(envelope.event_type).validate(to_message(envelope))


@given(any_envelope())
def test_an_event_without_its_facts_is_not(envelope: DomainEventEnvelope) -> None:
    for part in ("metadata", "data"):
        for name in json.loads(envelope.to_detail())[part]:
            message = to_message(envelope)
            del message["detail"][part][name]

            assert not payload_of(envelope.event_type).is_valid(message), name


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["messages"]))
def test_an_example_is_as_its_message_says(name: str) -> None:
    examples = DOCUMENT["components"]["messages"][name].get("examples", [])

    assert examples, "the batches in events/ have one of each"
    for example in examples:
        payload_of(name).validate(example["payload"])
