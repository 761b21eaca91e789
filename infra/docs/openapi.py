"""The API's documentation, OpenAPI 3.1, made from the handlers of all services: `make openapi` writes it for the console.

Powertools' event handler knows routes, parameters and models. Added here is what it cannot know: how the
services are one API, the problems that any request may meet, and examples.
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
    from aws_lambda_powertools.event_handler.api_gateway import Route

    from rest_api.resolver import RestApi

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "functions/console/static/openapi.json"
PROBLEM_JSON = "application/problem+json"

TAGS: dict[str | None, tuple[str, str]] = {
    "customers": ("Customers", "Customers and their credit."),
    "orders": ("Orders", "Orders, and the saga that decides their fate."),
    "orderhistory": (
        "Order history",
        "A view of customers with their orders. It follows the services with a short delay.",
    ),
    None: ("Health", "Whether the parts that the API needs are there."),
}
"""Name and description by the scope of the service's API. What has none is open to everybody."""

DESCRIPTION = """\
Customers have a credit limit, and orders use it. Creating an order starts a saga across two services: it is PENDING
at first, and soon APPROVED, or REJECTED where the credit does not suffice or there is no such customer.

- Ids and amounts are JSON numbers. An amount has two decimal places at most.
- A request has the fields that are described here and no others. Answers may get more of them: pass over what you do not know.
- Errors are problem documents (RFC 9457). What never reaches a service (an unknown path, too many requests) is answered by
  API Gateway in its own form: `{"message": ...}`.
- Every answer has an `X-Correlation-Id`. It is in every event and log line that the request leads to.
- A token is needed where an issuer is configured, with the scope that the operation names. Where API Gateway authorizes by IAM,
  requests are signed (SigV4) instead.
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
"""By the name of a field, or of a schema and its field."""

PROBLEM: Json = {
    "type": "object",
    "description": "What is wrong, as RFC 9457 writes it.",
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "pattern": "^urn:customers-and-orders:problem:[a-z-]+$",
            "description": "Names the kind of problem. Programs decide by it.",
        },
        "title": {"type": "string", "description": "The HTTP status in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong in this case, for people."},
        "errors": {
            "type": "array",
            "description": "For bad input, each field that is wrong, up to twenty.",
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
            "description": "For a failure of ours: what to look for in the logs.",
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


def document() -> Json:
    """The whole document."""
    apis = [handler.api for handler in _handlers()]
    paths: Json = {}
    problems: Json = {}
    schemas: Json = {"Problem": PROBLEM}
    for api in apis:
        generated = json.loads(api.get_openapi_json_schema())
        for route in api.routes:
            operation = generated["paths"][route.openapi_path][route.method.lower()]
            methods = paths.setdefault(route.openapi_path, {})
            assert route.method.lower() not in methods, f"{route.openapi_path} has two handlers"
            methods[route.method.lower()] = _operation(api, route, operation, problems)
        for name, schema in generated["components"]["schemas"].items():
            # Powertools' own error documents have no use in our APIs.
            if "Validation" not in name:
                assert schemas.setdefault(name, schema) == schema, f"there are two {name}"
    _link(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Customers and Orders",
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ".", "description": "Where this document comes from."}],
        "tags": [
            {"name": name, "description": description}
            for name, description in (TAGS | {api.scope: _tag(api) for api in apis}).values()
        ],
        "security": [{}, {"bearer": []}],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "schemas": {name: _schema(name, schemas[name]) for name in sorted(schemas)},
            "responses": {kind: problems[kind] for kind in sorted(problems)},
            "headers": {"X-Correlation-Id": CORRELATION_ID},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of the configured OpenID Connect issuer, where there is one.",
                }
            },
        },
    }


def to_text(generated: Json) -> str:
    """The document as it is committed. ASCII, so that no invisible character hides in it."""
    return json.dumps(generated, indent=2) + "\n"


def _handlers() -> Iterator[Any]:
    """The modules of all functions that are an HTTP API, by Powertools' event handler."""
    for path in sorted((ROOT / "functions").glob("*/*.py")):
        if "RestApi(" in path.read_text():
            yield importlib.import_module(f"functions.{path.parent.name}.{path.stem}")


def _tag(api: RestApi) -> tuple[str, str]:
    return TAGS.get(api.scope) or (str(api.scope).capitalize(), "")


