"""A deployment uploads its template, and its errors name the reason and no secret."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from botocore.exceptions import ClientError

from infra.local import warm_up
from infra.local.build import Build
from infra.local.deployed_stack import DeployedStack, short
from infra.local.deployment import Deployment
from infra.local.processes import EmbeddedError

TEMPLATE_URL = "http://127.0.0.1:1/bucket/key"
PASSWORD_URI = "mongodb://user:secret@db.example.net/view"
QUOTED = f"Value '{'Resources: ...' * 5_000}' at 'templateBody' failed: Member is too long"


def test_errors_name_the_reason_without_template_and_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Build, "template", lambda _: {"Parameters": {"MongoDbUri": {}}})
    deployment = Deployment("http://127.0.0.1:1", PASSWORD_URI)
    for message, expected in (
        (QUOTED, "Value at 'templateBody' failed: Member is too long"),
        (f"Parameter MongoDbUri {PASSWORD_URI} is bad", "MongoDbUri mongodb://db.example"),
    ):
        refusal: Any = {"Error": {"Code": "ValidationError", "Message": message}}
        create = Mock(side_effect=ClientError(refusal, "CreateChangeSet"))
        monkeypatch.setattr(DeployedStack, "cloudformation", Mock(create_change_set=create))
        with pytest.raises(EmbeddedError, match=expected) as error:
            deployment._create_change_set(TEMPLATE_URL, "id", is_new=True)
        assert create.call_args.kwargs["TemplateURL"] == TEMPLATE_URL
        assert "TemplateBody" not in create.call_args.kwargs  # at most 51,200 bytes
        assert "secret" not in str(error.value)
        assert "Resources" not in str(error.value)
    assert len(short("x" * 60_000)) < 400


def test_only_a_changed_source_or_artifact_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = ""
    build, module = Build("python3.11", "host", tmp_path), tmp_path / "layers/common/module.py"
    module.parent.mkdir(parents=True)

    def run_sam(*_: object) -> None:
        nonlocal builds
        builds += module.read_text()
        build.artifacts.mkdir(exist_ok=True)
        artifact.touch()
        if builds == "ab":
            raise EmbeddedError("interrupted")
        if builds == "abbc":
            module.write_text("changed while it is built")

    monkeypatch.setattr("infra.local.build.run_to_end", run_sam)
    artifact = build.artifacts / "template.yaml"
    for source, expected in (
        *(("a", "a"), ("a", "a"), ("b", "ab"), ("b", "abb"), ("b", "abb")),
        *(("c", "abbc"), ("c", "abbcc"), ("c", "abbcc")),
    ):
        module.write_text(source)
        with suppress(EmbeddedError):
            build.run(tmp_path / "logs")
        assert builds == expected
    artifact.unlink()
    build.run(tmp_path / "logs")
    assert artifact.exists()


def test_function_that_cannot_start_fails_at_once() -> None:
    """The minute of retries is for an API that is not deployed yet."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(502, text='{"message": "Worker init failed: No module named \'x\'"}')

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await warm_up._wait_until_answered(client, "http://127.0.0.1/orders")

    reason = r"cannot start\. Worker init failed: No module named 'x'"
    with pytest.raises(EmbeddedError, match=reason):
        asyncio.run(ask())
    assert len(requests) == 1
