"""The console's function serves its files with safe headers, and nothing else."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from functions.console import handler
from orders.events import RejectionReason
from tests.integration.api import request
from tests.integration.conftest import LambdaContext
from tests.template import ROOT

STATIC = ROOT / "functions/console/static"
PATHS = sorted(handler.files())


def get(path: str, **headers: str) -> dict[str, Any]:
    if path.startswith("/assets/"):
        file = {"file": path.removeprefix("/assets/")}
        event = request("console_asset", path_parameters=file, headers=headers)
    else:
        event = {**request("console_page", headers=headers), "resource": path, "path": path}
    return handler.lambda_handler(event, LambdaContext())


def header(response: dict[str, Any], name: str) -> str:
    (value,) = response["multiValueHeaders"][name]
    assert isinstance(value, str)
    return value


def policy(response: dict[str, Any]) -> dict[str, list[str]]:
    directives = header(response, "Content-Security-Policy").split("; ")
    return {name: values for name, *values in (directive.split() for directive in directives)}


def test_sample_events_return_the_page_and_a_script() -> None:
    for sample, media_type, file in (
        ("console_page", "text/html", "index.html"),
        ("console_asset", "text/javascript", "assets/console.js"),
    ):
        response = handler.lambda_handler(request(sample), LambdaContext())
        assert (response["statusCode"], response["body"]) == (200, (STATIC / file).read_text())
        assert header(response, "Content-Type") == f"{media_type}; charset=utf-8"


def test_each_file_has_a_strict_content_security_policy() -> None:
    for path in PATHS:
        response = get(path)

        assert response["statusCode"] == 200, path
        assert len(response["body"].encode()) < 6_000_000, f"{path} exceeds Lambda's limit"
        assert header(response, "X-Content-Type-Options") == "nosniff"
        directives = policy(response)
        own, *hashes = directives.pop("script-src", ["'self'"])
        assert own == "'self'"
        assert all(source.startswith("'sha256-") for source in hashes), path
        swagger_styles = {"style-src": ["'self'", "'unsafe-inline'"]}
        assert directives == {
            **{key: ["'self'"] for key in ("default-src", "base-uri", "form-action")},
            **{key: ["'none'"] for key in ("frame-ancestors", "object-src")},
            "img-src": ["'self'", "data:"],
            **(swagger_styles if path == "/docs" else {}),
        }, path


def test_pages_have_no_inline_code_except_the_script_whose_hash_is_in_the_policy() -> None:
    page = get("/")
    (script,) = re.findall("<script>(.*?)</script>", page["body"], re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()

    assert policy(page)["script-src"] == ["'self'", f"'sha256-{digest}'"]
    assert policy(get("/docs"))["script-src"] == ["'self'"]
    for path in ("/", "/docs"):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", get(path)["body"])


def test_each_reference_leads_to_a_file_that_is_served() -> None:
    references = set()
    for path in PATHS:
        body = get(path)["body"]
        if path in ("/", "/docs"):
            names = re.findall(r'(?:src|href)(?:=|: )"([^"#]+)"', body)
            references |= {f"/{name.removeprefix('.')}" for name in names}
        elif path.endswith(".js") and "swagger" not in path:
            references |= {f"/assets/{name}" for name in re.findall(r'from "\./([^"]+)"', body)}

    assert references <= set(PATHS)
    assert set(PATHS) <= references, "delete the files that no page uses"


def test_page_has_words_for_each_rejection_reason() -> None:
    script = get("/assets/panes.js")["body"]
    assert [reason for reason in RejectionReason if f'{reason}: "' not in script] == []


def test_unchanged_file_is_not_sent_again() -> None:
    tag = header(get("/assets/console.css"), "ETag")

    for known in (tag, f"W/{tag}", f'"another", {tag}'):
        response = get("/assets/console.css", **{"If-None-Match": known})
        assert (response["statusCode"], response["body"]) == (304, "")
        assert header(response, "ETag") == tag
    assert get("/assets/console.js", **{"If-None-Match": tag})["statusCode"] == 200


def test_unknown_name_returns_404() -> None:
    names = ["../handler.py", "..", "", ".", "/etc/passwd", "console.js/", "CONSOLE.JS"]
    names += ["console.js\0", "../index.html", "..\\index.html", "%2e%2e/handler.py", "{file}"]
    for name in names:
        response = get(f"/assets/{name}")

        assert response["statusCode"] == 404, name
        assert header(response, "Content-Type") == "application/problem+json"
        assert json.loads(response["body"])["type"].endswith(":no-such-route")


def test_openapi_document_is_a_regular_file() -> None:
    """A symbolic link would be served as its target's name by a checkout without symbolic links."""
    response = get("/openapi.json")

    assert header(response, "Content-Type") == "application/json"
    assert json.loads(response["body"])["openapi"].startswith("3.")
    assert not [path for path in STATIC.rglob("*") if path.is_symlink()]
