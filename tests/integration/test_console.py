"""The console's function, called with the files in events/: it hands out its files, safely, and nothing else."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from functions.console import handler
from tests.integration.api import request
from tests.integration.conftest import LambdaContext, LogLines
from tests.template import ROOT

PAGE, ASSET = "console_page", "console_asset"
STATIC = ROOT / "functions/console/static"
PATHS = sorted(handler.pages())


def send(sample: str, **changes: Any) -> dict[str, Any]:
    return handler.lambda_handler(request(sample, **changes), LambdaContext())


def get(path: str, **headers: str | None) -> dict[str, Any]:
    if path.startswith("/assets/"):
        parameters = {"file": path.removeprefix("/assets/")}
        return send(ASSET, path_parameters=parameters, headers=headers)
    event = request(PAGE, headers=headers)
    return handler.lambda_handler({**event, "resource": path, "path": path}, LambdaContext())


def header(response: dict[str, Any], name: str) -> str:
    (value,) = response["multiValueHeaders"][name]
    assert isinstance(value, str)
    return value


def policy(response: dict[str, Any]) -> dict[str, list[str]]:
    directives = header(response, "Content-Security-Policy").split("; ")
    return {name: values for name, *values in (directive.split() for directive in directives)}


def test_the_samples_are_answered_with_the_page_and_with_a_file_of_it() -> None:
    page, asset = send(PAGE), send(ASSET)

    assert (page["statusCode"], asset["statusCode"]) == (200, 200)
    assert header(page, "Content-Type") == "text/html; charset=utf-8"
    assert page["body"] == (STATIC / "index.html").read_text()
    assert header(asset, "Content-Type") == "text/javascript; charset=utf-8"
    assert asset["body"] == (STATIC / "assets/console.js").read_text()


@pytest.mark.parametrize("path", PATHS)
def test_every_file_is_there_with_what_keeps_a_browser_safe(path: str) -> None:
    response = get(path)

    assert response["statusCode"] == 200
    assert response["isBase64Encoded"] is False
    assert len(response["body"].encode()) < 6_000_000, "Lambda answers no more"
    assert header(response, "X-Content-Type-Options") == "nosniff"
    directives = policy(response)
    assert directives["default-src"] == ["'self'"]
    assert directives["frame-ancestors"] == ["'none'"]
    assert directives["object-src"] == ["'none'"]
    # 'unsafe-inline' is for Swagger UI's styles, and never for scripts.
    assert "'unsafe-inline'" not in directives.get("script-src", [])
    assert ("'unsafe-inline'" in directives.get("style-src", [])) == (path == "/docs")


def test_the_only_script_in_a_page_is_the_one_that_the_policy_knows() -> None:
    page = get("/")
    (script,) = re.findall("<script>(.*?)</script>", page["body"], re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()

    assert policy(page)["script-src"] == ["'self'", f"'sha256-{digest}'"]
    for path in ("/", "/docs"):
        body = get(path)["body"]
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", body)


@pytest.mark.parametrize("path", [path for path in PATHS if "swagger-ui" not in path])
def test_nothing_comes_from_another_host(path: str) -> None:
    hosts = re.findall(r"[a-z]+://[^\s\"'<>)`]+", get(path)["body"])

    if path != "/openapi.json":  # it links to what it speaks of, and loads nothing
        assert set(hosts) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", PATHS)
def test_whatever_a_file_refers_to_is_there(path: str) -> None:
    body = get(path)["body"]
    if path in ("/", "/docs"):
        named = {f"/{name}" for name in re.findall(r'(?:src|href)(?:=|: )"([^"#]+)"', body)}
    elif path.endswith(".js") and "swagger" not in path:
        named = {f"/assets/{name}" for name in re.findall(r'from "\./([^"]+)"', body)}
    else:
        return

    assert named or path.endswith(("api.js", "dom.js", "format.js", "watch.js", "docs.js"))
    assert named <= set(PATHS)


def test_a_file_that_did_not_change_is_not_sent_again() -> None:
    tag = header(get("/assets/console.css"), "ETag")

    for known in (tag, f"W/{tag}", f'"another", {tag}'):
        again = get("/assets/console.css", **{"If-None-Match": known})
        assert (again["statusCode"], again["body"]) == (304, "")
        assert header(again, "ETag") == tag
    assert get("/assets/console.js", **{"If-None-Match": tag})["statusCode"] == 200


@pytest.mark.parametrize(
    "name",
    [
        "../handler.py",
        "..",
        "",
        ".",
        "/etc/passwd",
        "console.js/",
        "CONSOLE.JS",
        "console.js\0",
        "../index.html",
        "..\\index.html",
        "%2e%2e/handler.py",
        "html.py",
        "swagger-ui-bundle.js",
        "{file}",
    ],
)
def test_nothing_else_is_handed_out(name: str) -> None:
    response = get(f"/assets/{name}")

    assert response["statusCode"] == 404
    assert header(response, "Content-Type") == "application/problem+json"
    problem = json.loads(response["body"])
    assert (problem["status"], problem["type"]) == (
        404,
        "urn:customers-and-orders:problem:no-such-route",
    )


def test_the_description_of_the_api_is_the_one_in_docs() -> None:
    response = get("/openapi.json")

    assert header(response, "Content-Type") == "application/json"
    assert response["body"] == (ROOT / "docs/openapi.json").read_text()


def test_a_custom_domains_base_path_is_no_matter() -> None:
    event = {**request(ASSET), "path": "/shop/assets/console.js"}

    assert handler.lambda_handler(event, LambdaContext())["statusCode"] == 200


def test_each_request_is_one_line_in_the_log(log_lines: LogLines) -> None:
    get("/assets/console.js")

    (line,) = log_lines()
    assert (line["route"], line["status"]) == ("/assets/{file}", 200)
