"""The files in events/ agree with the template, the schemas and one another."""

from __future__ import annotations

import json
from typing import Any

from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope, EventDecoder, InvalidEventError
from tests.event_schemas import SCHEMAS, schema_file
from tests.samples import load, messages, published_classes, samples, schema_of
from tests.template import DEVELOPMENT, function_of, has_database, sources

BATCHES = [name for name in samples() if name.endswith(("batch", "partial_failure"))]
REQUESTS = [name for name in samples() if "httpMethod" in load(name)]
INVALID = "customers_subscriber_partial_failure"


def samples_of_events() -> list[dict[str, Any]]:
    """Return all messages, stream records and examples of schemas as `source`, `detail-type` and `detail`."""
    found = [message for name in BATCHES if "relay" not in name for message in messages(load(name))]
    for record in load("orders_outbox_relay_batch")["Records"]:
        image = record["dynamodb"]["NewImage"]
        source, event_type, detail = (image[n]["S"] for n in ("source", "eventType", "detail"))
        event = {"source": source, "detail-type": event_type, "detail": json.loads(detail)}
        found.append(event)
    sources_of = {cls.__name__: cls.source for cls in published_classes()}
    for path in SCHEMAS.glob("[A-Z]*.json"):
        name = path.stem.partition(".")[0]
        examples = json.loads(path.read_text()).get("examples", [])
        assert name in sources_of, (
            f"events/schemas/{path.name}: there is no class {name} in events.py"
        )
        keys = {"source": sources_of[name], "detail-type": name}
        found.extend({**keys, "detail": example} for example in examples)
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
        for detail in (message["detail"], json.loads(envelope.to_detail())):
            schema_of(envelope.event_type, detail).validate(detail)
        known = decoded.setdefault(envelope.metadata.event_id, envelope)
        assert known == envelope, "two samples of one event differ"
    return decoded


def test_every_function_has_a_sample() -> None:
    handlers = {n: f["CodeUri"] + f["Handler"] for n, f in DEVELOPMENT.functions.items()}
    sampled = {handlers[function_of(sample)] for sample in samples()}

    missing = [name for name, handler in handlers.items() if handler not in sampled]
    assert missing == [], "events/<function>_*.json: add a sample of each (events/README.md)"


def test_every_route_of_a_service_has_a_sample() -> None:
    sampled = {(r["httpMethod"].lower(), r["resource"]) for r in map(load, REQUESTS)}
    routes = {
        (route["Method"], route["Path"])
        for name, function in DEVELOPMENT.functions.items()
        for route in sources(function, "Api")
        if has_database(name)
    }

    missing = [f"{method.upper()} {path}" for method, path in sorted(routes - sampled)]
    assert missing == [], "events/: add a sample of a request to each (events/README.md)"


def test_only_one_sample_message_is_invalid() -> None:
    invalid = [
        message
        for message in samples_of_events()
        if not schema_of(message["detail-type"], message["detail"]).is_valid(message["detail"])
    ]

    assert [message in messages(load(INVALID)) for message in invalid] == [True]


def test_each_version_of_each_event_has_a_sample() -> None:
    """The samples stand for stored events: `valid_events` decodes them and checks them against their schemas."""
    ids = valid_events()
    found = {
        (message["detail-type"], metadata["schemaVersion"])
        for message in samples_of_events()
        if (metadata := message["detail"]["metadata"])["eventId"] in ids
    }
    expected = {
        (cls.__name__, version)
        for cls in published_classes()
        for version in range(1, cls.schema_version() + 1)
    }
    missing = [
        f"events/schemas/{schema_file(name, version).name}: add an example of {name} version {version}"
        for name, version in sorted(expected - found)
    ]
    assert missing == []


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


def test_parts_of_a_sample_request_agree() -> None:
    for name in REQUESTS:
        request = load(name)
        path = request["resource"].format(**request["pathParameters"] or {})
        assert (request["path"], request["requestContext"]["path"]) == (path, f"/v1{path}")
        assert request["multiValueHeaders"] == {k: [v] for k, v in request["headers"].items()}
