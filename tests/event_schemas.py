"""Compare the schemas in events/schemas with the released ones: python -m tests.event_schemas [release].

Within a version, a schema may only gain optional fields. events/schemas/released.txt has a line for each released field.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SCHEMAS = Path(__file__).resolve().parent.parent / "events" / "schemas"
RELEASED = SCHEMAS / "released.txt"
HEADING = "# Released fields. `make check` compares the schemas with them, `make release-schemas` adds new ones."


def schema_file(event: str, version: int, directory: Path = SCHEMAS) -> Path:
    """Return the file of one version of a schema: the current one has no version in its name."""
    older = directory / f"{event}.{version}.json"
    return older if older.exists() else directory / f"{event}.json"


def fields(directory: Path = SCHEMAS) -> Iterator[str]:
    """Yield a line for each field of each schema: `CustomerCreated 1 name {"type": "string", ...}`."""
    for file in sorted(directory.glob("*.json")):
        schema, version = json.loads(file.read_text()), 1
        if "data" in schema["properties"]:  # an event; else the metadata, which has no versions
            version = schema["properties"]["metadata"]["properties"]["schemaVersion"]["const"]
            schema = schema["properties"]["data"]
        for name, described in schema["properties"].items():
            rules = {key: value for key, value in described.items() if key != "description"}
            if name not in schema["required"]:
                rules["optional"] = True
            yield f"{file.stem.partition('.')[0]} {version} {name} {json.dumps(rules)}"


def incompatibilities(released: Iterable[str], directory: Path = SCHEMAS) -> list[str]:
    """Return the changes of released schemas that old or new subscribers cannot read."""
    before, now = (dict(line.split(" {", 1) for line in f) for f in (released, fields(directory)))
    versions = {key.rpartition(" ")[0] for key in before}
    found = [(k, "changed" if k in now else "missing") for k in before if now.get(k) != before[k]]
    found += [
        (key, "new and not optional")
        for key, rules in now.items()
        if key not in before and key.rpartition(" ")[0] in versions and '"optional"' not in rules
    ]
    texts = []
    for key, problem in found:
        event, version, field = key.split()
        file = schema_file(event, int(version), directory).name
        advice = "Restore it"
        if event != "metadata":
            advice += (
                f", or move the released schema to {event}.{version}.json and make a "
                "new schemaVersion with an upcaster and both sample events (events/README.md)"
            )
        texts.append(f"events/schemas/{file}: {field} of version {version} is {problem}. {advice}.")
    return texts


def main() -> None:
    """Print the incompatible changes and exit with status 1. With `release` and without any, record the fields."""
    released = RELEASED.read_text().splitlines()[1:]
    if found := incompatibilities(released):
        sys.exit("\n".join(found))
    if sys.argv[1:] == ["release"]:
        RELEASED.write_text("\n".join([HEADING, *fields()]) + "\n")


if __name__ == "__main__":
    main()
