"""The files in events/ agree with the template, the schemas, one another and events/README.md."""

from __future__ import annotations

import json
import re
from typing import Any

from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope, EventDecoder, InvalidEventError
from tests.samples import EVENTS, SCHEMAS, load, messages, published_classes, schema_of
from tests.template import DEVELOPMENT, resources, sources, target

README = (EVENTS / "README.md").read_text()
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json"))
DOCUMENTED = dict(re.findall(r"^\| `(\w+)\.json` \| (\w+) \|", README, re.MULTILINE))
BATCHES = [name for name in SAMPLES if name.endswith(("batch", "partial_failure"))]
COMMANDS = ["order_history_rebuild_advance"]
REQUESTS = [name for name in SAMPLES if name not in (*BATCHES, *COMMANDS)]
INVALID = "customers_subscriber_partial_failure"


def samples_of_events() -> list[dict[str, Any]]:
    """Return all messages and stream records as `source`, `detail-type` and `detail`."""
    found = [message for name in BATCHES if "relay" not in name for message in messages(load(name))]
    for record in load("outbox_relay_batch")["Records"]:
        image = record["dynamodb"]["NewImage"]
        source, event_type, detail = (image[n]["S"] for n in ("source", "eventType", "detail"))
        event = {"source": source, "detail-type": event_type, "detail": json.loads(detail)}
        found.append(event)
    return found


def valid_events() -> dict[str, DomainEventEnvelope]:
    """Return the decoded samples of events, by id."""
    decoder = EventDecoder(published_classes())
    decoded: dict[str, DomainEventEnvelope] = {}
    for message in samples_of_events():
        try:
            envelope = decoder.decode(message["source"], message["detail-type"], message["detail"])
        except InvalidEventError:
            continue
        schema_of(envelope.event_type).validate(message["detail"])
        known = decoded.setdefault(envelope.metadata.event_id, envelope)
        assert known == envelope, "two samples of one event differ"
    return decoded


def test_readme_lists_exactly_the_files() -> None:
    assert sorted(DOCUMENTED) == SAMPLES


def test_every_function_has_a_sample() -> None:
    handlers = {n: f["CodeUri"] + f["Handler"] for n, f in DEVELOPMENT.functions.items()}

    assert {handlers[name] for name in DOCUMENTED.values()} == set(handlers.values())


def test_only_one_sample_message_is_invalid() -> None:
    invalid = [
        message
        for message in samples_of_events()
        if not schema_of(message["detail-type"]).is_valid(message["detail"])
    ]

    assert [message in messages(load(INVALID)) for message in invalid] == [True]


def test_stored_events_stay_readable() -> None:
    """The samples stand for stored events: a schema keeps their fields and requires no others."""
    events = [e for e in samples_of_events() if schema_of(e["detail-type"]).is_valid(e["detail"])]
    assert {e["detail-type"] for e in events} == {cls.__name__ for cls in published_classes()}
    metadata = json.loads((SCHEMAS / "metadata.json").read_text())
    for event in events:
        data = json.loads((SCHEMAS / f"{event['detail-type']}.json").read_text())
        for part, schema in (("metadata", metadata), ("data", data["properties"]["data"])):
            stored = event["detail"][part].keys()
            assert set(schema["required"]) <= stored <= set(schema["properties"]), event


def test_sample_answers_have_the_derived_id_and_the_correlation_of_their_cause() -> None:
    events = valid_events()
    for envelope in events.values():
        metadata = envelope.metadata
        if metadata.causation_id is not None:
            cause = Cause(metadata.correlation_id, metadata.causation_id)
            assert metadata.event_id == cause.effect_id(envelope.event.source)
        question = events.get(metadata.causation_id or "")
        if question is not None:
            assert metadata.correlation_id == question.metadata.correlation_id
            assert metadata.occurred_at > question.metadata.occurred_at


def test_sample_request_is_for_a_route_of_its_function() -> None:
    for name in REQUESTS:
        request = load(name)
        path = request["resource"].format(**request["pathParameters"] or {})
        routes = sources(DEVELOPMENT.functions[DOCUMENTED[name]], "Api")

        route = request["httpMethod"].lower(), request["resource"]
        assert route in {(route["Method"], route["Path"]) for route in routes}, name
        assert (request["path"], request["requestContext"]["path"]) == (path, f"/v1{path}")
        assert request["multiValueHeaders"] == {k: [v] for k, v in request["headers"].items()}


def test_rule_of_the_function_matches_its_sample_batch() -> None:
    for name in [name for name in BATCHES if "relay" not in name]:
        subscriber = DOCUMENTED[name].removesuffix("Function")
        pattern = resources("AWS::Events::Rule")[f"{subscriber}Rule"]["EventPattern"]
        for message in messages(load(name)):
            assert message["source"] in pattern["source"], name
            assert message["detail-type"] in pattern["detail-type"], name


def test_readme_lists_the_subscribers_of_each_event() -> None:
    subscribers: dict[str, set[str]] = {cls.__name__: set() for cls in published_classes()}
    for rule in resources("AWS::Events::Rule").values():
        (queue,) = (target(t["Arn"]) for t in rule["Targets"])
        service = "Order history" if "History" in queue else queue.partition("Subscriber")[0]
        for event_type in rule["EventPattern"]["detail-type"]:
            subscribers[event_type].add(service)
    documented = re.findall(r"^\| `([A-Z]\w+)` \|.*\| (.*) \|$", README, re.MULTILINE)

    assert {event: set(who.split(", ")) for event, who in documented} == subscribers
