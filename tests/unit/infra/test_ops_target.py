"""The chosen stack, mistakes in its choice, and the documents. No test here sends anything to AWS."""

from __future__ import annotations

import re

import pytest
from botocore.exceptions import EndpointConnectionError

from infra.local.build import PROJECT
from infra.ops import __main__ as ops
from infra.ops.target import Target, explain
from tests.commands import run_here

NOWHERE = "http://127.0.0.1:1"
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
DOCUMENT, MAKEFILE = ((PROJECT / name).read_text() for name in ("docs/operate.md", "Makefile"))


def test_the_environment_misleads_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.setenv(name, NOWHERE)
    aws = Target.of("aws", 4566, None, "stack")
    assert aws.sqs.meta.endpoint_url == "https://sqs.us-east-1.amazonaws.com"
    assert aws.client("dynamodb").meta.endpoint_url.endswith(".amazonaws.com")
    monkeypatch.setenv("AWS_PROFILE", "missing")
    embedded = Target.of("embedded", 4571, None, "stack")
    assert embedded.sqs.meta.endpoint_url == "http://127.0.0.1:4571"


def test_another_localstack_is_chosen_as_for_its_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Target.of("localstack", 4572, None, "stack").endpoint_url == "http://127.0.0.1:4572"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:4566/")
    assert Target.of("localstack", 4572, None, "stack").endpoint_url == "http://elsewhere:4566"


def test_a_mistake_is_answered_with_one_line() -> None:
    bare: dict[str, str | None] = {**dict.fromkeys(KEYS), "AWS_DEFAULT_REGION": None}
    bare["AWS_EC2_METADATA_DISABLED"] = "true"
    for environment, text, code in (
        ({"TARGET": "aws", "AWS_DEFAULT_REGION": "eu-central-1"}, "Set AWS_PROFILE", 1),
        ({"TARGET": "aws", **KEYS}, "AWS_DEFAULT_REGION", 1),
        ({"TARGET": "aws", "AWS_PROFILE": "missing"}, "missing", 1),
        ({"PORT": "1", "AWS_ENDPOINT_URL": "http://127.0.0.1:2"}, f"answers at {NOWHERE}", 1),
        ({"TARGET": "mars"}, "'mars' is not one of 'embedded', 'localstack', 'aws'", 2),
        ({"PORT": "no number"}, "--port", 2),
        ({"LIMIT": "0"}, "--limit", 2),
    ):
        done = run_here(ops, "dlq", environment=bare | environment)
        assert (done.returncode, text in done.stderr) == (code, True), done
        assert len(done.stderr.strip().splitlines()) == 1


def test_only_the_port_of_an_emulator_is_named() -> None:
    for url, is_emulator in ((NOWHERE, True), ("https://sqs.us-east-1.amazonaws.com", False)):
        text = explain(EndpointConnectionError(endpoint_url=url))
        assert f"Nothing answers at {url}. " in text
        assert ("`make up PORT=1`" in text, "PORT=" in text) == (is_emulator, is_emulator)


def test_each_command_has_a_make_target_and_a_row_with_its_variables() -> None:
    for name, command in ops.cli.commands.items():
        rule = rf"^{name}: install ## .*\n(?:.*\n)?\t.*infra\.ops {name}$"
        assert re.search(rule, MAKEFILE, re.MULTILINE), name
        (row,) = re.findall(rf"^\| `make {name}[ `].*$", DOCUMENT, re.MULTILINE)
        variables = {str(parameter.envvar) for parameter in command.params if parameter.envvar}
        for variable in variables - {"TARGET", "STACK_NAME", "PORT", "LOCALSTACK_PORT"}:
            assert f"{variable}=" in row or f"`{variable}`" in row, (name, variable)
