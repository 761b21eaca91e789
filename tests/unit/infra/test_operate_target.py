"""Which stack is meant, and what is said when it cannot be reached. No test here sends anything to AWS."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from infra.local.build import PROJECT
from infra.ops.target import Target


def test_an_emulator_is_at_its_port_or_where_its_url_says() -> None:
    by_port = Target.of("embedded", 4571, None, "stack")
    by_url = Target.of("localstack", 4566, "http://elsewhere:4566/", "stack")

    assert by_port.endpoint_url == "http://127.0.0.1:4571"
    assert by_url.endpoint_url == "http://elsewhere:4566"


def test_aws_is_where_the_users_own_credentials_and_region_lead() -> None:
    target = Target.of("aws", 4566, None, "stack")

    assert target.endpoint_url is None
    assert target.session.region_name == os.environ["AWS_DEFAULT_REGION"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_DEFAULT_REGION": "eu-central-1"}, "There are no AWS credentials"),
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, "No AWS region is chosen"),
    ],
)
def test_what_is_missing_for_aws_is_said_in_one_line(
    environment: dict[str, str], said: str
) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    done = subprocess.run(
        [sys.executable, "-m", "infra.ops", "dlq", "--target", "aws"],
        cwd=PROJECT,
        env={**bare, **nowhere, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["no-such-command"], ["dlq", "--target", "mars"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.ops", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "Error:" in done.stderr
