"""The console in the browser, and the API's documentation: files, and nothing else.

They hold no data, so nobody needs a token for them. What they show they ask the API for, as anybody would.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

logger = Logger()

STATIC = Path(__file__).parent / "static"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
# Asked for each time, and sent only if changed: modules of two versions must not meet.
REVALIDATE = "no-cache"
A_DAY = "public, max-age=86400"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
POLICY = {
    "default-src": "'self'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "object-src": "'none'",
    "img-src": "'self' data:",
}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is served. `policy` is what its Content-Security-Policy has beside POLICY."""

    body: str
    content_type: str
    cache_control: str
    policy: Mapping[str, str]

    @property
    def headers(self) -> dict[str, str]:
        policy = {**POLICY, **self.policy}
        return {
            **SECURITY_HEADERS,
            "Cache-Control": self.cache_control,
            "Content-Security-Policy": "; ".join(f"{k} {v}" for k, v in policy.items()),
            "ETag": f'"{hashlib.sha256(self.body.encode()).hexdigest()[:32]}"',
        }


def swagger_ui() -> Path:
    """Where Powertools keeps Swagger UI. Finds it without importing the event handler, which takes long."""
    spec = importlib.util.find_spec("aws_lambda_powertools")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "event_handler/openapi/swagger_ui"


@cache
def pages() -> dict[str, Path]:
    """The file for each path there is. Any other path leads nowhere, whatever it looks like."""
    swagger = ("swagger-ui-bundle.min.js", "swagger-ui.min.css")
    return {
        "/": STATIC / "index.html",
        "/docs": STATIC / "docs.html",
        "/openapi.json": STATIC / "openapi.json",
        **{f"/assets/{path.name}": path for path in (STATIC / "assets").iterdir()},
        **{f"/assets/{name}": swagger_ui() / name for name in swagger},
    }


@cache
def read(path: Path) -> StaticFile:
    body = path.read_text(encoding="utf-8")
    policy = {}
    if path.suffix == ".html":
        # The page's few lines of script that cannot be a file: the files are found by means of them.
        scripts = re.findall(r"<script>(.*?)</script>", body, re.DOTALL)
        digests = [b64encode(hashlib.sha256(script.encode()).digest()) for script in scripts]
        policy["script-src"] = " ".join(["'self'", *(f"'sha256-{d.decode()}'" for d in digests)])
    if path.name == "docs.html":
        policy["style-src"] = "'self' 'unsafe-inline'"  # Swagger UI writes styles as it goes
    cache_control = A_DAY if path.parent == swagger_ui() else REVALIDATE
    return StaticFile(body, CONTENT_TYPES[path.suffix], cache_control, policy)


def answer(event: Mapping[str, Any]) -> dict[str, Any]:
    """API Gateway's proxy response: the file at the path, 304 to whoever has it already, or 404."""
    # Not the event's path: with a custom domain that has the domain's base path in it.
    route = event["resource"].format(**(event["pathParameters"] or {}))
    path = pages().get(route)
    if path is None:
        problem = {
            "type": "urn:customers-and-orders:problem:no-such-route",
            "title": HTTPStatus.NOT_FOUND.phrase,
            "status": HTTPStatus.NOT_FOUND.value,
            "detail": "There is nothing at this path.",
        }
        headers = {**SECURITY_HEADERS, "Content-Type": "application/problem+json"}
        return response(HTTPStatus.NOT_FOUND, headers, json.dumps(problem))
    file = read(path)
    headers = file.headers
    known = {name.lower(): value for name, value in (event["headers"] or {}).items()}
    # A gateway may have made a weak tag of it.
    tags = [tag.strip().removeprefix("W/") for tag in known.get("if-none-match", "").split(",")]
    if headers["ETag"] in tags:
        return response(HTTPStatus.NOT_MODIFIED, headers, "")
    return response(HTTPStatus.OK, {**headers, "Content-Type": file.content_type}, file.body)


def response(status: HTTPStatus, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    return {
        "statusCode": status.value,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "body": body,
        "isBase64Encoded": False,
    }


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    answered = answer(event)
    facts = {"method": event["httpMethod"], "route": event.get("resource")}
    logger.info("request answered", extra={**facts, "status": answered["statusCode"]})
    return answered
