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
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "customers-and-orders"
KEY, STRANGERS_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))


class Issuer:
    """Publishes KEY at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key_requests = 0
        """How often the keys were asked for."""

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Issuer]:
        """The issuer answers inside the block."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        keys = {"keys": [{**public, "kid": "1", "use": "sig", "alg": "RS256"}]}

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

    def sign(self, *, key: Any = KEY, algorithm: str = "RS256", **claims: object) -> str:
        """An Authorization header with a token that is good but for the claims and options given."""
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "somebody", "exp": time.time() + 60}
        changed = {k: v for k, v in {**good, **claims}.items() if v is not None}
        return "Bearer " + jwt.encode(changed, key, algorithm, headers={"kid": "1"})
