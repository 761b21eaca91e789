"""Tokens of a real issuer: discovery, keys and signatures over HTTP on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from authorization import ANYBODY, Caller, TokenVerifier
from customers.dynamodb import CustomerRepository
from functions.orders_api import handler
from messaging.domain_event import Cause
from orders import service
from orders.dynamodb import OrderRepository
from shared.errors import ForbiddenError, UnauthenticatedError
from shared.money import Money
from tests.integration.api import send

AUDIENCE = "customers-and-orders"
KEY, STRANGERS_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
Sign = Callable[..., str]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of an OpenID Connect issuer that publishes KEY."""
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))

    class Documents(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = (
                {"jwks_uri": f"{url}/keys"}
                if self.path == "/.well-known/openid-configuration"
                else {"keys": [{**public, "kid": "1", "use": "sig", "alg": "RS256"}]}
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Documents)
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url
    server.shutdown()
    server.server_close()


@pytest.fixture
def sign(issuer: str) -> Sign:
    """Makes an Authorization header with a token that is good but for the claims and options given."""

    def sign(*, key: Any = KEY, algorithm: str = "RS256", **claims: object) -> str:
        good = {"iss": issuer, "aud": AUDIENCE, "sub": "somebody", "exp": time.time() + 60}
        changed = {k: v for k, v in {**good, **claims}.items() if v is not None}
        return "Bearer " + jwt.encode(changed, key, algorithm, headers={"kid": "1"})

    return sign


def test_a_token_gives_its_scopes_and_its_customer(issuer: str, sign: Sign) -> None:
    verifier = TokenVerifier(issuer, AUDIENCE)

    caller = verifier.verify(sign(scope="orders:read orders:write", customer_id="7"))

    assert caller == Caller(frozenset({"orders:read", "orders:write"}), 7)
    assert verifier.verify(sign()) == Caller(frozenset(), None)


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
def test_a_token_that_is_not_good_is_refused(
    issuer: str, sign: Sign, claims: dict[str, Any]
) -> None:
    with pytest.raises(UnauthenticatedError):
        TokenVerifier(issuer, AUDIENCE).verify(sign(**claims))


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer nonsense", "Basic dTpw", "Bearer a.b.c"]
)
def test_what_is_no_token_is_refused(issuer: str, header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        TokenVerifier(issuer, AUDIENCE).verify(header)


def test_a_signature_that_was_tampered_with_is_refused(issuer: str, sign: Sign) -> None:
    head, _, signature = sign().rsplit(".", 2)
    payload = sign(scope="orders:write").rsplit(".", 2)[1]

    with pytest.raises(UnauthenticatedError):
        TokenVerifier(issuer, AUDIENCE).verify(f"{head}.{payload}.{signature}")


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
    def _issuer_is_configured(self, issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handler.api, "_verifier", TokenVerifier(issuer, AUDIENCE))
        monkeypatch.setattr(handler.api, "caller", ANYBODY)

    def test_nobody_gets_in_without_a_token(self, orders: OrderRepository) -> None:
        answer = send(handler, "orders_api_list", headers={"Authorization": None})

        answer.problem(401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_reading_needs_the_scope_for_reading(self, orders: OrderRepository, sign: Sign) -> None:
        reader = {"Authorization": sign(scope="orders:read")}
        writer = {"Authorization": sign(scope="orders:write")}

        assert send(handler, "orders_api_list", headers=reader).status == 200
        send(handler, "orders_api_list", headers=writer).problem(403, "forbidden")
        send(handler, "orders_api_create", headers=reader).problem(403, "forbidden")

    def test_a_customers_token_is_good_for_that_customer_only(
        self, customers: CustomerRepository, orders: OrderRepository, sign: Sign
    ) -> None:
        order_id = service.create_order(orders, 7, Money(100), Cause("request"))
        ids = {"orderId": order_id}
        scope = "orders:read orders:write"
        owner = {"Authorization": sign(scope=scope, customer_id=7)}
        other = {"Authorization": sign(scope=scope, customer_id=8)}

        assert send(handler, "orders_api_get", headers=owner, path_parameters=ids).status == 200
        for sample in ("orders_api_get", "orders_api_cancel"):
            answer = send(handler, sample, headers=other, path_parameters=ids)
            answer.problem(403, "forbidden")
        send(handler, "orders_api_create", headers=other).problem(403, "forbidden")
        send(handler, "orders_api_list", headers=owner).problem(403, "forbidden")

    def test_an_issuer_out_of_reach_is_our_failure_and_lets_nobody_in(
        self, orders: OrderRepository, sign: Sign, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nowhere = TokenVerifier("http://127.0.0.1:1", AUDIENCE)
        monkeypatch.setattr(handler.api, "_verifier", nowhere)

        answer = send(handler, "orders_api_list", headers={"Authorization": sign()})

        answer.problem(500, "unexpected-error")
