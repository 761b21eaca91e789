"""Bad requests that a gateway may change, through the real API: a problem document, and nothing written.

tests/integration/test_api_errors.py has the rules of each field.
"""

from __future__ import annotations

import json
from typing import Any

from infra.local.api_client import ApiClient

JSON = {"Content-Type": "application/json"}
TEXT = '{"name": "Zoë", "creditLimit": {"amount": 5}}'


def assert_problem(response: Any, status: int, request: object) -> dict[str, Any]:
    """Assert that the response is a problem document (RFC 9457) with the status."""
    problem: dict[str, Any] = response.json()
    assert response.status_code == status, (request, problem)
    assert response.headers["content-type"] == "application/problem+json", request
    assert problem["status"] == status, request
    assert problem.keys() >= {"type", "title", "detail"}, request
    assert response.headers["x-correlation-id"], request
    return problem


def assert_post(
    api: ApiClient, status: int, path: str, content: str | bytes, headers: Any = JSON
) -> dict[str, Any]:
    response = api.request("POST", path, content=content, headers=headers)
    return assert_problem(response, status, (path, content[:80], len(content)))


def test_body_that_is_not_json_in_utf8_returns_400_and_creates_nothing(api: ApiClient) -> None:
    before = api.request("GET", "/customers?limit=100").json()

    for body in (
        *(b"", b"{", b"nonsense", b"[" * 32_000 + b"]" * 32_000),
        *(TEXT.encode(encoding) for encoding in ("utf-16", "utf-16-le", "utf-32", "latin-1")),
        TEXT.encode("utf-8-sig"),
        TEXT.encode().replace("ë".encode(), b"\xed\xa0\x80"),  # an encoded surrogate
        TEXT.encode().replace("ë".encode(), b"\xc1\xbf"),  # an overlong encoding
        TEXT.encode().replace("ë".encode(), b"\0"),
        TEXT.encode().replace("ë".encode(), b"\\u0000"),
        TEXT.encode().replace("ë".encode(), b"\\ud83d"),
        b"\x1f\x8b\x08\x00",
    ):
        assert_post(api, 400, "/customers", body)

    assert api.request("GET", "/customers?limit=100").json() == before


def test_name_beyond_the_basic_plane_is_kept(api: ApiClient) -> None:
    name = "Jane 👩‍🚀 Zoë \u200f" + json.loads('"\\ud83d\\ude00"')

    assert api.get_customer(api.create_customer(name, 5))["name"] == name


def test_too_large_body_returns_413(api: ApiClient) -> None:
    assert_post(api, 413, "/customers", "[" * 100_000)
    for path in ("/customers", "/orders", "/orders/1/cancel"):
        for byte in (b" ", b"[", b"\xff"):
            assert_post(api, 413, path, byte * 10_000_000)


def test_invalid_id_returns_400(api: ApiClient) -> None:
    not_ascii = ("%D9%A1", "%EF%BC%91")  # an Arabic-Indic and a fullwidth digit
    for invalid in (*not_ascii, "%2B1", "%201", "$ne", str(2**63), "9" * 1000, "1%2500"):
        for path in (f"/customers/{invalid}", f"/customers/{invalid}/orderhistory"):
            assert_problem(api.request("GET", path), 400, path)


def test_invalid_path_returns_400_or_404(api: ApiClient) -> None:
    for order_id in ("1%0A", "1%00", "%F0%9F%98%80", "%FF", "%E2%80%8B1", '{"$gt": ""}'):
        response = api.request("GET", f"/orders/{order_id}")
        # 404: a gateway that decodes the path finds no route. 400: the function finds no id.
        assert response.status_code in {400, 404}, order_id
        assert_problem(response, response.status_code, order_id)


def test_invalid_idempotency_key_returns_400(api: ApiClient) -> None:
    for key in ("", "ü", "a b", "x" * 256, "\u200b"):
        headers = [(b"Content-Type", b"application/json"), (b"Idempotency-Key", key.encode())]
        assert_post(api, 400, "/customers", TEXT, headers)
