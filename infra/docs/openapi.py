"""The API's documentation, OpenAPI 3.1, from the handlers of all services: `make openapi` writes it.

Powertools generates routes, parameters and models, and merges the services. Added here: the problems that any request
may cause, links, and examples.
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

if TYPE_CHECKING:
    from rest_api.resolver import RestApi

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "functions/console/static/openapi.json"
PROBLEM_JSON = "application/problem+json"

TAGS: dict[str | None, tuple[str, str]] = {
    "customers": ("Customers", "Customers and their credit."),
    "orders": ("Orders", "Orders, and the saga that approves or rejects them."),
    "orderhistory": (
        "Order history",
        "A view of customers with their orders. It follows the services with a short delay.",
    ),
    None: ("Health", "Whether the parts that the API needs answer."),
}
"""Name and description by the scope of the service's API. None is open to everyone."""

DESCRIPTION = """\
Customers have a credit limit, and orders use it. Creating an order starts a saga across two services: the order is PENDING
at first. It becomes APPROVED, or REJECTED if the credit does not suffice or the customer does not exist.

- Ids and amounts are JSON numbers. An amount has at most two decimal places.
- A request may have only the fields that are described here. A response may get more of them: ignore unknown ones.
- Errors are problem documents (RFC 9457).
- Every response has an `X-Correlation-Id`. It is in every event and log line that the request leads to.
- A token is needed where an issuer is configured, with the scope that the operation names. A token for one customer gets
  404 for the data of another. Where API Gateway authorizes by IAM, requests are signed (SigV4) instead.
"""

EXAMPLES: Json = {
    "customerId": 244827198847434,
    "orderId": 244827199025273,
    "id": 244827198847434,
    "name": "Jane Doe",
    "amount": 4.5,
    "orderState": "APPROVED",
    "state": "APPROVED",
    "rejectionReason": None,
    "nextToken": None,
    "createdAt": "2026-11-23T19:24:25.387Z",
    "at": "2026-11-23T19:24:25.512Z",
    "OrderHistoryResponse.orders": {
        "244827199025273": {
            "orderId": 244827199025273,
            "orderTotal": {"amount": 4.5},
            "state": "APPROVED",
            "rejectionReason": None,
            "createdAt": "2026-11-23T19:24:25.387Z",
        }
    },
}
"""By the name of a field or parameter, or of a schema and its field."""

PROBLEM: Json = {
    "type": "object",
    "description": "A problem document as RFC 9457 defines it.",
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "pattern": "^urn:customers-and-orders:problem:[a-z-]+$",
            "description": "The kind of problem, for programs.",
        },
        "title": {"type": "string", "description": "The HTTP status in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "This problem, for people."},
        "errors": {
            "type": "array",
            "description": "The wrong fields of a bad request, up to twenty.",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string", "examples": ["creditLimit.amount"]},
                    "message": {"type": "string", "examples": ["must be a number"]},
                },
                "required": ["field", "message"],
            },
        },
        "correlationId": {
            "type": "string",
            "description": "The id of an unexpected failure in the logs.",
        },
    },
    "required": ["type", "title", "status", "detail"],
}
HEADERS: Json = {"X-Correlation-Id": {"$ref": "#/components/headers/X-Correlation-Id"}}
CORRELATION_ID: Json = {
    "description": "Id of the request in all events and log lines that it leads to.",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
BEARER: Json = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A token of the OpenID Connect issuer, where one is configured.",
}


