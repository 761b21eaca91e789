"""An API with a token issuer."""

from __future__ import annotations

import pytest

from infra.local.api_client import ApiClient
from infra.local.stack import EmbeddedStack
from tests.e2e.test_saga import decided
from tests.issuer import STRANGERS_KEY, Issuer
from tests.stacks import local_stack_only
from tests.template import every_route

pytestmark = local_stack_only
EVERYTHING = "customers:read customers:write orders:read orders:write orderhistory:read"


@pytest.fixture
def base_url(token_stack: EmbeddedStack) -> str:
    return token_stack.base_url


def statuses(base_url: str, authorization: str | None) -> set[int]:
    """Return the statuses of all routes."""
    with ApiClient(base_url, authorization=authorization) as api:
        return {api.request(*route).status_code for route in every_route()}


def test_invalid_token_returns_401(base_url: str, issuer: Issuer) -> None:
    for authorization in (None, issuer.sign(scope=EVERYTHING, key=STRANGERS_KEY)):
        assert statuses(base_url, authorization) == {401}


def test_token_without_scopes_returns_403(base_url: str, issuer: Issuer) -> None:
    assert statuses(base_url, issuer.sign()) == {403}


def test_token_of_a_customer_reaches_only_the_orders_of_this_customer(
    base_url: str, issuer: Issuer
) -> None:
    of_all = issuer.sign(scope=f"{EVERYTHING} customers:all")
    with ApiClient(base_url, authorization=of_all) as anybody:
        jane, john = (anybody.create_customer(name, 5) for name in ("Jane Doe", "John Doe"))
    token = issuer.sign(scope=EVERYTHING, customer_id=jane)

    with ApiClient(base_url, authorization=token) as api:
        assert decided(api, api.create_order(jane, 4))["orderState"] == "APPROVED"
        for path, status in (
            (f"/customers/{jane}", 200),
            (f"/customers/{john}", 404),
            (f"/customers/{john}/orderhistory", 404),
            ("/customers", 403),
            ("/orders", 403),
        ):
            assert api.request("GET", path).status_code == status, path
