"""Serve the console and the API's documentation as static files.

The files hold no data and need no token. The pages call the public API.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import aws_lambda_powertools

import telemetry
from rest_api.static_files import SECURITY_HEADERS, client_has, load

STATIC = Path(__file__).parent / "static"
# Powertools ships Swagger UI. Importing its event handler to serve it would slow down each cold start.
SWAGGER_UI = Path(aws_lambda_powertools.__path__[0]) / "event_handler/openapi/swagger_ui"
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


def answer(event: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body: the file (200), 304 if the client has it, or 404."""
    # The event's path may start with a custom domain's base path. The route does not.
    path = files().get(event["resource"].format(**(event["pathParameters"] or {})))
    if path is None:
        return 404, {**SECURITY_HEADERS, "Content-Type": "application/problem+json"}, NOT_FOUND
    # Browsers revalidate this project's own files, so that modules of two versions never meet.
    is_own = path.is_relative_to(STATIC)
    headers, body = load(path, "no-cache" if is_own else "public, max-age=86400")  # seconds, a day
    return (
        (304, headers, "")
        if client_has(event["headers"], headers["ETag"])
        else (200, headers, body)
    )


def lambda_handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer a proxy request of API Gateway."""
    status, headers, body = answer(event)
    keys = {"method": event["httpMethod"], "route": event["resource"], "status": status}
    telemetry.log_invocation("request handled", **keys)
    multi_value_headers = {name: [value] for name, value in headers.items()}
    return {"statusCode": status, "multiValueHeaders": multi_value_headers, "body": body}
