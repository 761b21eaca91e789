"""Bad requests to the HTTP APIs, and failures of what the APIs depend on."""

from __future__ import annotations

import base64
import json
from typing import Any

import boto3
import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from functions.customers import api as customers_api
from functions.orders import api as orders_api
from tests.integration.api import Answer, answer, request, send
from tests.integration.conftest import LogLines
from tests.integration.tables import TABLES, items

pytestmark = pytest.mark.usefixtures("dynamodb")

CREATES = {"customers_api_create": customers_api, "orders_api_create": orders_api}
WITH_AMOUNT = {
    "customers_api_create": ("creditLimit", '{"name": "Jane", "creditLimit": {"amount": AMOUNT}}'),
    "orders_api_create": ("orderTotal", '{"customerId": 1, "orderTotal": {"amount": AMOUNT}}'),
}


def fields(answered: Answer) -> set[str]:
    """The fields that a 400 names."""
    problem = answered.problem(400, "invalid-request")
    assert all(error["message"] for error in problem["errors"])
    return {error["field"] for error in problem["errors"]}


def create(sample: str, **changes: Any) -> Answer:
    """Send the sample, changed. Unless it is accepted, nothing is written."""
    answered = send(CREATES[sample], sample, **changes)
    if answered.status != 200:
        client = boto3.client("dynamodb")
        assert all(items(client, table) == [] for table in TABLES)
    return answered


def test_body_that_is_not_a_json_object_returns_400() -> None:
    customer = {"name": "Jane", "creditLimit": {"amount": 5}}
    bodies: list[object] = [
        *(None, "", '{"name": ', "hello", "name=Jane", "{'name': 'Jane'}"),
        *('{"amount": NaN}', '{"amount": -Infinity}', '{"amount": 1e99999999999999999999}'),
        *('{"amount": ' + "9" * 5000 + "}", '{"a":' * 12_000),
        *("[" * 60_000, "[" * 30_000 + "]" * 30_000),
        '{"name": "Jane", "creditLimit": {"amount": 1, "amount": 1000000}}',
        '\ufeff{"name": "Jane", "creditLimit": {"amount": 1}}',
        *("[]", '"Jane"', "4", "null", "true"),
        *([customer], [customer, {**customer, "name": "John"}], [[customer]], [None, customer]),
        [{"customerId": 1, "orderTotal": {"amount": 5}}],
    ]
    for sample in CREATES:
        for body in bodies:
            assert fields(create(sample, body=body)) == {"body"}, body


def test_every_wrong_field_is_named() -> None:
    name, limit = {"name": "Jane"}, {"creditLimit": {"amount": 1}}
    limits = [{"creditLimit": bad} for bad in (5, "5", None, True, [], [{"amount": 1}])]
    customers: list[tuple[Any, set[str]]] = [
        ({}, {"name", "creditLimit"}),
        (name, {"creditLimit"}),
        (limit, {"name"}),
        *(({**name, **bad}, {"creditLimit"}) for bad in limits),
        ({**name, "creditLimit": {}}, {"creditLimit.amount"}),
        ({**name, "creditLimit": {"amout": 1}}, {"creditLimit.amount", "creditLimit.amout"}),
        ({"name": 5, "creditLimit": {"amount": "5"}}, {"name", "creditLimit.amount"}),
        ({**name, **limit, "vip": True}, {"vip"}),
        ({**name, "creditLimit": {"amount": 5, "currency": "EUR"}}, {"creditLimit.currency"}),
        ({**name, "credit_limit": {"amount": 5}}, {"creditLimit", "credit_limit"}),
    ]
    for body, expected in customers:
        assert fields(create("customers_api_create", body=body)) == expected, body
    order = {"customer_id": 1, "orderTotal": {"amount": 1, "$inc": 1}}
    expected = {"customerId", "customer_id", "orderTotal.$inc"}
    assert fields(create("orders_api_create", body=order)) == expected


def test_errors_are_limited_in_number_and_length() -> None:
    body = {"x" * 200 + str(number): 1 for number in range(300)}

    problem = create("orders_api_create", body=body).problem(400, "invalid-request")

    assert set(problem) == {"type", "title", "status", "detail", "errors"}
    assert len(problem["errors"]) == 20
    assert max(len(error["field"]) for error in problem["errors"]) == 100