def _operation(api: RestApi, route: Route, generated: Json, problems: Json) -> Json:
    """The operation as it is documented. The problems that it may answer with are added to `problems`."""
    words = inspect.getdoc(route.func) or route.func.__name__.replace("_", " ").capitalize()
    summary, description, *_ = *re.split(r"\.(?:\s+|$)", words, maxsplit=1), ""
    action = "read" if route.method == "GET" else "write"
    scope = f"Scope of a token: `{api.scope}:{action}`." if api.scope else "Open to everybody."
    operation: Json = {
        "tags": [_tag(api)[0]],
        "summary": summary,
        "description": "\n\n".join(filter(None, (description.strip(), scope))),
        "operationId": _camel_case(route.func.__name__),
    }
    if api.scope is None:
        operation["security"] = [{}]
    if "parameters" in generated:
        operation["parameters"] = [_parameter(parameter) for parameter in generated["parameters"]]
    if "requestBody" in generated:
        operation["requestBody"] = generated["requestBody"]
    responses: Json = {}
    ours = {k: v for k, v in generated["responses"].items() if not _is_powertools_error(v)}
    for status, response in sorted((_common_problems(api, route, operation) | ours).items()):
        if PROBLEM_JSON in response.get("content", {}):
            (kind,) = response["content"][PROBLEM_JSON]["examples"]
            problems[kind] = _problem(status, response)
            responses[status] = {"$ref": f"#/components/responses/{kind}"}
        else:
            responses[status] = {"description": "OK", "headers": HEADERS, **_result(response)}
    operation["responses"] = responses
    return operation


def _result(response: Json) -> Json:
    """The response, with our schemas and, where Powertools has none but its own words, without words."""
    result = dict(response)
    if result["description"] == "Successful Response":
        del result["description"]
    if "content" in result:
        result["content"] = {
            media_type: {**content, "schema": _schema("", content["schema"])}
            for media_type, content in result["content"].items()
        }
    return result


def _is_powertools_error(response: Json) -> bool:
    """Whether Powertools would answer so, and our APIs do not."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return "ValidationError" in schema.get("$ref", "")


def _common_problems(api: RestApi, route: Route, operation: Json) -> Json:
    """What any request may meet, or any of this kind, by status."""
    from rest_api.resolver import MAX_BODY_BYTES, problem_response  # noqa: PLC0415, once the path is set

    unexpected = "Something went wrong here. It may work if you try again."
    problems = [(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected-error", unexpected)]
    if api.scope is not None:
        detail = "The token is missing, or is not valid."
        problems.append((HTTPStatus.UNAUTHORIZED, "unauthenticated", detail))
        problems.append((HTTPStatus.FORBIDDEN, "forbidden", "The token does not allow this."))
    if "parameters" in operation or "requestBody" in operation:
        detail = "The request is not valid."
        problems.append((HTTPStatus.BAD_REQUEST, "invalid-request", detail))
    if route.method != "GET":
        detail = f"The body has more than {MAX_BODY_BYTES} bytes."
        problems.append((HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content-too-large", detail))
        detail = "The body is said to be something else than application/json."
        problems.append((HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
    return {
        str(status.value): problem_response(status, kind, text) for status, kind, text in problems
    }


def _problem(status: str, response: Any) -> Json:
    """The response, its example with what a problem of this status has more than others."""
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
    # Optional means that it may be left out. There is no null in a query or a header.
    choices = [choice for choice in schema.pop("anyOf", []) if choice != {"type": "null"}]
    for choice in choices:
        schema.update(choice)
    described: Json = {"name": name, "in": parameter["in"], "required": parameter["required"]}
    if "description" in parameter:
        described["description"] = parameter["description"]
    elif parameter["in"] == "path":
        described["description"] = f"The {name} that a POST or a list has answered with."
    return {**described, "schema": schema}


def _schema(name: str, generated: Any, *, is_schema: bool = True) -> Any:
    """The schema with exact numbers, with examples, and without titles, which only repeat the names."""
    if isinstance(generated, list):
        return [_schema(name, inner) for inner in generated]
    if isinstance(generated, float):
        return _exact(generated)
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


def _exact(number: float) -> int | float:
    """Powertools' models hold all limits as floats, which the largest id does not fit."""
    from shared.identifiers import MAX_ID  # noqa: PLC0415, once the path is set

    if number == float(MAX_ID):
        return MAX_ID
    return int(number) if number.is_integer() else number


def _link(paths: Json) -> None:
    """Whatever a POST creates is linked with all operations that have its id in their path."""
    operations = [operation for methods in paths.values() for operation in methods.values()]
    for path, methods in paths.items():
        created = {"/customers": "customerId", "/orders": "orderId"}.get(path)
        if created is None or "post" not in methods:
            continue
        methods["post"]["responses"]["200"]["links"] = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {created: f"$response.body#/{created}"},
            }
            for operation in operations
            if any(parameter["name"] == created for parameter in operation.get("parameters", []))
        }


def _camel_case(name: str) -> str:
    return re.sub("_(.)", lambda letter: letter[1].upper(), name)


def _prepare() -> None:
    """The handlers can be imported, though there is nothing that they could talk to."""
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "common")]
    names = ("CUSTOMERS_TABLE", "CUSTOMERS_OUTBOX_TABLE", "ORDERS_TABLE", "ORDERS_OUTBOX_TABLE")
    os.environ.update(dict.fromkeys((*names, "POWERTOOLS_SERVICE_NAME"), "none"))
    os.environ.update({"AWS_DEFAULT_REGION": "us-east-1", "MONGODB_URI": "mongodb://127.0.0.1:1"})


def main() -> None:
    _prepare()
    DOCUMENT.write_text(to_text(document()))
    print(f"{DOCUMENT.relative_to(ROOT)} is written.")


if __name__ == "__main__":
    main()
