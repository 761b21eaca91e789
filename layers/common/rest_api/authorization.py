"""Who is calling, and what they may do: JSON Web Tokens of any OpenID Connect issuer.

The functions check tokens themselves. An authorizer in front of them could be passed by where an emulator
ignores it, or a route forgets to name it.
"""

from __future__ import annotations

import json
import os
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.errors import ForbiddenError, UnauthenticatedError

if TYPE_CHECKING:
    from jwt import PyJWKClient

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures that need the issuer's private key. With a shared secret (HS256) or none, anybody could sign."""
_KEYS_LIFETIME_SECONDS = 15 * 60
_TIMEOUT_SECONDS = 3
_LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours."""


@dataclass(frozen=True)
class Caller:
    """Whoever makes a request. `scopes` None allows everything; so does `customer_id` None, for all customers."""

    scopes: frozenset[str] | None = None
    customer_id: int | None = None

    def check_scope(self, scope: str) -> None:
        """Raises: ForbiddenError unless the caller has the scope."""
        if self.scopes is not None and scope not in self.scopes:
            raise ForbiddenError(f"The token lacks the scope {scope}.")

    def check_customer(self, customer_id: int) -> None:
        """Raises: ForbiddenError if the caller is another customer."""
        if self.customer_id not in (None, customer_id):
            raise ForbiddenError("The token is for another customer.")

    def check_all_customers(self) -> None:
        """Raises: ForbiddenError if the caller is one customer, who must not see the others."""
        if self.customer_id is not None:
            raise ForbiddenError("The token is for one customer only.")


ANYBODY = Caller()
"""The caller where no issuer is configured: API Gateway has let the request through, by IAM or to anybody."""


class TokenVerifier:
    """Verifies access tokens of one issuer for one audience. Keeps the issuer's keys for 15 minutes."""

    def __init__(self, issuer: str, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience

    def verify(self, authorization: str | None) -> Caller:
        """The caller that the Authorization header's bearer token speaks for.

        A claim `customer_id` limits the token to that customer.
        Raises: UnauthenticatedError if the token is missing, forged, expired, or meant for somebody else.
        """
        # A tenth of a second to import, and nobody needs it who has no issuer.
        import jwt  # noqa: PLC0415

        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise UnauthenticatedError("Send an Authorization header with a bearer token.")
        try:
            claims = jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=_ALGORITHMS,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "sub"], "verify_aud": False},
            )
        except jwt.PyJWKClientConnectionError:
            raise  # the issuer does not answer: our failure, not the caller's
        except jwt.PyJWTError as error:
            raise UnauthenticatedError("The token is not valid.") from error
        if self._audience not in _audiences(claims):
            raise UnauthenticatedError("The token is meant for somebody else.")
        return Caller(_scopes(claims), _customer_id(claims))

    @cached_property
    def _keys(self) -> PyJWKClient:
        import jwt  # noqa: PLC0415

        # Source: OpenID Connect Discovery 1.0, section 4.
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310, configured, not given
            configuration = json.load(response)
        return jwt.PyJWKClient(
            configuration["jwks_uri"],
            cache_jwk_set=True,
            lifespan=_KEYS_LIFETIME_SECONDS,
            timeout=_TIMEOUT_SECONDS,
        )


def verifier_from_environment() -> TokenVerifier | None:
    """The verifier for JWT_ISSUER and JWT_AUDIENCE; None where no issuer is set, and tokens play no part."""
    issuer = os.environ.get("JWT_ISSUER")
    return TokenVerifier(issuer, os.environ["JWT_AUDIENCE"]) if issuer else None


def _audiences(claims: dict[str, Any]) -> list[str]:
    # Amazon Cognito's access tokens have no audience, but name the client.
    audience = claims.get("aud", claims.get("client_id", []))
    return [audience] if isinstance(audience, str) else audience


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    scopes = claims.get("scope", claims.get("scp", ""))  # RFC 8693; Okta and Entra ID say scp
    return frozenset(scopes.split() if isinstance(scopes, str) else scopes)


def _customer_id(claims: dict[str, Any]) -> int | None:
    if "customer_id" not in claims:
        return None
    try:
        return int(claims["customer_id"])
    except (TypeError, ValueError) as error:
        raise UnauthenticatedError("The token's customer_id is no number.") from error
