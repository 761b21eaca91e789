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


def test_invalid_token_returns_401_and_one_without_scopes_403(
    base_url: str, issuer: Issuer
) -> None:
    forged = issuer.sign(scope=EVERYTHING, key=STRANGERS_KEY)
    for authorization, status in ((None, 401), (forged, 401), (issuer.sign(), 403)):
        assert statuses(base_url, authorization) == {status}


def test_customer_with_a_token_places_an_order(base_url: str, issuer: Issuer) -> None:
    of_all = issuer.sign(scope=f"{EVERYTHING} customers:all")
    with ApiClient(base_url, authorization=of_all) as anybody:
        jane = anybody.create_customer("Jane Doe", 5)
    token = issuer.sign(scope=EVERYTHING, customer_id=jane)

    with ApiClient(base_url, authorization=token) as api:
        assert decided(api, api.create_order(jane, 4))["orderState"] == "APPROVED"