def document() -> Json:
    """Return the whole document."""
    from aws_lambda_powertools.event_handler.openapi.merge import OpenAPIMerge  # noqa: PLC0415
    from aws_lambda_powertools.event_handler.openapi.models import (  # noqa: PLC0415
        License,
        Server,
        Tag,
    )

    apis = [handler.api for handler in _handlers()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    merge = OpenAPIMerge(
        title="Customers and Orders",
        version=project["version"],
        openapi_version="3.1.0",
        description=DESCRIPTION,
        license_info=License(name=project["license"], identifier=project["license"]),
        servers=[Server(url=".", description="The server of this document.")],
        tags=[
            Tag(name=name, description=description)
            for name, description in (TAGS | {api.scope: _tag(api) for api in apis}).values()
        ],
        on_conflict="error",
    )
    for api in apis:
        merge.add_schema(json.loads(api.get_openapi_json_schema()))
    merged = merge.get_openapi_schema()
    problems: Json = {}
    for api in apis:
        for route in api.routes:
            methods = merged["paths"][route.openapi_path]
            method = route.method.lower()
            methods[method] = _operation(api, route, methods[method], problems)
    _link(merged["paths"])
    # Powertools' own error documents are never sent.
    schemas = {n: s for n, s in merged["components"]["schemas"].items() if "Validation" not in n}
    schemas["Problem"] = PROBLEM
    merged["paths"] = dict(sorted(merged["paths"].items()))
    merged["components"] = {
        "schemas": {name: _schema(name, schema) for name, schema in sorted(schemas.items())},
        "responses": dict(sorted(problems.items())),
        "headers": {"X-Correlation-Id": CORRELATION_ID},
        "securitySchemes": {"bearer": BEARER},
    }
    return merged


def to_text(generated: Json) -> str:
    """Return the document as it is committed. ASCII, so that invisible characters are seen."""
    return json.dumps(generated, indent=2) + "\n"


def _handlers() -> Iterator[Any]:
    """Import the modules of all functions that serve an HTTP API."""
    for path in sorted((ROOT / "functions").glob("*/*.py")):
        if "RestApi(" in path.read_text():
            yield importlib.import_module(f"functions.{path.parent.name}.{path.stem}")


def _tag(api: RestApi) -> tuple[str, str]:
    return TAGS.get(api.scope) or (str(api.scope).capitalize(), "")


def _operation(api: RestApi, route: Any, generated: Json, problems: Json) -> Json:
    """Return the operation as it is documented. Add the problems that it may cause to `problems`."""
    words = inspect.getdoc(route.func) or route.func.__name__.replace("_", " ").capitalize()
    summary, description, *_ = *re.split(r"\.(?:\s+|$)", words, maxsplit=1), ""
    action = "read" if route.method == "GET" else "write"
    scope = f"Scope of a token: `{api.scope}:{action}`." if api.scope else "Open to everyone."
    operation: Json = {
        "tags": [_tag(api)[0]],
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
    operation["responses"] = {}
    possible = _common_problems(api, route, operation) | generated["responses"]
    for status, response in sorted(possible.items()):
        if PROBLEM_JSON in response.get("content", {}):
            (kind,) = response["content"][PROBLEM_JSON]["examples"]
            problems[kind] = _problem(status, response)
            operation["responses"][status] = {"$ref": f"#/components/responses/{kind}"}
        else:
            description = response["description"].replace("Successful Response", "OK")
            result = {"description": description, "headers": HEADERS, **_schema("", response)}
            operation["responses"][status] = {**result, "description": description}
    return operation


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
    headers = HEADERS
    ((_, example),) = response["content"][PROBLEM_JSON]["examples"].items()
    match int(status):
        case HTTPStatus.BAD_REQUEST:
            error = {"field": "creditLimit.amount", "message": "must be a number"}
            example["value"]["errors"] = [error]
        case HTTPStatus.UNAUTHORIZED:
            challenge = {"required": True, "schema": {"type": "string", "const": "Bearer"}}
            headers = {**HEADERS, "WWW-Authenticate": challenge}
        case HTTPStatus.INTERNAL_SERVER_ERROR:
            example["value"]["correlationId"] = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    return {"description": response["description"], "headers": headers, **response}


def _parameter(parameter: Json) -> Json:
    name = parameter["name"]
    if parameter["in"] == "header":
        name = name.title()
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
        described["example"] = EXAMPLES[name]
    return {**described, "schema": schema}


def _schema(name: str, generated: Any, *, is_schema: bool = True) -> Any:
    """Return the schema with exact numbers, with examples, and without titles, which repeat the names."""
    from shared.identifiers import MAX_ID  # noqa: PLC0415

    if isinstance(generated, list):
        return [_schema(name, inner) for inner in generated]
    if isinstance(generated, float):  # Powertools keeps all limits as floats
        if generated == float(MAX_ID):
            return MAX_ID
        return int(generated) if generated.is_integer() else generated
    if not isinstance(generated, dict):
        return generated
    schema = {
        key: _schema(name, inner, is_schema=key != "properties")
        for key, inner in generated.items()
        if not (is_schema and key == "title" and isinstance(inner, str))
    }
    for field, described in schema.get("properties", {}).items() if is_schema else ():
        example = EXAMPLES.get(f"{name}.{field}", EXAMPLES.get(field, ...))
        if example is not ... and name != "Problem":
            described.setdefault("examples", [example])
    return schema


def _link(paths: Json) -> None:
    """Link each POST that creates something with all operations that have its id in their path."""
    operations = [operation for methods in paths.values() for operation in methods.values()]
    for path, created in {"/customers": "customerId", "/orders": "orderId"}.items():
        if "post" in paths.get(path, {}):
            paths[path]["post"]["responses"]["200"]["links"] = {
                operation["operationId"]: {
                    "operationId": operation["operationId"],
                    "parameters": {created: f"$response.body#/{created}"},
                }
                for operation in operations
                if any(p["name"] == created for p in operation.get("parameters", []))
            }


def _prepare() -> None:
    """Make the handlers importable without anything that they could connect to."""
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common")]
    tables = (
        f"{s}{kind}_TABLE"
        for s in ("CUSTOMERS", "ORDERS")
        for kind in ("", "_OUTBOX", "_IDEMPOTENCY")
    )
    os.environ.update(dict.fromkeys((*tables, "POWERTOOLS_SERVICE_NAME"), "none"))
    os.environ.update({"AWS_DEFAULT_REGION": "us-east-1", "MONGODB_URI": "mongodb://127.0.0.1:1"})


def main() -> None:
    _prepare()
    DOCUMENT.write_text(to_text(document()))
    print(f"Wrote {DOCUMENT.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
