"""The commands of the local stack: a wrong setting is one clear line, and TARGET alone chooses the target."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infra.local import __main__ as command_line
from infra.local import stack
from infra.local.processes import LOCALHOST, free_port
from infra.local.stack import EmbeddedStack
from infra.local.target import Target
from tests.commands import run_here


def test_wrong_settings_are_one_clear_line() -> None:
    port = str(free_port())
    unreachable = f"mongodb://user:secret@{LOCALHOST}:{free_port()}/view"
    for environment, expected in (
        ({"TARGET": "elsewhere"}, "'elsewhere' is not one of 'embedded', 'localstack', 'aws'"),
        ({"LOG_LEVEL": "loud"}, "loud is not one of DEBUG, INFO"),
        ({"PARAMETERS": "JwtIssuer"}, "JwtIssuer is not NAME=VALUE"),
        ({"PORT": port, "MONGODB_PORT": port}, "PORT and MONGODB_PORT are both"),
        ({"MONGODB_URI": unreachable}, "MONGODB_URI: no MongoDB server accepts connections"),
        ({"MONGODB_URI": "mongodb:/user:secret@host"}, "MONGODB_URI is not a valid URI"),
        ({"TARGET": "aws"}, "sam deploy"),
    ):
        variables = {"PORT": str(free_port()), "MONGODB_URI": "", **environment}
        done = run_here(command_line, "up", environment=variables)
        assert done.returncode != 0, environment
        assert expected in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr + done.stdout


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command_line.cli, [*arguments, "--port", str(free_port())])


def test_log_levels_are_accepted_in_other_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[str] = []
    monkeypatch.setattr(
        EmbeddedStack, "launch", lambda **options: levels.append(options["log_level"])
    )
    for given in ("warn", " Debug ", "fatal"):
        invoke("up", "--log-level", given)

    assert levels == ["WARNING", "DEBUG", "CRITICAL"]


def test_aws_endpoint_url_leads_to_another_localstack_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.example:4566/")

    assert Target.of("embedded", 4566).endpoint_url == f"http://{LOCALHOST}:4566"
    assert Target.of("localstack", 4566).endpoint_url == "http://elsewhere.example:4566"
    assert Target.of("aws", 4566).endpoint_url is None


def test_another_recorded_instance_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "INSTANCES", tmp_path)
    (tmp_path / "4711").mkdir()
    (tmp_path / "4711/instance.json").touch()

    result = invoke("url")

    assert "An instance is recorded on port 4711: add PORT=4711." in result.output
    assert result.exit_code == 1


def test_missing_permission_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_directory: Path) -> EmbeddedStack:
        raise PermissionError(13, "Permission denied", "/checkout/.embedded/4566/instance.json")

    monkeypatch.setattr(EmbeddedStack, "find", refuse)
    monkeypatch.setattr(sys, "argv", ["infra.local", "down"])

    with pytest.raises(SystemExit, match=r"instance\.json: permission denied\. Does it belong"):
        command_line.main()


def test_since_is_a_duration() -> None:
    ten_minutes_ago = command_line._milliseconds(None, None, "10m")

    assert time.time() * 1000 - ten_minutes_ago == pytest.approx(600_000, abs=2_000)
    assert (
        "yesterday is not a duration such as 30s" in invoke("logs", "--since", "yesterday").output
    )
