"""A deployment uploads its template, and its errors name the reason and no secret."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from infra.local import deployed_stack
from infra.local.build import Build
from infra.local.deployed_stack import DeployedStack, short
from infra.local.deployment import Deployment
from infra.local.processes import EmbeddedError
from tests.template import ROOT

MAX_TEMPLATE_BYTES = 1_000_000
"""Of a template at a TemplateURL: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
PASSWORD_URI = "mongodb://user:secret@db.example.net/view"


class RefusingCloudFormation:
    """Records the request and refuses it as CloudFormation does."""

    def __init__(self, message: str) -> None:
        self.request: dict[str, Any] = {}
        self._message = message

    def create_change_set(self, **request: Any) -> None:
        self.request = request
        error = {"Code": "ValidationError", "Message": self._message}
        raise ClientError({"Error": error}, "CreateChangeSet")  # type: ignore[typeddict-item]


def refuse(monkeypatch: pytest.MonkeyPatch, message: str) -> tuple[dict[str, Any], str]:
    """Deploy to a CloudFormation that refuses. Return its request and the error's text."""
    cloudformation = RefusingCloudFormation(message)
    monkeypatch.setattr(DeployedStack, "cloudformation", cloudformation)
    parameters: dict[str, Any] = {"MongoDbUri": {}, "ApiRequestsPerSecond": {}}
    monkeypatch.setattr(Build, "template", lambda _: {"Parameters": parameters})
    deployment = Deployment("http://127.0.0.1:1", PASSWORD_URI)
    with pytest.raises(EmbeddedError) as error:
        deployment._create_change_set("http://127.0.0.1:1/bucket/key", "id", is_new=True)
    return cloudformation.request, str(error.value)


def test_template_is_named_by_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    request, _ = refuse(monkeypatch, "no")

    assert request["TemplateURL"] == "http://127.0.0.1:1/bucket/key"
    assert "TemplateBody" not in request
    for file in ("template.yaml", "infra/monitoring.yaml"):
        assert (ROOT / file).stat().st_size < MAX_TEMPLATE_BYTES / 4, (
            file
        )  # SAM's transform adds to it


def test_emulator_is_not_throttled_at_the_default_of_20_requests_per_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request, _ = refuse(monkeypatch, "no")

    values = {each["ParameterKey"]: each["ParameterValue"] for each in request["Parameters"]}
    assert values["ApiRequestsPerSecond"] == "1000"


def test_errors_name_the_reason_without_template_and_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quoted = f"Value '{'Resources: ...' * 5_000}' at 'templateBody' failed: Member is too long"
    for message, expected in (
        (quoted, "Value at 'templateBody' failed: Member is too long"),
        (
            f"Parameter MongoDbUri {PASSWORD_URI} is bad",
            "Parameter MongoDbUri mongodb://db.example",
        ),
    ):
        _, text = refuse(monkeypatch, message)
        assert expected in text
        assert "secret" not in text
        assert "Resources" not in text
    assert len(short("x" * 60_000)) < 400


def test_function_that_cannot_start_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute of retries is for an API that is not deployed yet."""
    requests = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        return httpx.Response(502, text='{"message": "Worker init failed: No module named \'x\'"}')

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await deployed_stack._wait_until_answered(client, "http://127.0.0.1/orders")

    with pytest.raises(
        EmbeddedError, match=r"cannot start\. Worker init failed: No module named 'x'"
    ):
        asyncio.run(ask())
    assert requests == 1
