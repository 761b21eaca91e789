"""What the wire may carry: bytes that are no text, paths that are no paths, more than there is room for."""

from __future__ import annotations

import json

import pytest

from infra.local.api_client import ApiClient
from tests.e2e.test_errors import assert_problem

JSON = {"Content-Type": "application/json"}
TEXT = '{"name": "Zoë", "creditLimit": {"amount": 5}}'


@pytest.mark.parametrize(
    "body",
    [
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-32"),
        TEXT.encode("latin-1"),
        TEXT.encode("utf-8-sig"),
        TEXT.encode().replace("ë".encode(), b"\xed\xa0\x80"),  # a surrogate, as if it were UTF-8
        TEXT.encode().replace("ë".encode(), b"\xc1\xbf"),  # longer than it need be
        TEXT.encode().replace("ë".encode(), b"\0"),
        TEXT.encode().replace("ë".encode(), b"\\u0000"),
        TEXT.encode().replace("ë".encode(), b"\\ud83d"),
        b"\xff\xfe\xfd",
        b"\x1f\x8b\x08\x00",
    ],
)
def test_a_name_that_is_no_utf8_is_refused(api: ApiClient, body: bytes) -> None:
    before = api.request("GET", "/customers?limit=100").json()

    assert_problem(api.request("POST", "/customers", content=body, headers=JSON), 400)

    assert api.request("GET", "/customers?limit=100").json() == before


def test_text_beyond_the_basic_plane_comes_back_as_it_was(api: ApiClient) -> None:
    name = "Jane 👩‍🚀 Zoë \u200f" + json.loads('"\\ud83d\\ude00"')

    assert api.get_customer(api.create_customer(name, 5))["name"] == name


@pytest.mark.parametrize("path", ["/customers", "/orders", "/orders/1/cancel"])
@pytest.mark.parametrize("byte", [b" ", b"[", b"\xff"])
def test_ten_megabytes_are_refused(api: ApiClient, path: str, byte: bytes) -> None:
    content = byte * 10_000_000

    assert_problem(api.request("POST", path, content=content, headers=JSON), 413)


@pytest.mark.parametrize("depth", [1_000, 10_000, 32_000])
@pytest.mark.parametrize("around", ["{}", '{{"name": {}, "creditLimit": {{"amount": 5}}}}'])
def test_depth_is_refused(api: ApiClient, around: str, depth: int) -> None:
    content = around.format("[" * depth + "]" * depth)

    assert_problem(api.request("POST", "/customers", content=content, headers=JSON), 400)


def test_a_hundred_thousand_brackets_are_more_than_there_is_room_for(api: ApiClient) -> None:
    content = "[" * 100_000

    assert_problem(api.request("POST", "/customers", content=content, headers=JSON), 413)


@pytest.mark.parametrize(
    "customer_id",
    [
        "0",
        "-1",
        "01",
        "1.0",
        "1e3",
        "1_000",
        "%2B1",
        "%201",
        "0x1",
        "NaN",
        "null",
        "9223372036854775808",
        "9" * 1000,
        "%D9%A1",  # an Arabic-Indic one
        "%EF%BC%91",  # a fullwidth one
        "1%2500",
        "$ne",
    ],
)
@pytest.mark.parametrize("path", ["/customers/{}", "/customers/{}/orderhistory"])
def test_what_is_no_id_is_refused(api: ApiClient, path: str, customer_id: str) -> None:
    assert_problem(api.request("GET", path.format(customer_id)), 400)


@pytest.mark.parametrize(
    "order_id", ["1%0A", "1%00", "%F0%9F%98%80", "%FF", "%E2%80%8B1", '{"$gt": ""}']
)
def test_what_is_no_path_leads_nowhere(api: ApiClient, order_id: str) -> None:
    response = api.request("GET", f"/orders/{order_id}")

    # A gateway that decodes the path makes of it one that there is not; one that does not, an id that is none.
    assert_problem(response, 404 if response.status_code == 404 else 400)


@pytest.mark.parametrize(
    "query",
    [
        "limit=",
        "limit=5.0",
        "limit=%2B5",
        "limit=1e1",
        "limit=%D9%A5",
        "limit=99999999999999999999",
        "limit[$gt]=1&limit=0",
        "nextToken=",
        "nextToken=null",
        "nextToken=%00",
        "nextToken=YWZ0ZXI6MA",  # after:0
        "nextToken=YWZ0ZXI6LTE",  # after:-1
        "nextToken=YWZ0ZXI6MQ%3D%3D",  # padded
        "nextToken=YWZ0!ZXI6MQ",
        "nextToken=eyIkZ3QiOiAiIn0",  # {"$gt": ""}
        "nextToken=" + "A" * 65,
    ],
)
@pytest.mark.parametrize("path", ["/customers", "/orders"])
def test_what_is_no_page_is_refused(api: ApiClient, path: str, query: str) -> None:
    assert_problem(api.request("GET", f"{path}?{query}"), 400)


@pytest.mark.parametrize("path", ["/customers", "/orders"])
def test_a_forged_token_for_an_id_that_is_not_there_is_a_page_like_another(
    api: ApiClient, path: str
) -> None:
    forged = "YWZ0ZXI6OTIyMzM3MjAzNjg1NDc3NTgwNw"  # after:9223372036854775807

    assert api.request("GET", f"{path}?nextToken={forged}").status_code == 200


@pytest.mark.parametrize("key", ["", "ü", "a b", "x" * 256, "\u200b"])
def test_what_is_no_idempotency_key_is_refused(api: ApiClient, key: str) -> None:
    headers = [(b"Content-Type", b"application/json"), (b"Idempotency-Key", key.encode())]

    assert_problem(api.request("POST", "/customers", content=TEXT, headers=headers), 400)
