"""The public keys of an OpenID Connect issuer, cached."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jwt import PyJWK

LIFETIME_SECONDS = 15 * 60
"""How long a key that the issuer has withdrawn may still be accepted."""
FETCH_PAUSE_SECONDS = 30
"""Minimum time between two fetches, so that tokens with made-up key ids cannot cause one each."""
_TIMEOUT_SECONDS = 1
"""Of each socket operation. A fetch is two HTTP requests."""


class SigningKeysUnavailableError(Exception):
    """The issuer's keys could not be fetched."""


class SigningKeys:
    """Fetches the issuer's keys when one is first needed, then every 15 minutes or for an unknown key id."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys: dict[str | None, PyJWK] = {}
        self._fetched_at: float | None = None
        self._next_fetch_at = 0.0

    def find(self, key_id: str | None) -> PyJWK | None:
        """Return the key, or None if the issuer has no such key.

        Raises: SigningKeysUnavailableError if the last fetch failed and no keys younger than 15 minutes are cached.
        """
        now = time.monotonic()
        is_fresh = self._fetched_at is not None and now < self._fetched_at + LIFETIME_SECONDS
        if (not is_fresh or key_id not in self._keys) and now >= self._next_fetch_at:
            self._next_fetch_at = now + FETCH_PAUSE_SECONDS
            try:
                self._keys, self._fetched_at, is_fresh = self._fetch(), now, True
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                if not is_fresh:
                    raise SigningKeysUnavailableError(self._issuer) from error
        if not is_fresh:
            raise SigningKeysUnavailableError(self._issuer)
        return self._keys.get(key_id)

    def _fetch(self) -> dict[str | None, PyJWK]:
        from jwt import PyJWK  # noqa: PLC0415, imported only where an issuer is configured
        from jwt.exceptions import PyJWTError  # noqa: PLC0415

        # Source: OpenID Connect Discovery 1.0, section 4.
        discovery = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        keys = {}
        for key in _get(discovery["jwks_uri"])["keys"]:
            if key.get("use", "sig") == "sig":
                try:
                    keys[key.get("kid")] = PyJWK(key)
                except PyJWTError:
                    continue  # of a kind that no accepted signature uses
        return keys


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310, not from a request
        return json.load(response)
