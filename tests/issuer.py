"""An OpenID Connect issuer on this machine: discovery and keys over HTTP, and tokens signed by it or by somebody else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "customers-and-orders"
KEY, STRANGERS_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
KEYS: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256"), KEY),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "HS256": b"a shared secret that is long enough",
}
"""A key for each algorithm, whose name is the key's id."""


class Issuer:
    """Publishes KEY, with the id 1, and KEYS at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key_requests = 0
        """How often the keys were asked for."""

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Issuer]:
        """The issuer answers inside the block."""
        keys = {"keys": [_public("1", "RS256", KEY), *(_public(a, a, KEYS[a]) for a in KEYS)]}

        class Documents(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asks_for_keys = self.path == "/keys"
                self.send_response(200)
                self.end_headers()
                document = keys if asks_for_keys else {"jwks_uri": f"{issuer.url}/keys"}
                self.wfile.write(json.dumps(document).encode())
                issuer.key_requests += asks_for_keys

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Documents)
        issuer = cls(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def sign(
        self, *, key: Any = KEY, algorithm: str = "RS256", key_id: str = "1", **claims: object
    ) -> str:
        """An Authorization header with a token that is good but for the claims and options given; `...` removes a claim."""
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "somebody", "exp": time.time() + 60}
        changed = {k: v for k, v in {**good, **claims}.items() if v is not ...}
        # Not jwt.encode, which refuses some claims.
        payload = json.dumps(changed).encode()
        return "Bearer " + jwt.api_jws.encode(payload, key, algorithm, headers={"kid": key_id})


def _public(key_id: str, algorithm: str, key: Any) -> dict[str, str]:
    """Return the public part of a key as JSON Web Key; a shared secret has none and is returned itself."""
    public = key if isinstance(key, bytes) else key.public_key()
    encoded = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(public))
    return {**encoded, "kid": key_id, "use": "sig", "alg": algorithm}
