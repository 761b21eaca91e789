from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest_api.fields import IdInPath, WireModel
from rest_api.pagination import decode_next_token, encode_next_token, slice_page
from rest_api.resolver import RestApi
from rest_api.waiting import MAX_SECONDS, Prefer, preferred_seconds, wait_for
from shared.errors import InvalidRequestError
from shared.identifiers import MAX_ID
from tests.clock import Clock

ORIGIN = "https://app.example.com"


class ThingResponse(WireModel):
    thing_id: int


def api_with_routes() -> RestApi:
    api = RestApi(scope=None)

    @api.get("/things/<thingId>")
    def get_thing(thingId: IdInPath) -> ThingResponse:  # noqa: N803
        return ThingResponse(thing_id=thingId)

    @api.get("/things/<thingId>/parts")
    def fail(thingId: IdInPath) -> ThingResponse:  # noqa: N803
        raise RuntimeError("secret")

    return api


def call(api: RestApi, thing_id: str = "7", **changes: Any) -> dict[str, Any]:
    event = {
        "httpMethod": "GET",
        "resource": "/things/{thingId}",
        "path": f"/things/{thing_id}",
        "pathParameters": {"thingId": thing_id},
        "requestContext": {"requestId": "request-1"},
        **changes,
    }
    response = api.handle(event, SimpleNamespace(aws_request_id="invocation"))
    return {**response, "json": json.loads(response["body"] or "null")}


def test_base_path_of_a_custom_domain_is_ignored() -> None:
    for path in ("/things/7", "/v1/things/7", "/some/where/things/7/"):
        assert call(api_with_routes(), path=path)["json"] == {"thingId": 7}


def test_path_parameter_cannot_select_another_route() -> None:
    for thing_id in ("7/parts", "7%2Fparts", "7\n", "../7", "", "{x}"):
        assert call(api_with_routes(), thing_id)["statusCode"] in (400, 404), thing_id


def test_every_response_has_the_correlation_id_and_is_not_cached() -> None:
    failure = {"resource": "/things/{thingId}/parts"}
    cases: list[tuple[str, dict[str, str], int]] = [
        *(("7", {}, 200), ("one", {}, 400), ("7", failure, 500), ("7", {"resource": "/x"}, 404))
    ]
    for thing_id, changes, status in cases:
        response = call(api_with_routes(), thing_id, **changes)

        assert response["statusCode"] == status
        assert response["multiValueHeaders"]["X-Correlation-Id"] == ["request-1"]
        assert response["multiValueHeaders"]["Cache-Control"] == ["no-store"]
        assert "secret" not in response["body"]


def test_repeated_header_returns_400_in_any_spelling() -> None:
    for name in ("Authorization", "Content-Type", "Idempotency-Key"):
        for headers in ({name: ["a", "b"]}, {name: ["a"], name.lower(): ["b"]}):
            response = call(api_with_routes(), multiValueHeaders=headers, body="{}")
            assert response["statusCode"] == 400, headers
            assert name.lower() in response["json"]["detail"]


def test_api_without_allowed_origins_sends_no_cors_headers() -> None:
    headers = call(api_with_routes(), headers={"Origin": ORIGIN})["multiValueHeaders"]

    assert not [name for name in headers if name.startswith("Access-Control")]


