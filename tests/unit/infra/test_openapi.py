"""functions/console/static/openapi.json, the handlers and the template tell of the same API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from infra.docs import openapi
from tests.template import DEVELOPMENT, ROOT, sources

DOCUMENT = openapi.document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    (method, path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
NAMES = [f"{method.upper()} {path}" for method, path in OPERATIONS]
HANDLERS = {
    f"{path.parent.name}.{path.stem}"
    for path in (ROOT / "functions").glob("*/*.py")
    if "RestApi(" in path.read_text()
}
REGISTRY: Registry[Any] = Registry().with_resource(
    "urn:openapi", DRAFT202012.create_resource(DOCUMENT)
)


def is_valid(value: Any, pointer: str) -> bool:
    """Whether the value is as the schema at the pointer says."""
    validator = Draft202012Validator({"$ref": f"urn:openapi#{pointer}"}, registry=REGISTRY)
    return bool(validator.is_valid(value))


def parts(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """All objects in the document, with their JSON pointers."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    elif isinstance(value, dict):
        yield pointer, value
    else:
        return
    for key, inner in value.items():
        yield from parts(inner, f"{pointer}/" + str(key).replace("~", "~0").replace("/", "~1"))


def test_the_committed_document_is_the_one_that_the_handlers_make() -> None:
    committed = (ROOT / "functions/console/static/openapi.json").read_text()

    assert committed == openapi.to_text(DOCUMENT), "`make openapi` writes it anew"


def test_the_document_is_made_the_same_every_time() -> None:
    assert openapi.to_text(openapi.document()) == openapi.to_text(DOCUMENT)


def test_it_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()

    assert DOCUMENT["openapi"].startswith("3.1")


def test_each_route_of_the_template_is_documented_and_no_other() -> None:
    routes = {
        (route["Method"].lower(), route["Path"])
        for function in DEVELOPMENT.functions.values()
        if function["Handler"].partition(".")[0] in HANDLERS
        for route in sources(function, "Api")
    }

    assert set(OPERATIONS) == routes


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=NAMES)
def test_an_operation_says_what_it_does_and_who_may(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    scope = re.search(r"Scope of a token: `[a-z]+:(read|write)`", operation["description"])
    assert bool(scope) != ("Open to everybody." in operation["description"])
    assert bool(scope) == ({"401", "403"} <= set(operation["responses"]))
    assert bool(scope) == ("security" not in operation)
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}


def test_an_operations_id_is_its_own() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=NAMES)
def test_all_answers_are_as_this_api_gives_them(operation: dict[str, Any]) -> None:
    for status, given in operation["responses"].items():
        kind = given.get("$ref", "").split("/")[-1]
        response = DOCUMENT["components"]["responses"][kind] if kind else given
        assert "X-Correlation-Id" in response["headers"]
        # 503 from GET /health: that something is down is what was asked for, and no problem.
        is_problem = status not in {"200", "503"}
        expected = "application/problem+json" if is_problem else "application/json"
        assert list(response["content"]) == [expected]
    assert {"200", "500"} <= set(operation["responses"])


@pytest.mark.parametrize(("name", "operation"), [*zip(NAMES, OPERATIONS.values(), strict=True)])
def test_an_operation_has_the_problems_of_its_kind(name: str, operation: dict[str, Any]) -> None:
    statuses = set(operation["responses"])

    assert ("400" in statuses) == ("parameters" in operation or "requestBody" in operation)
    assert ({"413", "415"} <= statuses) == name.startswith("POST")
    assert ("404" in statuses) == ("{" in name)
    takes_key = any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", []))
    assert ("422" in statuses) == takes_key


def test_nothing_of_powertools_own_errors_is_left() -> None:
    assert "ValidationError" not in openapi.to_text(DOCUMENT)


def test_every_example_is_as_its_schema_says() -> None:
    checked = 0
    for pointer, part in parts(DOCUMENT):
        for example in part.get("examples", []) if "schema" not in part else []:
            assert is_valid(example, pointer), (pointer, example)
            checked += 1
        for example in part["examples"].values() if {"schema", "examples"} <= set(part) else ():
            assert is_valid(example["value"], f"{pointer}/schema"), (pointer, example)
            checked += 1

    assert checked > 30


def test_numbers_are_exact() -> None:
    customer_id = SCHEMAS["CreateOrderRequest"]["properties"]["customerId"]
    amount = SCHEMAS["OrderTotalRequest"]["properties"]["amount"]

    assert json.dumps(customer_id["maximum"]) == "9223372036854775807"
    assert customer_id["minimum"] == 1
    assert (amount["minimum"], amount["maximum"], amount["multipleOf"]) == (0.01, 10**11, 0.01)


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name.endswith("Request")])
def test_a_request_has_no_other_fields_and_an_answer_may_have_more(name: str) -> None:
    closed = {name for name, schema in SCHEMAS.items() if "additionalProperties" in schema}

    assert name in closed
    assert {name for name in closed if name.endswith("Response")} == set()


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (("post", "/customers"), {"getCustomer", "getOrderHistory"}),
        (("post", "/orders"), {"getOrder", "cancelOrder", "getOrderTimeline"}),
    ],
)
def test_what_is_created_is_linked_with_what_can_be_done_with_it(
    created: tuple[str, str], expected: set[str]
) -> None:
    assert set(OPERATIONS[created]["responses"]["200"]["links"]) >= expected
