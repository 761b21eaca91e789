"""functions/console/static/openapi.json as the measure of answers."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs

from tests.template import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "functions/console/static/openapi.json").read_text())


def assert_documented(method: str, path: str, response: dict[str, Any]) -> None:
    """The function's response has a status, headers and a body that the document has for the operation."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    status = str(response["statusCode"])
    assert status in responses, f"{status} is not documented for {method} {path}"
    documented = responses[status]
    if "$ref" in documented:
        documented = DOCUMENT["components"]["responses"][documented["$ref"].rpartition("/")[2]]
    headers = response["multiValueHeaders"]
    components = DOCUMENT["components"]["headers"]
    described = {
        name: components.get(name, header) for name, header in documented["headers"].items()
    }
    assert {name for name, header in described.items() if header.get("required")} <= set(headers)
    assert components.keys() & headers.keys() <= described.keys()
    if "content" not in documented:
        assert response["body"] == ""
        return
    (content_type,) = headers["Content-Type"]
    schema = json.dumps(documented["content"][content_type]["schema"])
    _validator(schema).validate(json.loads(response["body"]))


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    whole = {**json.loads(schema), "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