def test_allowed_origins_get_cors_headers_on_every_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", f"https://other.example.com, {ORIGIN}")
    api = api_with_routes()

    for thing_id in ("7", "one"):
        headers = call(api, thing_id, headers={"origin": ORIGIN})["multiValueHeaders"]
        assert headers["Access-Control-Allow-Origin"] == [ORIGIN]
        assert headers["Access-Control-Expose-Headers"] == [
            "X-Correlation-Id,ETag,Preference-Applied,Retry-After"
        ]
        assert "Access-Control-Allow-Credentials" not in headers
        foreign = call(api, thing_id, headers={"origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in foreign["multiValueHeaders"]


def test_preflight_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.example")
    monkeypatch.setenv("JWT_AUDIENCE", "things")
    preflight: dict[str, Any] = {"httpMethod": "OPTIONS", "headers": {"Origin": ORIGIN}}
    assert call(RestApi("things"), **preflight)["statusCode"] == 401
    assert call(api_with_routes())["statusCode"] == 200, "an API without a scope needs no token"
    monkeypatch.setenv("ALLOWED_ORIGINS", ORIGIN)

    response = call(RestApi("things"), **preflight)

    assert response["statusCode"] == 204
    headers = response["multiValueHeaders"]
    assert headers["Access-Control-Allow-Origin"] == [ORIGIN]
    (allowed,) = headers["Access-Control-Allow-Headers"]
    assert {"Authorization", "Idempotency-Key", "Prefer"} <= set(allowed.split(","))


def test_first_wait_of_a_prefer_header_counts_up_to_the_limit_and_an_invalid_one_is_ignored() -> (
    None
):
    for prefer, seconds in (
        *[(text, 5) for text in ("wait=5", "WAIT = 5", 'wait="5"', "wait=05", "wait=5;x=y")],
        *[(text, 5) for text in ("respond-async, wait=5", "wait=5,wait=9", "a=b; wait=3, wait=5")],
        *[("wait=0", 0), ("wait=11", MAX_SECONDS), ("wait=" + "9" * 20, MAX_SECONDS)],
        *[(text, None) for text in (None, "", "wait", "wait=", "wait=-1", "wait=1.5", "wait=5s")],
        *[(text, None) for text in ('wait="5', "wait=x, wait=5", "await=5", "wait=\u0665")],
        ("wait=" + "9" * 5000, None),
    ):
        assert preferred_seconds(prefer) == seconds, prefer


@given(st.text() | st.text().map("wait={}".format))
def test_any_prefer_header_is_understood_or_ignored(prefer: str) -> None:
    assert preferred_seconds(prefer) in {None, *range(MAX_SECONDS + 1)}


def test_prefer_headers_are_one_list() -> None:
    api = RestApi(scope=None)

    @api.get("/things/<thingId>")
    def get_thing(thingId: IdInPath, prefer: Prefer = None) -> ThingResponse:  # noqa: N803
        return ThingResponse(thing_id=preferred_seconds(prefer) or 0)

    headers = {"Prefer": ["respond-async", "x"], "prefer": ["wait=7"]}
    assert call(api, multiValueHeaders=headers)["json"] == {"thingId": 7}


def test_wait_looks_with_growing_pauses_and_for_the_last_time_when_it_is_over(clock: Clock) -> None:
    looks: list[float] = []
    wait_for(lambda: looks.append(clock.now), lambda _: False, MAX_SECONDS)

    assert looks[-1] == clock.now == MAX_SECONDS
    assert clock.pauses[0] == 0.05
    assert clock.pauses[:-1] == sorted(clock.pauses[:-1])
    assert max(clock.pauses) == 0.5
    assert len(looks) == 25, "docs/scaling.md states the reads of a wait"

    for seconds, is_done, expected in ((0, False, 1), (5, True, 1), (1, False, 7)):
        looks.clear()
        wait_for(lambda: looks.append(clock.now), lambda _, done=is_done: done, seconds)  # type: ignore[misc]
        assert len(looks) == expected


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@given(st.integers(1, MAX_ID))
def test_token_holds_the_id_of_the_last_item(last_id: int) -> None:
    token = encode_next_token(last_id)

    assert token is not None
    assert len(token) <= 64
    assert decode_next_token(token) == last_id
    assert (decode_next_token(None), encode_next_token(None)) == (None, None)


FORGED = ["", "=", "!", "ü", "x" * 64, "YWZ0ZXI6Nx", "YWZ0ZXI6Nw==", *map(token_of, (
    "", "after:", "after:0", "after:-1", "after:07", "after:7 ", "after:7\n", "after:\u0667",
    f"after:{MAX_ID + 1}", "before:7", '{"orderId": {"N": "7"}}',
))]  # fmt: skip


def test_forged_token_is_refused() -> None:
    for forged in FORGED:
        with pytest.raises(InvalidRequestError):
            pytest.fail(f"{forged!r} is {decode_next_token(forged)}")


@given(st.integers(0, 7), st.integers(1, 8))
def test_pages_of_a_slice_have_every_item_once(count: int, limit: int) -> None:
    items = [f"0000000{n}-0000-0000-0000-000000000000" for n in range(count)]

    found: list[str] = []
    token = None
    while True:
        page, token = slice_page(items, str, limit, token)
        assert len(page) == limit or token is None
        assert page or not items
        found += page
        if token is None:
            break

    assert found == items


def test_slice_refuses_a_token_of_another_list() -> None:
    items = ["00000001-0000-0000-0000-000000000000"]
    for other in ("00000002-0000-0000-0000-000000000000", "7"):
        with pytest.raises(InvalidRequestError):
            slice_page(items, str, 1, encode_next_token(other))