def test_invalid_amount_returns_400() -> None:
    amounts = [
        *('"4"', "true", "null", "[4]", "{}", "-0.01", "4.001"),
        *("4.000000000000000000000000000001", "1e-99999999"),
        *("100000000000.01", "1e99999999", "9" * 4000),
    ]
    for sample, (field, body) in WITH_AMOUNT.items():
        for amount in (*amounts, *(["0"] if field == "orderTotal" else [])):
            refused = create(sample, body=body.replace("AMOUNT", amount))
            assert fields(refused) == {f"{field}.amount"}, amount


def test_invalid_name_returns_400() -> None:
    names = [
        *("5", "true", "null", '["Jane"]', '""', '"  "', '"' + "x" * 201 + '"'),
        *('"Jane\\nDoe"', '"Jane\\u0000"', '"\\u001b[31m"', '"Jane\\u2028Doe"', '"Jane\\u0085Doe"'),
        *('"Jane \\ud83d"', '"Zo\\ufffd"'),  # a lone surrogate, a replacement character
        *('"\\u00a0"', '"\\u200b\\u200b"', '"\\u00ad\\u200d"'),  # nothing visible
        *('"\\u3164"', '"\\u2800"', '"\\u202e"'),
    ]
    for name in names:
        body = f'{{"name": {name}, "creditLimit": {{"amount": 5}}}}'
        assert fields(create("customers_api_create", body=body)) == {"name"}, name


def test_invalid_customer_id_of_an_order_returns_400() -> None:
    for customer_id in (
        *('"1"', "1.5", "1e-99999999", "1e99999999", "9223372036854775808.0"),
        *("true", "null", "0", "-1", str(2**63), "9" * 4000, "[1]"),
    ):
        body = f'{{"customerId": {customer_id}, "orderTotal": {{"amount": 5}}}}'
        assert fields(create("orders_api_create", body=body)) == {"customerId"}, customer_id


def test_large_body_returns_413_before_it_is_parsed() -> None:
    for sample in CREATES:
        for body in ("[" * 100_000, '{"name": "' + "ü" * 40_000 + '"}', " " * 10**7):
            create(sample, body=body).problem(413, "content-too-large")


def test_body_of_the_largest_size_is_read() -> None:
    for sample, (_, body) in WITH_AMOUNT.items():
        assert create(sample, body=body.replace("AMOUNT", "5").ljust(64 * 1024)).status == 200


def encoded(body: bytes | str) -> Answer:
    event = request("customers_api_create")
    text = body if isinstance(body, str) else base64.b64encode(body).decode()
    return answer(customers_api, {**event, "body": text, "isBase64Encoded": True})


def test_body_in_base64_is_read(dynamodb: DynamoDBClient) -> None:
    assert encoded('{"name": "Zoë", "creditLimit": {"amount": 4.1}}'.encode()).status == 200

    (item,) = [item for item in items(dynamodb, "Customers") if "name" in item]
    assert item["name"]["S"] == "Zoë"


def test_body_that_is_not_utf8_returns_400() -> None:
    for body in (b"\xff\xfe", b'{"name": "\xff", "creditLimit": {"amount": 5}}', "x", "ü"):
        assert fields(encoded(body)) == {"body"}


