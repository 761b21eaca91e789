"""Tokens of a real issuer: discovery, keys and signatures over HTTP on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from customers.repository import CustomerRepository
from functions.orders import api as handler
from messaging.domain_event import Cause
from orders import service
from orders.repository import OrderRepository
from rest_api.authorization import ANYBODY, Caller, TokenVerifier
from shared.errors import ForbiddenError, UnauthenticatedError
from shared.money import Money
from tests.integration.api import send
from tests.issuer import AUDIENCE, STRANGERS_KEY, Issuer


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer.running() as issuer:
        yield issuer


def test_a_token_gives_its_scopes_and_its_customer(issuer: Issuer) -> None:
    verifier = TokenVerifier(issuer.url, AUDIENCE)

    caller = verifier.verify(issuer.sign(scope="orders:read orders:write", customer_id="7"))

    assert caller == Caller(frozenset({"orders:read", "orders:write"}), 7)
    assert verifier.verify(issuer.sign()) == Caller(frozenset(), None)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"aud": "somebody-else"},
        {"aud": None},
        {"iss": "https://issuer.example"},
        {"key": STRANGERS_KEY},
        {"key": "a shared secret that is long enough", "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
        {"customer_id": "everybody"},
    ],
)
def test_a_token_that_is_not_good_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        TokenVerifier(issuer.url, AUDIENCE).verify(issuer.sign(**claims))


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer nonsense", "Basic dTpw", "Bearer a.b.c"]
)
def test_what_is_no_token_is_refused(issuer: Issuer, header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        TokenVerifier(issuer.url, AUDIENCE).verify(header)


def test_the_issuers_keys_are_asked_for_once() -> None:
    with Issuer.running() as issuer:
        verifier = TokenVerifier(issuer.url, AUDIENCE)
        for _ in range(3):
            verifier.verify(issuer.sign())

        assert issuer.key_requests == 1


def test_a_signature_that_was_tampered_with_is_refused(issuer: Issuer) -> None:
    head, _, signature = issuer.sign().rsplit(".", 2)
    payload = issuer.sign(scope="orders:write").rsplit(".", 2)[1]

    with pytest.raises(UnauthenticatedError):
        TokenVerifier(issuer.url, AUDIENCE).verify(f"{head}.{payload}.{signature}")


def test_a_caller_without_limits_may_everything() -> None:
    ANYBODY.check_scope("orders:write")
    ANYBODY.check_customer(7)
    ANYBODY.check_all_customers()


def test_a_caller_may_only_what_the_scopes_allow() -> None:
    with pytest.raises(ForbiddenError):
        Caller(frozenset({"orders:read"})).check_scope("orders:write")


class TestOrdersApi:
    """The handler with an issuer configured."""

    @pytest.fixture(autouse=True)
    def _issuer_is_configured(self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handler.api, "_verifier", TokenVerifier(issuer.url, AUDIENCE))
        monkeypatch.setattr(handler.api, "caller", ANYBODY)

    def test_nobody_gets_in_without_a_token(self, orders: OrderRepository) -> None:
        answer = send(handler, "orders_api_list", headers={"Authorization": None})

        answer.problem(401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_reading_needs_the_scope_for_reading(
        self, orders: OrderRepository, issuer: Issuer
    ) -> None:
        reader = {"Authorization": issuer.sign(scope="orders:read")}
        writer = {"Authorization": issuer.sign(scope="orders:write")}

        assert send(handler, "orders_api_list", headers=reader).status == 200
        send(handler, "orders_api_list", headers=writer).problem(403, "forbidden")
        send(handler, "orders_api_create", headers=reader).problem(403, "forbidden")

    def test_a_customers_token_is_good_for_that_customer_only(
        self, customers: CustomerRepository, orders: OrderRepository, issuer: Issuer
    ) -> None:
        order_id = service.create_order(orders, 7, Money(100), Cause("request"))
        ids = {"orderId": order_id}
        scope = "orders:read orders:write"
        owner = {"Authorization": issuer.sign(scope=scope, customer_id=7)}
        other = {"Authorization": issuer.sign(scope=scope, customer_id=8)}

        assert send(handler, "orders_api_get", headers=owner, path_parameters=ids).status == 200
        for sample in ("orders_api_get", "orders_api_cancel"):
            answer = send(handler, sample, headers=other, path_parameters=ids)
            answer.problem(403, "forbidden")
        send(handler, "orders_api_create", headers=other).problem(403, "forbidden")
        send(handler, "orders_api_list", headers=owner).problem(403, "forbidden")

    def test_an_issuer_out_of_reach_is_our_failure_and_lets_nobody_in(
        self, orders: OrderRepository, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nowhere = TokenVerifier("http://127.0.0.1:1", AUDIENCE)
        monkeypatch.setattr(handler.api, "_verifier", nowhere)

        answer = send(handler, "orders_api_list", headers={"Authorization": issuer.sign()})

        answer.problem(500, "unexpected-error")
