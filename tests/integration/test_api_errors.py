"""What clients get who send something else than they should, and what they get when something fails here."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from functions.customers import api as customers_api
from functions.orders import api as orders_api
from tests.integration.api import Answer, answer, request, send
from tests.integration.conftest import LogLines
from tests.integration.tables import TABLES, items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.usefixtures("dynamodb")

Post = Callable[..., Answer]


@pytest.fixture(params=["customers_api_create", "orders_api_create"])
def post(request: pytest.FixtureRequest, dynamodb: DynamoDBClient) -> Any:
    """Sends the sample, changed. Unless it succeeds, nothing has been written."""
    handler = customers_api if "customers" in request.param else orders_api

    def post(**changes: Any) -> Answer:
        answered = send(handler, request.param, **changes)
        if answered.status != 200:
            assert all(items(dynamodb, table) == [] for table in TABLES)
        return answered

    return post


def fields(problem: dict[str, Any]) -> set[str]:
    assert all(error["message"] for error in problem["errors"])
    return {error["field"] for error in problem["errors"]}


# Bodies

NO_JSON = {
    "nothing": None,
    "empty": "",
    "half": '{"name": ',
    "words": "hello",
    "form": "name=Jane",
    "single quotes": "{'name': 'Jane'}",
    "not a number": '{"amount": NaN}',
    "infinity": '{"amount": -Infinity}',
    "an exponent beyond measure": '{"amount": 1e99999999999999999999}',
    "an integer of 5,000 digits": '{"amount": ' + "9" * 5000 + "}",
    "60,000 brackets": "[" * 60_000,
    "30,000 closed brackets": "[" * 30_000 + "]" * 30_000,
    "12,000 objects": '{"a":' * 12_000,
    "a name that comes twice": '{"name": "Jane", "creditLimit": {"amount": 1, "amount": 1000000}}',
    "a byte order mark": '\ufeff{"name": "Jane", "creditLimit": {"amount": 1}}',
}
NO_OBJECT = {"list": "[]", "text": '"Jane"', "number": "4", "null": "null", "true": "true"}


@pytest.mark.parametrize(
    "body", [*NO_JSON.values(), *NO_OBJECT.values()], ids=[*NO_JSON, *NO_OBJECT]
)
def test_what_is_no_json_object_is_refused(post: Post, body: str | None) -> None:
    problem = post(body=body).problem(400, "invalid-request")

    assert fields(problem) == {"body"}


def test_an_empty_object_lacks_every_field(post: Post) -> None:
    problem = post(body={}).problem(400, "invalid-request")

    assert fields(problem) in ({"name", "creditLimit"}, {"customerId", "orderTotal"})


NO_AMOUNTS = {
    "text": '"4"',
    "true": "true",
    "null": "null",
    "list": "[4]",
    "object": "{}",
    "negative": "-0.01",
    "three decimal places": "4.001",
    "thirty decimal places": "4.000000000000000000000000000001",
    "hardly anything": "1e-99999999",
    "one cent too many": "100000000000.01",
    "huge": "1e99999999",
    "huge, in digits": "9" * 4000,
}


WITH_AMOUNTS = {
    "creditLimit.amount": (
        customers_api,
        "customers_api_create",
        '{"name": "Jane", "creditLimit": {"amount": AMOUNT}}',
    ),
    "orderTotal.amount": (
        orders_api,
        "orders_api_create",
        '{"customerId": 1, "orderTotal": {"amount": AMOUNT}}',
    ),
}


@pytest.mark.parametrize("amount", NO_AMOUNTS.values(), ids=NO_AMOUNTS)
@pytest.mark.parametrize("field", WITH_AMOUNTS)
def test_what_is_no_amount_is_refused(dynamodb: DynamoDBClient, field: str, amount: str) -> None:
    handler, sample, body = WITH_AMOUNTS[field]

    problem = send(handler, sample, body=body.replace("AMOUNT", amount)).problem(
        400, "invalid-request"
    )

    assert fields(problem) == {field}
    assert all(items(dynamodb, table) == [] for table in TABLES)


def test_an_order_of_nothing_is_refused() -> None:
    body = {"customerId": 1, "orderTotal": {"amount": 0}}

    problem = send(orders_api, "orders_api_create", body=body).problem(400, "invalid-request")

    assert fields(problem) == {"orderTotal.amount"}


BAD_CUSTOMERS: list[tuple[object, set[str]]] = [
    ({"name": "Jane"}, {"creditLimit"}),
    ({"creditLimit": {"amount": 1}}, {"name"}),
    ({"name": "Jane", "creditLimit": 5}, {"creditLimit"}),
    ({"name": "Jane", "creditLimit": None}, {"creditLimit"}),
    ({"name": "Jane", "creditLimit": {}}, {"creditLimit.amount"}),
    ({"name": "Jane", "creditLimit": {"amount": "5"}}, {"creditLimit.amount"}),
    ({"name": "Jane", "creditLimit": {"amout": 1}}, {"creditLimit.amount", "creditLimit.amout"}),
    ({"name": 5, "creditLimit": {"amount": "5"}}, {"name", "creditLimit.amount"}),
    ({"name": "Jane", "creditLimit": {"amount": 5}, "vip": True}, {"vip"}),
    ({"name": "Jane", "creditLimit": {"amount": 5, "currency": "EUR"}}, {"creditLimit.currency"}),
    ({"name": "Jane", "credit_limit": {"amount": 5}}, {"creditLimit", "credit_limit"}),
]


@pytest.mark.parametrize(("body", "expected"), BAD_CUSTOMERS)
def test_each_field_of_a_customer_that_is_wrong_is_named(body: object, expected: set[str]) -> None:
    problem = send(customers_api, "customers_api_create", body=body).problem(400, "invalid-request")

    assert fields(problem) == expected


def test_an_order_has_the_fields_that_are_known_by_their_exact_names() -> None:
    body = {"customer_id": 1, "orderTotal": {"amount": 1, "$inc": 1}}

    problem = send(orders_api, "orders_api_create", body=body).problem(400, "invalid-request")

    assert fields(problem) == {"customerId", "customer_id", "orderTotal.$inc"}


def test_of_a_body_with_thousands_of_wrong_fields_a_few_are_named_and_no_more_than_fits() -> None:
    body = {"x" * 200 + str(number): 1 for number in range(300)}

    problem = send(orders_api, "orders_api_create", body=body).problem(400, "invalid-request")

    assert len(problem["errors"]) == 20
    assert max(len(error["field"]) for error in problem["errors"]) == 100


@pytest.mark.parametrize("body", ["[" * 100_000, '{"name": "' + "ü" * 40_000 + '"}', " " * 10**7])
def test_a_large_body_is_not_even_looked_at(post: Post, body: str) -> None:
    post(body=body).problem(413, "content-too-large")


@pytest.mark.parametrize("field", WITH_AMOUNTS)
def test_a_body_as_large_as_may_be_is_read(dynamodb: DynamoDBClient, field: str) -> None:
    handler, sample, body = WITH_AMOUNTS[field]

    assert send(handler, sample, body=body.replace("AMOUNT", "5").ljust(64 * 1024)).status == 200


NO_NAMES = {
    "number": "5",
    "true": "true",
    "null": "null",
    "list": '["Jane"]',
    "empty": '""',
    "blank": '"  "',
    "201 characters": '"' + "x" * 201 + '"',
    "line break": '"Jane\\nDoe"',
    "zero byte": '"Jane\\u0000"',
    "escape": '"\\u001b[31m"',
    "lone surrogate": '"Jane \\ud83d"',
    "replacement character": '"Zo\\ufffd"',
    "line separator": '"Jane\\u2028Doe"',
    "next line": '"Jane\\u0085Doe"',
    "no-break space": '"\\u00a0"',
    "zero width space": '"\\u200b\\u200b"',
    "soft hyphen and joiner": '"\\u00ad\\u200d"',
    "Hangul filler": '"\\u3164"',
    "Braille blank": '"\\u2800"',
    "override of direction alone": '"\\u202e"',
}
NAMES = {
    "accents": "Zoë Ångström",
    "combining": "Zoe\u0308",
    "Persian, with a non-joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Han": "王小明",
    "an emoji of several": "👩\u200d👩\u200d👧",
    "one letter": "X",
    "markup": "<script>alert(1)</script>",
    "quotes": 'O\'Brien "Bob" \\ {$ne: 1}',
    "200 characters": "ü" * 200,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_kept_as_it_was_given(dynamodb: DynamoDBClient, name: str) -> None:
    body = {"name": name, "creditLimit": {"amount": 5}}

    customer_id = send(customers_api, "customers_api_create", body=body).json["customerId"]

    path = {"customerId": customer_id}
    found = send(customers_api, "customers_api_get", path_parameters=path)
    assert found.json["name"] == name


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES)
def test_what_is_no_name_is_refused(dynamodb: DynamoDBClient, name: str) -> None:
    body = f'{{"name": {name}, "creditLimit": {{"amount": 5}}}}'

    problem = send(customers_api, "customers_api_create", body=body).problem(400, "invalid-request")

    assert fields(problem) == {"name"}
    assert items(dynamodb, "Customers") == []


@pytest.mark.parametrize(
    "customer_id",
    [
        '"1"',
        "1.5",
        "1e-99999999",
        "1e99999999",
        "9223372036854775808.0",
        "true",
        "null",
        "0",
        "-1",
        str(2**63),
        "9" * 4000,
        "[1]",
    ],
)
def test_what_is_no_customers_id_is_refused(dynamodb: DynamoDBClient, customer_id: str) -> None:
    body = f'{{"customerId": {customer_id}, "orderTotal": {{"amount": 5}}}}'

    problem = send(orders_api, "orders_api_create", body=body).problem(400, "invalid-request")

    assert fields(problem) == {"customerId"}
    assert items(dynamodb, "Orders") == []


@pytest.mark.parametrize("customer_id", ["7", "7.0", "0.7e1", "70e-1"])
def test_an_integer_is_one_however_json_spells_it(customer_id: str) -> None:
    body = f'{{"customerId": {customer_id}, "orderTotal": {{"amount": 5}}}}'

    order_id = send(orders_api, "orders_api_create", body=body).json["orderId"]

    found = send(orders_api, "orders_api_get", path_parameters={"orderId": order_id})
    assert found.json["customerId"] == 7


# Encodings and media types


def encoded(sample: str, body: bytes) -> dict[str, Any]:
    event = request(sample)
    return {**event, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def test_a_body_in_base64_is_read(dynamodb: DynamoDBClient) -> None:
    body = '{"name": "Zoë", "creditLimit": {"amount": 4.1}}'.encode()

    created = answer(customers_api, encoded("customers_api_create", body))

    assert created.status == 200
    (item,) = [item for item in items(dynamodb, "Customers") if "name" in item]
    assert item["name"]["S"] == "Zoë"


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"name": "\xff", "creditLimit": {"amount": 5}}'])
def test_a_body_that_is_no_utf8_is_refused(dynamodb: DynamoDBClient, body: bytes) -> None:
    refused = answer(customers_api, encoded("customers_api_create", body))

    assert fields(refused.problem(400, "invalid-request")) == {"body"}
    assert items(dynamodb, "Customers") == []


def test_a_body_that_is_said_to_be_base64_and_is_not_is_refused() -> None:
    event = {**request("customers_api_create"), "body": "x", "isBase64Encoded": True}

    answer(customers_api, event).problem(400, "invalid-request")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",  # what curl says unless told otherwise
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/xml; charset=utf-8",
        "",
    ],
)
@pytest.mark.parametrize("header", ["Content-Type", "content-type"])
def test_a_body_that_is_said_to_be_something_else_than_json_is_refused(
    post: Post, content_type: str, header: str
) -> None:
    post(headers={header: content_type}).problem(415, "unsupported-media-type")


def test_the_body_of_a_query_means_nothing() -> None:
    event = request("customers_api_list", body="x" * 100_000, headers={"Content-Type": "text/html"})

    assert answer(customers_api, event).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON ;charset=UTF-8",
        None,
    ],
)
def test_json_is_read_however_its_type_is_spelled(post: Post, content_type: str | None) -> None:
    assert post(headers={"Content-Type": content_type}).status == 200


@pytest.mark.parametrize("body", ["{}", "null", "[", "5"])
def test_a_body_that_nobody_asked_for_means_nothing(body: str) -> None:
    event = request("orders_api_cancel", body=body, headers={"Content-Type": "application/json"})

    answer(orders_api, event).problem(404, "order-not-found")


def test_a_request_without_a_body_may_be_of_any_type() -> None:
    event = request("orders_api_cancel", headers={"Content-Type": "text/plain"})

    answer(orders_api, event).problem(404, "order-not-found")


def test_headers_may_be_missing_altogether() -> None:
    event = {**request("customers_api_create"), "headers": None, "multiValueHeaders": None}

    assert answer(customers_api, event).status == 200


# Paths


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("DELETE", "/customers"), ("PUT", "/customers/1")]
)
def test_there_is_nothing_where_there_is_no_route(method: str, path: str) -> None:
    event = {**request("customers_api_list"), "httpMethod": method, "path": path}

    answer(customers_api, event).problem(404, "no-such-route")


@pytest.mark.parametrize(
    "order_id", ["1_000", "+1", "1.0", "01", "-1", "0", str(2**63), "9" * 5000, "one", "1e3", "0x1"]
)
def test_what_is_no_id_in_digits_is_refused(order_id: str) -> None:
    event = request("orders_api_get", path_parameters={"orderId": order_id})

    problem = answer(orders_api, event).problem(400, "invalid-request")

    assert fields(problem) == {"orderId"}


@pytest.mark.parametrize("order_id", ["\u0661", "\uff11", "1\n", "1\u0000", " 1", "😀", "1/2"])
def test_what_cannot_even_be_an_id_is_nowhere(order_id: str) -> None:
    event = request("orders_api_get", path_parameters={"orderId": order_id})

    assert answer(orders_api, event).status in (400, 404)


def test_a_line_break_is_no_part_of_a_path() -> None:
    order_id = send(orders_api, "orders_api_create").json["orderId"]
    event = request("orders_api_get", path_parameters={"orderId": f"{order_id}\n"})

    answer(orders_api, event).problem(404, "no-such-route")


@pytest.mark.parametrize(
    "limit", ["", " 5", "+5", "5.0", "1_0", "\u0665", "0", "101", "-1", "five", "1,2"]
)
def test_what_is_no_limit_is_refused(limit: str) -> None:
    event = request("orders_api_list", query={"limit": limit})

    assert fields(answer(orders_api, event).problem(400, "invalid-request")) == {"limit"}


def test_a_parameter_that_comes_twice_is_refused() -> None:
    event = request("orders_api_list", query={"limit": 5})
    event["multiValueQueryStringParameters"] = {"limit": ["5", "6"]}

    assert fields(answer(orders_api, event).problem(400, "invalid-request")) == {"limit"}


def test_a_parameter_that_is_not_known_is_passed_over() -> None:
    assert send(orders_api, "orders_api_list", query={"limit": 5, "color": "red"}).status == 200


# Failures of our own

SENDABLE = [
    (customers_api, "customers_api_create"),
    (customers_api, "customers_api_list"),
    (customers_api, "customers_api_get"),
    (orders_api, "orders_api_create"),
    (orders_api, "orders_api_list"),
    (orders_api, "orders_api_get"),
    (orders_api, "orders_api_cancel"),
]


@pytest.mark.parametrize(("handler", "sample"), SENDABLE, ids=[name for _, name in SENDABLE])
def test_a_failure_is_answered_with_an_id_that_is_in_the_log_and_with_nothing_internal(
    dynamodb: DynamoDBClient, log_lines: LogLines, handler: Any, sample: str
) -> None:
    for table in TABLES:
        dynamodb.delete_table(TableName=table)

    failed = send(handler, sample)

    problem = failed.problem(500, "unexpected-error")
    assert problem == {
        "type": "urn:customers-and-orders:problem:unexpected-error",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong here. It may work if you try again.",
        "correlationId": failed.headers["X-Correlation-Id"],
    }
    logged, summary = log_lines()
    assert logged["correlation_id"] == summary["correlation_id"] == problem["correlationId"]
    assert "ResourceNotFoundException" in logged["exception"]
    assert summary["status"] == 500


def test_a_problem_has_no_more_members_than_it_needs(post: Post) -> None:
    problem = post(body="{").problem(400, "invalid-request")

    assert set(problem) == {"type", "title", "status", "detail", "errors"}


def test_an_answer_that_is_not_as_declared_is_a_failure_of_ours(
    dynamodb: DynamoDBClient, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customers.service.find_customer", lambda *_: None)
    monkeypatch.setattr(customers_api.CustomerResponse, "of", lambda _: {"customerId": "none"})

    send(customers_api, "customers_api_get").problem(500, "unexpected-error")
