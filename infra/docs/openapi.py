"""Write the API's OpenAPI 3.1 document from the handlers of all services: `make openapi`.

Powertools generates routes, parameters and models, and merges the services. Added here: the problems that any request
may cause, links, and the texts and examples of openapi.yaml.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from rest_api.resolver import RestApi

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "functions/console/static/openapi.json"
PROBLEM_JSON = "application/problem+json"
TEXTS: Json = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
HEADER_OF_ALL = "X-Correlation-Id"


def document() -> Json:
    """Return the whole document."""
    from aws_lambda_powertools.event_handler.openapi.merge import OpenAPIMerge  # noqa: PLC0415

    apis = [handler.api for handler in _handlers()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    merge = OpenAPIMerge(title="", version="", on_conflict="error")
    for api in apis:
        merge.add_schema(json.loads(api.get_openapi_json_schema()))
    merged = merge.get_openapi_schema()
    paths: Json = merged["paths"]
    problems: Json = {}
    for api in apis:
        for route in api.routes:
            methods, method = paths[route.openapi_path], route.method.lower()
            methods[method] = _operation(api, route, methods[method], problems)
    _link(paths)
    # Powertools' own error documents are never sent.
    schemas = {n: s for n, s in merged["components"]["schemas"].items() if "Validation" not in n}
    schemas["Problem"] = TEXTS["problem"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TEXTS["title"],
            "version": project["version"],
            "description": TEXTS["description"],
            "license": {"name": project["license"], "identifier": project["license"]},
        },
        "servers": [{"url": ".", "description": "The server of this document."}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {name: _schema(name, schema) for name, schema in sorted(schemas.items())},
            "responses": dict(sorted(problems.items())),
            "headers": TEXTS["headers"],
            "securitySchemes": TEXTS["securitySchemes"],
        },
        "tags": list((TEXTS["tags"] | {api.scope or "": _tag(api) for api in apis}).values()),
    }


def to_text(generated: Json) -> str:
    """Return the document as it is committed. ASCII, so that invisible characters are seen."""
    return json.dumps(generated, indent=2) + "\n"


def _handlers() -> Iterator[Any]:
    """Import the modules of all functions that serve an HTTP API."""
    for path in sorted((ROOT / "functions").glob("*/*.py")):
        if "RestApi(" in path.read_text():
            yield importlib.import_module(f"functions.{path.parent.name}.{path.stem}")


def _tag(api: RestApi) -> Json:
    tag: Json = TEXTS["tags"].get(api.scope or "", {"name": str(api.scope).capitalize()})
    return tag


def _operation(api: RestApi, route: Any, generated: Json, problems: Json) -> Json:
    """Return the operation as it is documented. Add the problems that it may cause to `problems`."""
    words = inspect.getdoc(route.func) or route.func.__name__.replace("_", " ").capitalize()
    summary, description, *_ = *re.split(r"\.(?:\s+|$)", words, maxsplit=1), ""
    action = "read" if route.method == "GET" else "write"
    scope = f"Scope of a token: `{api.scope}:{action}`." if api.scope else "Open to everyone."
    operation: Json = {
        "tags": [_tag(api)["name"]],
        "summary": summary,
        "description": "\n\n".join(filter(None, (description.strip(), scope))),
        "operationId": re.sub("_(.)", lambda letter: letter[1].upper(), route.func.__name__),
    }
    if api.scope is not None:
        operation["security"] = [{}, {"bearer": []}]
    if "parameters" in generated:
        operation["parameters"] = [_parameter(parameter) for parameter in generated["parameters"]]
    if "requestBody" in generated:
        operation["requestBody"] = generated["requestBody"]
    responses: Json = {}
    possible = _common_problems(api, route, operation) | generated["responses"]
    for status, response in sorted(possible.items()):
        if PROBLEM_JSON in response.get("content", {}):
            (kind,) = response["content"][PROBLEM_JSON]["examples"]
            problems[kind] = _problem(status, response)
            responses[status] = {"$ref": f"#/components/responses/{kind}"}
        else:
            description = response["description"].replace("Successful Response", "OK")
            content = _schema("", response) | {"description": description}
            headers = {"headers": _headers(*response.get("headers", ()))}
            if status == str(HTTPStatus.NO_CONTENT.value):
                del content["content"]
            responses[status] = {"description": description, **headers} | content | headers
    return operation | {"responses": responses}


def _common_problems(api: RestApi, route: Any, operation: Json) -> Json:
    """Return the problems that any request of this kind may cause, by status."""
    from rest_api.json_body import MAX_BODY_BYTES  # noqa: PLC0415
    from rest_api.problems import UNEXPECTED, documented  # noqa: PLC0415

    problems = [(500, "unexpected-error", UNEXPECTED)]
    if api.scope is not None:
        problems.append((401, "unauthenticated", "The token is missing or not valid."))
        problems.append((403, "forbidden", "The token does not allow this."))
    if "parameters" in operation or "requestBody" in operation:
        problems.append((400, "invalid-request", "The request is not valid."))
    if route.method != "GET":
        too_large = f"The body has more than {MAX_BODY_BYTES} bytes."
        problems.append((413, "content-too-large", too_large))
        other_type = "The Content-Type of the body is not application/json."
        problems.append((415, "unsupported-media-type", other_type))
    return {
        str(status): documented(HTTPStatus(status), kind, text) for status, kind, text in problems
    }


def _problem(status: str, response: Any) -> Json:
    """Return the response, its example with the members that problems of this status have."""
    headers = _headers()
    ((_, example),) = response["content"][PROBLEM_JSON]["examples"].items()
    match int(status):
        case HTTPStatus.BAD_REQUEST:
            error = {"field": "creditLimit.amount", "message": "must be a number"}
            example["value"]["errors"] = [error]
        case HTTPStatus.UNAUTHORIZED:
            challenge = {"required": True, "schema": {"type": "string", "const": "Bearer"}}
            headers["WWW-Authenticate"] = challenge
        case HTTPStatus.INTERNAL_SERVER_ERROR:
            example["value"]["correlationId"] = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
        case HTTPStatus.SERVICE_UNAVAILABLE:
            headers = _headers("Retry-After")
    return {"description": response["description"], "headers": headers, **response}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (HEADER_OF_ALL, *names)}


def _parameter(parameter: Json) -> Json:
    name = parameter["name"].title() if parameter["in"] == "header" else parameter["name"]
    schema = _schema(name, parameter["schema"])
    schema.pop("description", None)
    # An optional parameter may be left out. A query or a header has no null.
    for choice in schema.pop("anyOf", []):
        if choice != {"type": "null"}:
            schema.update(choice)
    described: Json = {"name": name, "in": parameter["in"], "required": parameter["required"]}
    if "description" in parameter:
        described["description"] = parameter["description"]
    elif parameter["in"] == "path":
        described["description"] = f"A {name} from the response to a POST or from a list."
        described["example"] = TEXTS["examples"][name]
    return {**described, "schema": schema}


def _schema(name: str, generated: Any, *, is_schema: bool = True) -> Any:
    """Return the schema with exact numbers, with examples, and without titles, which repeat the names."""
    from shared.identifiers import MAX_ID  # noqa: PLC0415

    if isinstance(generated, list):
        return [_schema(name, inner) for inner in generated]
    if isinstance(generated, float) and generated.is_integer():
        # Powertools keeps all limits as floats.
        return MAX_ID if generated == float(MAX_ID) else int(generated)
    if not isinstance(generated, dict):
        return generated
    schema = {
        key: _schema(name, inner, is_schema=key != "properties")
        for key, inner in generated.items()
        if not (is_schema and key == "title" and isinstance(inner, str))
    }
    examples = TEXTS["examples"]
    for field, described in schema.get("properties", {}).items() if is_schema else ():
        found = {f"{name}.{field}", field} & examples.keys()
        if found and name != "Problem":
            described.setdefault("examples", [examples[max(found, key=len)]])
    return schema


def _link(paths: Json) -> None:
    """Link each POST that creates something with all operations that have its id in their path."""
    operations = [operation for methods in paths.values() for operation in methods.values()]
    for path, created in {"/customers": "customerId", "/orders": "orderId"}.items():
        paths[path]["post"]["responses"]["200"]["links"] = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {created: f"$response.body#/{created}"},
            }
            for operation in operations
            if any(p["name"] == created for p in operation.get("parameters", []))
        }


def main() -> None:
    """Import the handlers without anything that they could connect to, and write the document."""
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common")]
    tables = [
        f"{s}{t}_TABLE" for s in ("CUSTOMERS", "ORDERS") for t in ("", "_OUTBOX", "_IDEMPOTENCY")
    ]
    os.environ.update(dict.fromkeys([*tables, "POWERTOOLS_SERVICE_NAME"], "none"))
    os.environ.update({"AWS_DEFAULT_REGION": "us-east-1", "MONGODB_URI": "mongodb://127.0.0.1:1"})
    DOCUMENT.write_text(to_text(document()))
    print(f"Wrote {DOCUMENT.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
