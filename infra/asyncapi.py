"""The documentation of the events, AsyncAPI 3, from their schemas and the template: `make asyncapi` writes it.

The schemas in events/schemas/ say what an event is, the template's rules who hears it, and the samples in events/
what one looks like.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "asyncapi.json"
EVENTS = ROOT / "events"

DESCRIPTION = """\
What the services tell one another, on one EventBridge bus. A change and the event that tells of it are written in one
DynamoDB transaction; a relay publishes the event from the outbox table's stream. Each subscriber has a queue of its own.

- Delivery is at least once and in no order: whoever subscribes must bear both. `metadata.eventId` names an event for ever, and
  `metadata.aggregateVersion` says which of two is the later one.
- Fields may be added within a `schemaVersion`; pass over what you do not know.
- Amounts are integers, in cents; instants are ISO 8601 in UTC.
"""


def document() -> Json:
    """The whole document."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    schemas = {path.stem: json.loads(path.read_text()) for path in sorted(EVENTS.glob("schemas/*"))}
    metadata = schemas.pop("metadata")
    sources = _sources()
    channels = {_channel_of(source): _channel(source, sources) for source in sources.values()}
    return {
        "asyncapi": "3.0.0",
        "id": "urn:customers-and-orders",
        "info": {
            "title": "Events of Customers and Orders",
            "version": version,
            "description": DESCRIPTION,
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": "application/json",
        "servers": {
            "bus": {
                "host": "events.{region}.amazonaws.com",
                "protocol": "eventbridge",
                "description": "The event bus that is called as the stack is.",
                "variables": {"region": {"description": "Where the stack is deployed."}},
            }
        },
        "channels": channels,
        "operations": {
            **dict(map(_sending, channels)),
            **dict(_receiving(sources)),
        },
        "components": {
            "messages": {name: _message(name, schemas[name], sources[name]) for name in schemas},
            "schemas": {
                "Metadata": _inlined(metadata),
                **{name: _inlined(schema) for name, schema in schemas.items()},
            },
        },
    }


def to_text(generated: Json) -> str:
    """The document as it is committed."""
    return json.dumps(generated, indent=2) + "\n"


def _sources() -> dict[str, str]:
    """EventBridge's `source` of each type of event."""
    from customers.events import CustomerEvent  # noqa: PLC0415, once the path is set
    from orders.events import OrderEvent  # noqa: PLC0415

    classes = [*CustomerEvent.__subclasses__(), *OrderEvent.__subclasses__()]
    return {event_class.__name__: event_class.source for event_class in classes}


def _channel_of(source: str) -> str:
    return source.rpartition(".")[2]


def _channel(source: str, sources: dict[str, str]) -> Json:
    service = _channel_of(source).capitalize()
    return {
        "address": source,
        "title": f"Events of {service}",
        "description": f"All events whose `source` is `{source}`.",
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"}
            for name, its_source in sources.items()
            if its_source == source
        },
    }


def _sending(channel: str) -> tuple[str, Json]:
    service = channel.capitalize()
    return f"publish{service}Events", {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "title": f"{service} publishes",
        "description": (
            f"From the table {service}Outbox, by its relay: at least once, and each aggregate's events in their order."
        ),
        "tags": [{"name": service}],
    }


def _receiving(sources: dict[str, str]) -> Iterator[tuple[str, Json]]:
    """For each rule of the template, and each service that it listens to, what it lets pass."""
    resources = cfn_yaml.load(str(ROOT / "template.yaml"))["Resources"]
    rules = {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::Events::Rule"}
    for rule, properties in sorted(rules.items()):
        words = re.sub(r"(Subscriber|Projection)?Rule$", "", rule)
        service = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words).capitalize()
        pattern = properties["EventPattern"]
        for source in pattern["source"]:
            channel = _channel_of(source)
            heard = [n for n in pattern.get("detail-type", sources) if sources[n] == source]
            yield (
                f"receive{channel.capitalize()}EventsIn{words}",
                {
                    "action": "receive",
                    "channel": {"$ref": f"#/channels/{channel}"},
                    "title": f"{service} subscribes",
                    "description": f"{properties['Description']}. The rule {rule} sends them to a queue.",
                    "tags": [{"name": service}],
                    "messages": [
                        {"$ref": f"#/channels/{channel}/messages/{name}"} for name in heard
                    ],
                },
            )


def _message(name: str, schema: Json, source: str) -> Json:
    """The event as EventBridge hands it to a queue, with one from events/ as an example."""
    message: Json = {
        "name": name,
        "title": name,
        "summary": schema["description"],
        "contentType": "application/json",
        "correlationId": {
            "description": "Id of the API request at the start of it all.",
            "location": "$message.payload#/detail/metadata/correlationId",
        },
        "payload": {
            "type": "object",
            "properties": {
                "version": {"const": "0", "description": "Of EventBridge's envelope."},
                "id": {"type": "string", "description": "EventBridge's own; use eventId."},
                "source": {"const": source},
                "detail-type": {"const": name},
                "account": {"type": "string", "pattern": "^[0-9]{12}$"},
                "time": {"type": "string", "format": "date-time"},
                "region": {"type": "string"},
                "resources": {"type": "array", "items": {"type": "string"}},
                "detail": {"$ref": f"#/components/schemas/{name}"},
            },
            "required": ["source", "detail-type", "detail"],
        },
    }
    example = next((sample for sample in _samples() if sample["detail-type"] == name), None)
    if example is not None:
        message["examples"] = [{"name": "sample", "payload": example}]
    return message


def _samples() -> Iterator[Json]:
    """The events in the queues' batches of events/."""
    for path in sorted(EVENTS.glob("*_batch.json")):
        for record in json.loads(path.read_text())["Records"]:
            if "body" in record:
                yield json.loads(record["body"])


def _inlined(schema: Any) -> Any:
    """The schema for a document of its own.

    Beside a `$ref`, AsyncAPI's default dialect (JSON Schema draft 7) passes over all else, so both go into an `allOf`.
    """
    if isinstance(schema, list):
        return [_inlined(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inlined = {name: _inlined(inner) for name, inner in schema.items() if name != "$schema"}
    if inlined.get("$ref") == "metadata.json":
        del inlined["$ref"]
        return {"allOf": [{"$ref": "#/components/schemas/Metadata"}, inlined]}
    return inlined


def main() -> None:
    sys.path.insert(0, str(ROOT / "layers" / "common"))
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(to_text(document()))
    print(f"{DOCUMENT.relative_to(ROOT)} is written.")


if __name__ == "__main__":
    main()
