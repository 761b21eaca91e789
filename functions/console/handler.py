"""Serve the console and the API's documentation as static files.

The files hold no data and need no token. The pages call the public API.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

import aws_lambda_powertools
from aws_lambda_powertools import Logger

logger = Logger(location=None)

STATIC = Path(__file__).parent / "static"
# Powertools ships Swagger UI. Importing its event handler to serve it would slow down each cold start.
SWAGGER_UI = Path(aws_lambda_powertools.__path__[0]) / "event_handler/openapi/swagger_ui"
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
NOT_FOUND = """{"type": "urn:customers-and-orders:problem:no-such-route", "title": "Not Found",
"status": 404, "detail": "No such file."}"""


@cache
def files() -> dict[str, Path]:
    """Map each path that is served to its file. A request never names a file directly."""
    swagger_ui = [SWAGGER_UI / "swagger-ui-bundle.min.js", SWAGGER_UI / "swagger-ui.min.css"]
    assets = [*(STATIC / "assets").iterdir(), *swagger_ui]
    return {
        "/": STATIC / "index.html",
        "/docs": STATIC / "docs.html",
        "/openapi.json": STATIC / "openapi.json",
        **{f"/assets/{path.name}": path for path in assets},
    }


@cache
def load(path: Path) -> tuple[dict[str, str], str]:
    """Return the file's response headers and text."""
    body = path.read_text(encoding="utf-8")
    policy = POLICY
    if path.suffix == ".html":
        scripts = re.findall(r"<script>(.*?)</script>", body, re.DOTALL)
        hashes = [b64encode(hashlib.sha256(script.encode()).digest()) for script in scripts]
        policy += "; script-src 'self'" + "".join(f" 'sha256-{value.decode()}'" for value in hashes)
    if path.name == "docs.html":
        policy += "; style-src 'self' 'unsafe-inline'"  # Swagger UI sets inline styles
    # Browsers revalidate this project's own files, so that modules of two versions never meet.
    is_own = path.is_relative_to(STATIC)
    return (
        {
            **SECURITY_HEADERS,
            "Content-Type": CONTENT_TYPES[path.suffix],
            "Content-Security-Policy": policy,
            "Cache-Control": "no-cache" if is_own else "public, max-age=86400",  # seconds, a day
            "ETag": f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"',
        },
        body,
    )


def answer(event: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body: the file (200), 304 if the client has it, or 404."""
    # The event's path may start with a custom domain's base path. The route does not.
    path = files().get(event["resource"].format(**(event["pathParameters"] or {})))
    if path is None:
        return 404, {**SECURITY_HEADERS, "Content-Type": "application/problem+json"}, NOT_FOUND
    headers, body = load(path)
    received = {name.lower(): value for name, value in (event["headers"] or {}).items()}
    # A proxy may have turned the tag into a weak one: W/"...".
    known = [tag.strip().removeprefix("W/") for tag in received.get("if-none-match", "").split(",")]
    return (304, headers, "") if headers["ETag"] in known else (200, headers, body)


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer a proxy request of API Gateway."""
    status, headers, body = answer(event)
    keys = {"method": event["httpMethod"], "route": event["resource"], "status": status}
    logger.info("request handled", extra=keys)
    multi_value_headers = {name: [value] for name, value in headers.items()}
    return {"statusCode": status, "multiValueHeaders": multi_value_headers, "body": body}
