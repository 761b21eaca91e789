"""Callers and their permissions, from JSON Web Tokens of any OpenID Connect issuer.

The functions verify tokens themselves: an authorizer in front of them could be ignored by an emulator or left out
of a route.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from rest_api.signing_keys import SigningKeys
from shared.errors import DomainError, ForbiddenError, UnauthenticatedError
from shared.identifiers import MAX_ID

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures that need the issuer's private key. A shared secret (HS256) or no signature is not one."""
LEEWAY_SECONDS = 30
"""Maximum difference between the issuer's clock and this one."""
_SCOPE_CLAIMS = ("scope", "scp", "roles")
"""RFC 8693; Okta and Entra ID's delegated tokens; Entra ID's app-only tokens. The first one present counts."""


@dataclass(frozen=True)
class Caller:
    """The sender of a request: `scopes` None allows every operation; `all_customers` every customer's data."""

    issuer: str = ""
    subject: str = ""
    scopes: frozenset[str] | None = frozenset()
    customer_id: int | None = None
    all_customers: bool = False

    @property
    def identity(self) -> str:
        """A text that no two callers share. Idempotency keys are scoped by it."""
        return json.dumps([self.issuer, self.subject, self.customer_id])

    def check_scope(self, scope: str) -> None:
        """Raises: ForbiddenError unless the caller has the scope."""
        if self.scopes is not None and scope not in self.scopes:
            raise ForbiddenError(f"The token lacks the scope {scope}.")

    def may_see(self, customer_id: int) -> bool:
        """Return whether the caller may see the customer's data."""
        return self.all_customers or customer_id == self.customer_id

    def check_customer(self, customer_id: int, refusal: DomainError | None = None) -> None:
        """Raise `refusal`, or a ForbiddenError, unless the caller may see the customer's data."""
        if not self.may_see(customer_id):
            raise refusal or ForbiddenError("The token is not for this customer.")

    def check_all_customers(self) -> None:
        """Raises: ForbiddenError unless the caller may see the data of all customers."""
        if not self.all_customers:
            raise ForbiddenError("The token is not for all customers.")


def trusted_caller(event: Mapping[str, Any]) -> Caller:
    """Return the caller where no issuer is configured: API Gateway admitted the request, by IAM or to everyone."""
    # `caller` is `<id of the user or role>:<session>`. A retry may come from another session.
    principal = (event["requestContext"].get("identity") or {}).get("caller") or ""
    return Caller(subject=principal.partition(":")[0], scopes=None, all_customers=True)


class TokenVerifier:
    """Verifies access tokens of one issuer. A token is limited to its customer, or has a scope for all customers."""

    def __init__(
        self,
        issuer: str,
        audiences: Collection[str],
        *,
        scope_prefix: str = "",
        customer_claim: str = "customer_id",
        all_customers_scope: str = "customers:all",
    ) -> None:
        """`scope_prefix` precedes each scope in the token: `my-resource-server/` with Amazon Cognito."""
        self._issuer = issuer
        self._audiences = frozenset(audiences)
        self._scope_prefix = scope_prefix
        self._customer_claim = customer_claim
        self._all_customers_scope = all_customers_scope
        self._keys = SigningKeys(issuer)

    def verify(self, authorization: str | None) -> Caller:
        """Return the caller named by the Authorization header's bearer token.

        Raises: UnauthenticatedError if the token is missing, forged, expired, or for another audience, or has a
        claim of a wrong type; SigningKeysUnavailableError.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError("Send an Authorization header with a bearer token.")
        claims = self._verified_claims(token)
        if not self._audiences.intersection(_audiences(claims)):
            raise UnauthenticatedError("The token's audience does not match.")
        if claims.get("token_use", "access") != "access":  # Amazon Cognito's id tokens
            raise UnauthenticatedError("The token is not an access token.")
        scopes = self._scopes(claims)
        customer_id = self._customer_id(claims)
        return Caller(
            self._issuer,
            claims["sub"],
            scopes,
            customer_id,
            all_customers=customer_id is None and self._all_customers_scope in scopes,
        )

    def _verified_claims(self, token: str) -> dict[str, Any]:
        import jwt  # noqa: PLC0415, takes 0.1 seconds, and is needed only where an issuer is configured

        invalid = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except invalid as error:
            raise UnauthenticatedError("The token is not valid.") from error
        key = self._keys.find(key_id)
        if key is None:
            raise UnauthenticatedError("The token is not valid.")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "sub"], "verify_aud": False},
            )
        except invalid as error:
            raise UnauthenticatedError("The token is not valid.") from error

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        claim = next((name for name in _SCOPE_CLAIMS if name in claims), None)
        if claim is None:
            return frozenset()
        value = claims[claim]
        scopes = value.split() if isinstance(value, str) else _texts(value, claim)
        prefix = self._scope_prefix
        return frozenset(s.removeprefix(prefix) for s in scopes if s.startswith(prefix))

    def _customer_id(self, claims: Mapping[str, Any]) -> int | None:
        """Return the claim's id, a number or its digits. Any other value is an error, null included."""
        if self._customer_claim not in claims:
            return None
        value = claims[self._customer_claim]
        if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,18}", value):
            value = int(value)
        if type(value) is not int or not 1 <= value <= MAX_ID:  # not isinstance: True is an int
            raise UnauthenticatedError(
                f"The token's {self._customer_claim} is not a customer's id."
            )
        return value


def verifier_from_environment() -> TokenVerifier | None:
    """Return the verifier that the variables JWT_* describe; None without JWT_ISSUER: tokens are then ignored."""
    issuer = os.environ.get("JWT_ISSUER")
    if not issuer:
        return None
    return TokenVerifier(
        issuer,
        [
            audience.strip()
            for audience in os.environ["JWT_AUDIENCE"].split(",")
            if audience.strip()
        ],
        scope_prefix=os.environ.get("JWT_SCOPE_PREFIX", ""),
        customer_claim=os.environ.get("JWT_CUSTOMER_CLAIM") or "customer_id",
        all_customers_scope=os.environ.get("JWT_ALL_CUSTOMERS_SCOPE") or "customers:all",
    )


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    # Amazon Cognito's access tokens have no audience; they name the app client.
    claim = "client_id" if "aud" not in claims and "token_use" in claims else "aud"
    value = claims.get(claim)
    return [value] if isinstance(value, str) else _texts(value, claim)


def _texts(value: object, claim: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UnauthenticatedError(f"The token's {claim} is not a list of texts.")
    return value
