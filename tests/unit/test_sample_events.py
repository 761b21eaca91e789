"""The files in events/ fit the template, the schemas, one another, and what events/README.md says of them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from messaging.domain_event import Cause
from messaging.envelope import DomainEventEnvelope, EventDecoder, InvalidEventError
from tests.samples import EVENTS, load, messages, published_classes, schema_of
from tests.template import DEVELOPMENT, resources, sources, target

README = (EVENTS / "README.md").read_text()
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json"))
DOCUMENTED = dict(re.findall(r"^\| `(\w+)\.json` \| (\w+) \|", README, re.MULTILINE))
BATCHES = [name for name in SAMPLES if name.endswith(("batch", "partial_failure"))]
COMMANDS = ["order_history_rebuild_advance"]
REQUESTS = [name for name in SAMPLES if name not in (*BATCHES, *COMMANDS)]
POISON = "customers_subscriber_partial_failure"


def samples_of_events() -> list[dict[str, Any]]:
    """All messages and stream records as `source`, `detail-type` and `detail`."""
    found = [message for name in BATCHES if "relay" not in name for message in messages(load(name))]
    for record in load("outbox_relay_batch")["Records"]:
        image = record["dynamodb"]["NewImage"]
        found.append(
            {
                "source": image["source"]["S"],
                "detail-type": image["eventType"]["S"],
                "detail": json.loads(image["detail"]["S"]),
            }
        )
    return found


def valid_events() -> dict[str, DomainEventEnvelope]:
    decoder = EventDecoder(published_classes())
    decoded: dict[str, DomainEventEnvelope] = {}
    for message in samples_of_events():
        try:
            envelope = decoder.decode(message["source"], message["detail-type"], message["detail"])
        except InvalidEventError:
            continue
        schema_of(envelope.event_type).validate(message["detail"])
        known = decoded.setdefault(envelope.metadata.event_id, envelope)
        assert known == envelope, "one event is told in two ways"
    return decoded


def test_the_readme_has_every_file_and_no_other() -> None:
    assert sorted(DOCUMENTED) == SAMPLES


def test_there_is_a_sample_for_every_function() -> None:
    handlers = {n: f["CodeUri"] + f["Handler"] for n, f in DEVELOPMENT.functions.items()}

    assert {handlers[name] for name in DOCUMENTED.values()} == set(handlers.values())


def test_only_the_poison_message_is_no_valid_event() -> None:
    invalid = [
        message
        for message in samples_of_events()
        if not schema_of(message["detail-type"]).is_valid(message["detail"])
    ]

    assert [message in messages(load(POISON)) for message in invalid] == [True]


def test_an_answer_in_the_samples_has_the_id_that_the_code_gives_it() -> None:
    for envelope in valid_events().values():
        metadata = envelope.metadata
        if metadata.causation_id is not None:
            cause = Cause(metadata.correlation_id, metadata.causation_id)
            assert metadata.event_id == cause.effect_id(envelope.event.source)


def test_a_samples_answers_are_in_the_correlation_of_what_they_answer() -> None:
    events = valid_events()
    for envelope in events.values():
        question = events.get(envelope.metadata.causation_id or "")
        if question is not None:
            assert envelope.metadata.correlation_id == question.metadata.correlation_id
            assert envelope.metadata.occurred_at > question.metadata.occurred_at


@pytest.mark.parametrize("name", REQUESTS)
def test_a_sample_request_is_for_a_route_of_its_function(name: str) -> None:
    request = load(name)
    path = request["resource"].format(**request["pathParameters"] or {})
    routes = sources(DEVELOPMENT.functions[DOCUMENTED[name]], "Api")

    assert (request["httpMethod"].lower(), request["resource"]) in {
        (route["Method"], route["Path"]) for route in routes
    }
    assert request["path"] == path
    assert request["requestContext"]["path"] == "/v1" + path
    assert request["multiValueHeaders"] == {k: [v] for k, v in request["headers"].items()}


@pytest.mark.parametrize("name", [name for name in BATCHES if "relay" not in name])
def test_the_rule_of_its_function_lets_all_of_a_sample_batch_pass(name: str) -> None:
    subscriber = DOCUMENTED[name].removesuffix("Function")
    pattern = resources("AWS::Events::Rule")[f"{subscriber}Rule"]["EventPattern"]

    for message in messages(load(name)):
        assert message["source"] in pattern["source"]
        assert message["detail-type"] in pattern["detail-type"]


def test_the_readme_knows_who_listens_to_each_event() -> None:
    listeners: dict[str, set[str]] = {cls.__name__: set() for cls in published_classes()}
    for rule in resources("AWS::Events::Rule").values():
        (queue,) = (target(t["Arn"]) for t in rule["Targets"])
        service = "Order history" if "History" in queue else queue.partition("Subscriber")[0]
        for event_type in rule["EventPattern"]["detail-type"]:
            listeners[event_type].add(service)
    documented = re.findall(r"^\| `([A-Z]\w+)` \|.*\| (.*) \|$", README, re.MULTILINE)

    assert {event: set(who.split(", ")) for event, who in documented} == listeners
