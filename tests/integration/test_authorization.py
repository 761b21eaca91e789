"""Tokens of a real issuer: discovery, keys and signatures over HTTP on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from unittest.mock import Mock

import boto3
import jwt
import pytest

from customers.customer import Customer
from customers.repository import CustomerRepository
from functions.customers import api as customers_api
from functions.order_history import api as order_history_api
from functions.orders import api as orders_api
from order_history.projection import Projected
from order_history.queries import OrderHistoryQueries
from order_history.view import OrderHistoryView
from orders.order import Order
from orders.repository import OrderRepository
from rest_api.authorization import Caller, TokenVerifier, trusted_caller, verifier_from_environment
from rest_api.signing_keys import SigningKeysUnavailableError
from shared.clock import now
from shared.errors import ForbiddenError, UnauthenticatedError
from shared.identifiers import MAX_ID
from shared.money import Money
from tests.clock import Clock
from tests.integration.api import send
from tests.integration.tables import insert_customer, insert_order, published
from tests.issuer import AUDIENCE, KEYS, STRANGERS_KEY, Issuer
from tests.samples import JANE, ORDER, load, samples, wrap
from tests.template import function_of, handler_of

EVERYTHING = "customers:read customers:write orders:read orders:write orderhistory:read"
SEARCH = "order_history_api_search"

APIS = ("CustomersApiFunction", "OrdersApiFunction", "OrderHistoryApiFunction")
OF_ROUTES = {
    (load(sample)["httpMethod"], load(sample)["resource"]): sample
    for sample in reversed(samples())
    if function_of(sample) in APIS
}
REQUESTS = list(OF_ROUTES.values())
"""The first sample of each route."""
OF_ONE_CUSTOMER = sorted(
    (sample for sample in REQUESTS if load(sample)["pathParameters"]),
    key=lambda sample: "erase" in sample,  # last
)
OTHERS = {"orders_api_create", SEARCH}
"""Requests whose customer is not in the path. Each has a test of its own."""
OF_ALL = [sample for sample in REQUESTS if sample not in (*OF_ONE_CUSTOMER, *OTHERS)]


@pytest.fixture(scope="module")
def verifier(issuer: Issuer) -> TokenVerifier:
    return TokenVerifier(issuer.url, [AUDIENCE])


# Claims as the documentation of each product shows them.
TOKENS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "Amazon Cognito": (
        {"JWT_AUDIENCE": "7client", "JWT_SCOPE_PREFIX": "shop/", "JWT_CUSTOMER_CLAIM": "custom:id"},
        {
            "aud": ...,
            "client_id": "7client",
            "token_use": "access",
            "version": 2,
            "scope": "openid shop/orders:read orders:write",
            "custom:id": "7",
        },
    ),
    "Auth0": (
        {"JWT_CUSTOMER_CLAIM": "https://shop.example/customer_id"},
        {
            "aud": [AUDIENCE, "https://tenant.eu.auth0.com/userinfo"],
            "azp": "client",
            "scope": "openid profile orders:read",
            "https://shop.example/customer_id": 7,
        },
    ),
    "Okta": (
        {"JWT_AUDIENCE": f"api://default, {AUDIENCE}"},
        {"aud": "api://default", "ver": 1, "cid": "0oa", "scp": ["orders:read"], "customer_id": 7},
    ),
    "Keycloak": (
        {},
        {
            "aud": ["account", AUDIENCE],
            "typ": "Bearer",
            "azp": "client",
            "customer_id": "7",
            "realm_access": {"roles": ["orders:write"]},
            "scope": "openid email orders:read",
        },
    ),
    "Entra ID, delegated": (
        {"JWT_AUDIENCE": "00000000-aaaa"},
        {
            "aud": "00000000-aaaa",
            "ver": "2.0",
            "scp": "orders:read",
            "roles": ["orders:write"],
            "customer_id": "7",
        },
    ),
    "Entra ID, app only": (
        {"JWT_ALL_CUSTOMERS_SCOPE": "everyone"},
        {"idtyp": "app", "oid": "somebody", "roles": ["orders:read", "everyone"]},
    ),
    "RFC 9068, app only": ({}, {"client_id": "client", "scope": "orders:read customers:all"}),
}


def test_tokens_of_well_known_issuers_are_understood(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ISSUER", issuer.url)
    for product, (variables, claims) in TOKENS.items():
        with monkeypatch.context() as patch:
            for name, value in {"JWT_AUDIENCE": AUDIENCE, **variables}.items():
                patch.setenv(name, value)
            verifier = verifier_from_environment()
        assert verifier is not None

        caller = verifier.verify(issuer.sign(**claims))

        assert caller.scopes is not None, product
        assert {s for s in caller.scopes if s.startswith("orders")} == {"orders:read"}, product
        limits = (None, True) if product.endswith("app only") else (7, False)
        assert (caller.customer_id, caller.all_customers) == limits, product
        assert (caller.issuer, caller.subject) == (issuer.url, "somebody")


NOT_SCOPES: list[object] = [None, 7, [7], {"a": 1}]
NOT_IDS: list[object] = [
    *(None, True, False, 1.9, 7.0, float("inf"), float("nan"), 0, -1, 2**63, [7], {}),
    *("", "0", "-1", "07", "1_0", " 7", "7\n", "7.0", "\u0667", "7\u0667", "9" * 400, "everyone"),
]
BAD_VALUES: dict[str, list[object]] = {
    "exp": [1, ..., None, float("inf"), "soon", [], time.time() - 40],
    "nbf": [float("inf"), "soon", time.time() + 100_000],
    "sub": [..., None, 7],
    "aud": [..., None, "another", [], 7, [7], {AUDIENCE: 1}, [AUDIENCE, 7]],
    "iss": [..., None, "https://issuer.example", 7],
    "token_use": ["id", None],
    "scope": NOT_SCOPES,
    "scp": NOT_SCOPES,
    "roles": NOT_SCOPES,
    "customer_id": NOT_IDS,
}


def test_bad_claim_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    bad: list[dict[str, Any]] = [
        {claim: value} for claim, values in BAD_VALUES.items() for value in values
    ]
    bad += [{"aud": ..., "client_id": value} for value in (AUDIENCE, None)]
    bad.append({"aud": "another", "client_id": AUDIENCE, "token_use": "access"})
    bad += [{"customer_id": value, "scope": "customers:all"} for value in NOT_IDS]
    assert verifier.verify(issuer.sign(scope="a b")).scopes == frozenset({"a", "b"})
    for claims in bad:
        (claim, *_) = claims
        text = claim if claim in {"aud", "scope", "scp", "roles", "customer_id"} else "token"
        with pytest.raises(UnauthenticatedError, match=text):
            pytest.fail(f"{claims}: {verifier.verify(issuer.sign(**claims))}")


def test_customers_id_is_a_number_or_its_digits_up_to_the_largest_id(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    for value in (1, "1", MAX_ID, str(MAX_ID)):
        assert verifier.verify(issuer.sign(customer_id=value)).customer_id == int(value)


def test_signatures_that_need_a_private_key_are_accepted_and_no_shared_secret(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    for algorithm, key in KEYS.items():
        header = issuer.sign(key=key, algorithm=algorithm, key_id=algorithm)
        if algorithm == "HS256":
            with pytest.raises(UnauthenticatedError):
                verifier.verify(header)
        else:
            assert verifier.verify(header).subject == "somebody", algorithm


def test_bad_signature_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    head, payload, signature = issuer.sign().removeprefix("Bearer ").split(".")
    other = issuer.sign(scope="orders:write").split(".")[1]
    nested = jwt.utils.base64url_encode(b'{"alg":' + b"[" * 5000 + b"]" * 5000 + b"}").decode()
    headers = [
        issuer.sign(key=STRANGERS_KEY),
        issuer.sign(key="a shared secret that is long enough", algorithm="HS256"),
        issuer.sign(key=None, algorithm="none"),
        *(f"Bearer {t}" for t in (f"{head}.{other}.{signature}", f"{nested}.{payload}.x", "a.b.c")),
        *(f"{scheme} {head}.{payload}.{signature}" for scheme in ("", "Basic", "Token")),
        *(None, "", "Bearer", "Bearer ", "Bearer nonsense"),
        *(issuer.sign(key_id=key_id) for key_id in ("2", "")),
    ]
    for header in headers:
        with pytest.raises(UnauthenticatedError):
            pytest.fail(f"{header}: {verifier.verify(header)}")


def test_clocks_may_differ_by_thirty_seconds_and_the_scheme_has_any_case(
    issuer: Issuer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 1_800_000_000
    monkeypatch.setattr(
        jwt.api_jwt, "datetime", Mock(now=lambda tz: datetime.fromtimestamp(at, tz))
    )
    good: dict[str, Any] = {"exp": at + 60}
    for claims in ({"exp": at - 29}, {**good, "nbf": at + 30}):
        header = issuer.sign(**claims).replace("Bearer", "bEARER")
        assert verifier.verify(header).subject == "somebody"
    for claims in ({"exp": at - 30}, {**good, "nbf": at + 31}):
        with pytest.raises(UnauthenticatedError):
            verifier.verify(issuer.sign(**claims))


def test_callers_are_nobody_until_they_are_identified() -> None:
    nobody = Caller()

    assert nobody == Caller("", "", frozenset(), None, all_customers=False)
    assert nobody.all_customers is False
    checks: list[Callable[[], None]] = [
        *(lambda: nobody.check_scope("orders:read"), lambda: nobody.check_customer(1)),
        nobody.check_all_customers,
    ]
    for check in checks:
        with pytest.raises(ForbiddenError):
            check()


def test_caller_without_an_issuer_is_the_iam_user_or_role_in_any_session() -> None:
    callers = {"AROAONE:session": "AROAONE", "A:b:c": "A", "AIDAONE": "AIDAONE", None: ""}
    for caller, subject in callers.items():
        event = {"requestContext": {"identity": {"caller": caller}}}
        expected = Caller(subject=subject, scopes=None, all_customers=True)
        assert trusted_caller(event) == expected, caller
    assert trusted_caller({"requestContext": {}}) == expected


def test_customers_token_is_limited_even_with_the_scope_for_all(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    caller = verifier.verify(issuer.sign(scope="customers:all", customer_id=7))

    assert (caller.customer_id, caller.all_customers) == (7, False)


def test_keys_are_fetched_once_and_again_for_an_unknown_key_after_a_pause() -> None:
    with Issuer.running() as issuer:
        verifier = TokenVerifier(issuer.url, [AUDIENCE])
        for key_id in ("1", "unknown", "another", "1"):
            try:
                verifier.verify(issuer.sign(key_id=key_id))
            except UnauthenticatedError:
                assert key_id != "1"
        assert issuer.key_requests == 1
        verifier._keys._next_fetch_at = 0.0  # the pause is over
        verifier.verify(issuer.sign())
        assert issuer.key_requests == 1
        with pytest.raises(UnauthenticatedError):
            verifier.verify(issuer.sign(key_id="unknown"))
        assert issuer.key_requests == 2


def test_unreachable_issuer_is_asked_once_per_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    with Issuer.running() as issuer:
        token = issuer.sign()
        verifier, late = (TokenVerifier(issuer.url, [AUDIENCE]) for _ in range(2))
        verifier.verify(token)
    verifier._keys._next_fetch_at = 0.0
    assert verifier.verify(token).subject == "somebody", "the keys are cached"
    fetch = Mock(side_effect=late._keys._fetch)
    monkeypatch.setattr(late._keys, "_fetch", fetch)
    for _ in range(3):
        with pytest.raises(SigningKeysUnavailableError):
            late.verify(token)
    assert fetch.call_count == 1
    verifier._keys._fetched_at = -1e9  # older than the lifetime of keys
    with pytest.raises(SigningKeysUnavailableError):
        verifier.verify(token)


class TestApis:
    """The handlers with an issuer configured, Jane and her order in the tables and in the view."""

    @pytest.fixture(autouse=True)
    def _janes_order(
        self,
        customers: CustomerRepository,
        orders: OrderRepository,
        view: OrderHistoryView,
        verifier: TokenVerifier,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for handler in (customers_api, orders_api, order_history_api):
            monkeypatch.setattr(handler.api, "verifier", verifier)
        monkeypatch.setattr(order_history_api, "view", OrderHistoryQueries(view.connection))
        insert_customer(customers)
        insert_order(orders)
        for outbox in ("CustomersOutbox", "OrdersOutbox"):
            view.project(
                [
                    Projected(event, now(), 1)
                    for event in published(boto3.client("dynamodb"), outbox)
                ]
            )

    def test_request_without_token_returns_401(self) -> None:
        for sample in REQUESTS:
            answer = send(handler_of(function_of(sample)), sample, headers={"Authorization": None})
            answer.problem(401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_token_without_the_scope_returns_403(self, issuer: Issuer) -> None:
        for sample in REQUESTS:
            handler = handler_of(function_of(sample))
            is_read = load(sample)["httpMethod"] == "GET"
            scopes = EVERYTHING.replace("read" if is_read else "write", "other")
            token = issuer.sign(scope=f"{scopes} customers:all")
            send(handler, sample, headers={"Authorization": token}).problem(403, "forbidden")

    def test_another_customers_data_looks_like_missing_data(
        self, issuer: Issuer, clock: Clock
    ) -> None:
        strangers = [issuer.sign(scope=EVERYTHING, customer_id=8), issuer.sign(scope=EVERYTHING)]
        owner = issuer.sign(scope=EVERYTHING, customer_id=JANE)
        for sample in OF_ONE_CUSTOMER:
            handler = handler_of(function_of(sample))
            ((name, existing),) = load(sample)["pathParameters"].items()
            for token in strangers:
                waiting = {"headers": {"Authorization": token, "Prefer": "wait=3"}}
                for asked in (
                    {"headers": {"Authorization": token}},
                    waiting,
                    waiting | {"query": {"minVersion": 1}},
                    waiting | {"query": {"minVersion": 9}},
                ):
                    clock.now = 0
                    refused = send(handler, sample, **asked)
                    waited, clock.now = clock.now, 0
                    missing = send(handler, sample, **asked, path_parameters={name: 9})
                    assert refused.status == 404, (
                        f"{handler.__file__}: the route of {sample} checks the caller's customer"
                    )
                    assert refused.text.replace(existing, "9") == missing.text
                    assert waited == clock.now
            found = send(handler, sample, headers={"Authorization": owner})
            assert found.status in (200, 204, 409), found.text  # 409: the order is PENDING

    def test_only_the_scope_for_all_customers_allows_lists_and_new_customers(
        self, issuer: Issuer
    ) -> None:
        for sample in OF_ALL:
            handler = handler_of(function_of(sample))
            for customer_id in (..., JANE):
                token = issuer.sign(scope=EVERYTHING, customer_id=customer_id)
                headers = {"Authorization": token}
                send(handler, sample, headers=headers).problem(403, "forbidden")
            token = issuer.sign(scope=f"{EVERYTHING} customers:all")
            assert send(handler, sample, headers={"Authorization": token}).status == 200

    def test_search_finds_only_what_the_caller_may_see(
        self, issuer: Issuer, view: OrderHistoryView
    ) -> None:
        _, twin = Customer.create(8, "Jane Doe", Money(500))
        _, order = Order.create(80, 8, Money(410))
        view.project([Projected(wrap(event), now()) for event in (twin, order)])

        def search(
            q: str, token: str | None = None, scope: str = EVERYTHING, **claims: Any
        ) -> tuple[set[int], str]:
            query = {"q": q, "limit": 2} | ({"nextToken": token} if token else {})
            headers = {"Authorization": issuer.sign(scope=scope, **claims)}
            page = send(order_history_api, SEARCH, query=query, headers=headers).json
            ids = {hit.get("orderId", hit["customerId"]) for hit in page["hits"]}
            return ids, page["nextToken"]

        of_all = f"{EVERYTHING} customers:all"
        for q in ("jane", "pending", "doe 4.1", str(JANE), str(ORDER)):
            first, token = search(q, scope=of_all)
            rest, _ = search(q, token, of_all) if token else (set(), None)
            for customer_id, own in ((JANE, {JANE, ORDER}), (8, {8, 80}), (9, set())):
                assert search(q, customer_id=customer_id)[0] == (first | rest) & own
                if token:
                    assert search(q, token, customer_id=customer_id)[0] <= own
        assert search("jane", scope=of_all)[0] == {JANE, 8}
        headers = {"Authorization": issuer.sign(scope=EVERYTHING)}
        send(order_history_api, SEARCH, headers=headers).problem(403, "forbidden")

    def test_customer_creates_orders_only_for_itself(self, issuer: Issuer) -> None:
        for customer_id, status in ((JANE, 200), (8, 403), (..., 403)):
            headers = {"Authorization": issuer.sign(scope=EVERYTHING, customer_id=customer_id)}
            assert send(orders_api, "orders_api_create", headers=headers).status == status

    def test_idempotency_keys_of_two_callers_are_apart(
        self, issuer: Issuer, orders: OrderRepository
    ) -> None:
        tokens = [
            issuer.sign(scope=EVERYTHING, customer_id=JANE),
            issuer.sign(scope=EVERYTHING, customer_id=JANE, sub="another"),
            issuer.sign(scope=f"{EVERYTHING} customers:all"),
        ]
        ids = [
            send(orders_api, "orders_api_create", headers={"Authorization": token}).json["orderId"]
            for token in tokens * 2
        ]

        assert ids[:3] == ids[3:]
        assert len(set(ids)) == 3
        assert all(orders.find(order_id) for order_id in ids)
