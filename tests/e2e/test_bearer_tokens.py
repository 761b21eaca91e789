"""An API with a token issuer: over HTTP, before an emulator that knows nothing of tokens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from infra.local.api_client import ApiClient
from infra.local.stack import EmbeddedStack
from tests.e2e.test_saga import decided
from tests.issuer import STRANGERS_KEY, Issuer
from tests.template import every_route

pytestmark = pytest.mark.skipif(
    "E2E_BASE_URL" in os.environ, reason="has a stack of its own, and not the one at E2E_BASE_URL"
)
EVERYTHING = "customers:read customers:write orders:read orders:write orderhistory:read"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer.running() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def base_url(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("stack")
    with EmbeddedStack.start(directory=directory, parameters={"JwtIssuer": issuer.url}) as stack:
        yield stack.base_url


def statuses(base_url: str, authorization: str | None) -> dict[str, int]:
    """The status that each route answers."""
    with ApiClient(base_url, authorization=authorization) as api:
        return {
            f"{method} {path}": api.request(method, path).status_code
            for method, path in every_route()
        }


@pytest.mark.parametrize(
    "claims",
    [None, {"exp": time.time() - 60}, {"aud": "another"}, {"iss": "x"}, {"key": STRANGERS_KEY}],
    ids=["none", "expired", "for another audience", "of another issuer", "forged"],
)
def test_no_route_answers_without_a_good_token(
    base_url: str, issuer: Issuer, claims: dict[str, object] | None
) -> None:
    token = None if claims is None else issuer.sign(scope=EVERYTHING, **claims)  # type: ignore[arg-type]

    assert set(statuses(base_url, token).values()) == {401}


@pytest.mark.parametrize("path", ["/health", "/", "/assets/console.js", "/docs", "/openapi.json"])
def test_health_and_the_consoles_files_need_no_token(base_url: str, path: str) -> None:
    with ApiClient(base_url) as stranger:
        assert stranger.request("GET", path).status_code == 200


def test_no_route_answers_a_token_that_allows_nothing(base_url: str, issuer: Issuer) -> None:
    assert set(statuses(base_url, issuer.sign()).values()) == {403}


def test_a_customers_token_makes_and_sees_that_customers_orders_only(
    base_url: str, issuer: Issuer
) -> None:
    with ApiClient(
        base_url, authorization=issuer.sign(scope=f"{EVERYTHING} customers:all")
    ) as anybody:
        jane, john = (anybody.create_customer(name, 5) for name in ("Jane Doe", "John Doe"))
    token = issuer.sign(scope=EVERYTHING, customer_id=jane)

    with ApiClient(base_url, authorization=token) as api:
        order = decided(api, api.create_order(jane, 4))
        own = api.request("GET", f"/customers/{jane}")
        others = [
            api.request("GET", f"/customers/{john}"),
            api.request("GET", f"/customers/{john}/orderhistory"),
            api.request("GET", "/customers"),
            api.request("GET", "/orders"),
        ]

    assert order["orderState"] == "APPROVED"
    assert own.status_code == 200
    assert [response.status_code for response in others] == [404, 404, 403, 403]
