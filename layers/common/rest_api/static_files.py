"""Files of a web page, with safe response headers. The standard library is enough, so that a cold start is fast."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from pathlib import Path

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
POLICY = (
    "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'; img-src 'self' data:"
)


@cache
def load(path: Path, cache_control: str) -> tuple[dict[str, str], str]:
    """Return the file's response headers and text."""
    body = path.read_text(encoding="utf-8")
    policy = POLICY
    if path.suffix == ".html":
        scripts = re.findall(r"<script>(.*?)</script>", body, re.DOTALL)
        hashes = [b64encode(hashlib.sha256(script.encode()).digest()) for script in scripts]
        policy += "; script-src 'self'" + "".join(f" 'sha256-{value.decode()}'" for value in hashes)
    if path.name == "docs.html":
        policy += "; style-src 'self' 'unsafe-inline'"  # Swagger UI sets inline styles
    return (
        {
            **SECURITY_HEADERS,
            "Content-Type": CONTENT_TYPES[path.suffix],
            "Content-Security-Policy": policy,
            "Cache-Control": cache_control,
            "ETag": f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"',
        },
        body,
    )


def client_has(client_headers: dict[str, str] | None, etag: str) -> bool:
    """Return whether the client has the file with this entity tag, by its header If-None-Match."""
    received = {name.lower(): value for name, value in (client_headers or {}).items()}
    # A proxy may have turned the tag into a weak one: W/"...".
    known = [tag.strip().removeprefix("W/") for tag in received.get("if-none-match", "").split(",")]
    return etag in known
