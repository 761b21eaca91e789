"""The commands of the local stack: a wrong setting is one clear line, and TARGET alone chooses the target."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.local import __main__ as command_line
from infra.local import stack
from infra.local.processes import LOCALHOST, free_port
from infra.local.stack import EmbeddedStack
from infra.local.target import Target
from tests.template import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.local", *arguments],
        cwd=ROOT,
        env={**os.environ, "PORT": str(free_port()), "MONGODB_URI": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_wrong_settings_are_one_clear_line() -> None:
    port = str(free_port())
    nobody = f"mongodb://user:secret@{LOCALHOST}:{free_port()}/view"
    for environment, expected in (
        ({"TARGET": "elsewhere"}, "'elsewhere' is not one of 'embedded', 'localstack', 'aws'"),
        ({"LOG_LEVEL": "loud"}, "loud is not one of DEBUG, INFO"),
        ({"PORT": port, "MONGODB_PORT": port}, "PORT and MONGODB_PORT are both"),
        ({"MONGODB_URI": nobody}, "MONGODB_URI: no MongoDB server accepts connections"),
        ({"MONGODB_URI": "mongodb:/user:secret@host"}, "MONGODB_URI is not a valid URI"),
        ({"TARGET": "aws"}, "sam deploy"),
    ):
        done = run("up", **environment)
        assert done.returncode != 0, environment
        assert expected in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr + done.stdout


def test_log_levels_are_accepted_in_other_spellings() -> None:
    for given, expected in {"warn": "WARNING", " Debug ": "DEBUG", "fatal": "CRITICAL"}.items():
        assert command_line._log_level(None, None, given) == expected


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

    result = CliRunner().invoke(command_line.cli, ["url", "--port", str(free_port())])

    assert "An instance is recorded on port 4711: add PORT=4711." in str(result.exception)


def test_missing_permission_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_directory: Path) -> EmbeddedStack:
        raise PermissionError(13, "Permission denied", "/checkout/.embedded/4566/instance.json")

    monkeypatch.setattr(EmbeddedStack, "find", refuse)
    monkeypatch.setattr(sys, "argv", ["infra.local", "down"])

    with pytest.raises(SystemExit):
        command_line.main()

    assert "instance.json: permission denied. Does it belong to another user?" in (
        capsys.readouterr().err
    )


def test_since_is_a_duration() -> None:
    now = command_line._milliseconds(None, None, "0s")

    assert now - command_line._milliseconds(None, None, "10m") == pytest.approx(600_000, abs=2_000)
    result = CliRunner().invoke(command_line.cli, ["logs", "--since", "yesterday"])
    assert "yesterday is not a duration such as 30s, 10m, 2h or 1d" in result.output