def test_body_of_another_media_type_returns_415() -> None:
    content_types = [
        *("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""),
        *("application/jsonp", "application/xml; charset=utf-8", "application/json, text/plain"),
    ]
    for sample in CREATES:
        for content_type in content_types:
            for header in ("Content-Type", "content-type"):
                refused = create(sample, headers={header: content_type})
                refused.problem(415, "unsupported-media-type")


def test_json_is_read_with_any_spelling_of_its_type() -> None:
    types = ("application/json", "application/json; charset=utf-8", "Application/JSON ;x=y", None)
    for sample in CREATES:
        for content_type in types:
            assert create(sample, headers={"Content-Type": content_type}).status == 200
    event = {**request("customers_api_create"), "headers": None, "multiValueHeaders": None}
    assert answer(customers_api, event).status == 200


def test_unexpected_body_is_ignored() -> None:
    event = request("customers_api_list", body="x" * 100_000, headers={"Content-Type": "text/html"})
    assert answer(customers_api, event).status == 200
    for body in ("{}", "null", "[", "5"):
        headers = {"Content-Type": "application/json"}
        cancelled = send(orders_api, "orders_api_cancel", body=body, headers=headers)
        cancelled.problem(404, "order-not-found")
    untyped = send(orders_api, "orders_api_cancel", headers={"Content-Type": "text/plain"})
    untyped.problem(404, "order-not-found")


# Paths and queries. tests/unit/test_rest_api.py has unknown routes, base paths and repeated headers.


def test_invalid_id_in_the_path_returns_400() -> None:
    ids = [
        *("one", "0", "-1", "1.5", "1_000", "+1", "1.0", "01", "1e3", "0x1"),
        *(" 1", "1\n", "1\u0000"),
        *(str(2**63), "9" * 5000, "\u0661", "\uff11", "😀", "1/2", "1%2F2", "count"),
    ]
    apis = (customers_api, orders_api, orders_api)
    samples = ("customers_api_get", "orders_api_get", "orders_api_cancel")
    for sample, handler in zip(samples, apis, strict=True):
        (name,) = request(sample)["pathParameters"]
        for value in ids:
            refused = send(handler, sample, path_parameters={name: value})
            assert fields(refused) == {name}, value


def test_invalid_page_returns_400() -> None:
    limits = ["", " 5", "+5", "5.0", "1_0", "\u0665", "0", "101", "-1", "five", "1,2", 1.5]
    lists = {"customers_api_list": customers_api, "orders_api_list": orders_api}
    for sample, handler in lists.items():
        for limit in limits:
            assert fields(send(handler, sample, query={"limit": limit})) == {"limit"}, limit
        assert fields(send(handler, sample, query={"nextToken": "x" * 301})) == {"nextToken"}
        for token in ("", "forged", "YWZ0ZXI6LTE"):
            refused = send(handler, sample, query={"nextToken": token})
            assert "nextToken" in refused.problem(400, "invalid-request")["detail"]


def test_repeated_query_parameter_returns_400_and_an_unknown_one_is_ignored() -> None:
    for name, values in {"limit": ["5", "6"], "nextToken": ["YWZ0ZXI6Nw", "YWZ0ZXI6OA"]}.items():
        event = request("orders_api_list", query={name: values[-1]})
        event["multiValueQueryStringParameters"] = {name: values}
        assert fields(answer(orders_api, event)) == {name}
    assert send(orders_api, "orders_api_list", query={"limit": 5, "color": "red"}).status == 200


def test_malformed_idempotency_key_returns_400() -> None:
    for sample in CREATES:
        for key in ("", "two words", "x" * 256, "schlüssel"):
            refused = create(sample, headers={"Idempotency-Key": key})
            assert fields(refused) == {"idempotency-key"}, key


def test_failure_returns_500_with_an_id_that_is_in_the_log_and_nothing_internal(
    dynamodb: DynamoDBClient, log_lines: LogLines
) -> None:
    for table in TABLES:
        dynamodb.delete_table(TableName=table)
    samples = {
        **dict.fromkeys(("customers_api_list", "customers_api_get"), customers_api),
        **dict.fromkeys(("orders_api_list", "orders_api_get", "orders_api_cancel"), orders_api),
        **CREATES,
    }
    for number, (sample, handler) in enumerate(samples.items()):
        failed = send(handler, sample)

        assert failed.problem(500, "unexpected-error") == {
            "type": "urn:customers-and-orders:problem:unexpected-error",
            "title": "Internal Server Error",
            "status": 500,
            "detail": "The request failed unexpectedly. Try again later.",
            "correlationId": failed.headers["X-Correlation-Id"],
        }
        logged, summary = log_lines()[2 * number :]
        assert logged["correlation_id"] == failed.headers["X-Correlation-Id"]
        assert "ResourceNotFoundException" in logged["exception"]
        assert (summary["message"], summary["status"]) == ("request handled", 500)


def test_result_that_is_not_as_declared_returns_500(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("customers.service.find_customer", lambda *_: json)

    send(customers_api, "customers_api_get").problem(500, "unexpected-error")
