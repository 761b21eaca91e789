"""The OpenAPI document, the handlers and the template describe the same API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from infra.docs import openapi
from tests.template import ROOT

DOCUMENT = openapi.document()
OPERATIONS: dict[tuple[str, str], Any] = {
    (method, path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
REGISTRY: Registry[Any] = Registry().with_resource(
    "urn:openapi", DRAFT202012.create_resource(DOCUMENT)
)


def parts(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all objects in the document with their JSON pointers."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    elif isinstance(value, dict):
        yield pointer, value
    else:
        return
    for key, inner in value.items():
        yield from parts(inner, f"{pointer}/" + str(key).replace("~", "~0").replace("/", "~1"))


def test_committed_document_is_up_to_date_and_valid() -> None:
    text = openapi.to_text(DOCUMENT)

    is_current = openapi.DOCUMENT.read_text() == text
    assert is_current, f"{openapi.DOCUMENT.relative_to(ROOT)} is not current: run `make openapi`"
    assert "ValidationError" not in text, "Powertools' own errors are not sent"
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_operations_are_complete() -> None:
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for (method, path), operation in OPERATIONS.items():
        name, statuses = f"{method} {path}", set(operation["responses"])
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags, name
        wants_token = path != "/health"
        scope = re.search(r"Scope of a token: `[a-z]+:(read|write)`", operation["description"])
        assert bool(scope) == wants_token, name
        assert ({"401", "403"} <= statuses) == ("security" in operation) == wants_token, name
        parameters = operation.get("parameters", [])
        assert all("example" in p for p in parameters if p["in"] == "path"), name
    assert "security" not in DOCUMENT
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


def test_every_example_is_as_its_schema_says() -> None:
    checked = 0
    for pointer, part in parts(DOCUMENT):
        if "schema" not in part:
            examples, schema = part.get("examples", []), pointer
        else:
            examples = [example["value"] for example in part.get("examples", {}).values()]
            examples += [part["example"]] if "example" in part else []
            schema = f"{pointer}/schema"
        for example in examples:
            reference = {"$ref": f"urn:openapi#{schema}"}
            Draft202012Validator(reference, registry=REGISTRY).validate(example)
            checked += 1

    assert checked > 30
