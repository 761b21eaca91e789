"""The stack that is meant, and one line on what is missing. No test here sends anything to AWS."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from infra.local.build import PROJECT
from infra.ops.target import Target

NOWHERE = "http://127.0.0.1:1"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(
        [sys.executable, "-m", "infra.ops", *arguments],
        cwd=PROJECT,
        env={**bare, **nowhere, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def misleading(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.setenv(name, NOWHERE)


@pytest.mark.usefixtures("misleading")
def test_the_embedded_stack_is_on_its_port_despite_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")

    target = Target.of("embedded", 4571, None, "stack")

    assert target.sqs.meta.endpoint_url == "http://127.0.0.1:4571"


@pytest.mark.usefixtures("misleading")
def test_aws_is_where_credentials_and_region_lead_despite_the_environment() -> None:
    target = Target.of("aws", 4566, None, "stack")

    assert target.sqs.meta.endpoint_url == "https://sqs.us-east-1.amazonaws.com"
    assert target.client("dynamodb").meta.endpoint_url.endswith(".amazonaws.com")


def test_another_localstack_is_chosen_as_for_its_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Target.of("localstack", 4572, None, "stack").endpoint_url == "http://127.0.0.1:4572"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:4566/")
    assert Target.of("localstack", 4572, None, "stack").endpoint_url == "http://elsewhere:4566"


@pytest.mark.parametrize(
    ("environment", "text", "code"),
    [
        (
            {"TARGET": "aws", "AWS_DEFAULT_REGION": "eu-central-1"},
            "There are no AWS credentials",
            1,
        ),
        (
            {"TARGET": "aws", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"},
            "No AWS region is chosen",
            1,
        ),
        ({"TARGET": "aws", "AWS_PROFILE": "missing"}, "missing", 1),
        (
            {"PORT": "1", "AWS_ENDPOINT_URL": "http://127.0.0.1:2"},
            f"Nothing answers at {NOWHERE}",
            1,
        ),
        ({"TARGET": "mars"}, "TARGET=mars is unknown. Use embedded, localstack or aws.", 2),
        ({"PORT": "no number"}, "--port", 2),
        ({"LIMIT": "0"}, "--limit", 2),
    ],
)
def test_a_mistake_is_answered_with_one_line(
    environment: dict[str, str], text: str, code: int
) -> None:
    done = run("dlq", **environment)

    assert done.returncode == code, done
    assert text in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_command_is_wrong_usage() -> None:
    assert run("no-such-command").returncode == 2
