"""samconfig.toml against template.yaml: what is deployed to AWS without anybody looking."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.template import ROOT, load_template

CONFIG: dict[str, Any] = tomllib.loads((ROOT / "samconfig.toml").read_text())


def overrides(environment: str) -> dict[str, str]:
    given = CONFIG[environment]["deploy"]["parameters"]["parameter_overrides"]
    return dict(text.split("=", 1) for text in given)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_every_override_is_a_parameter_with_a_value_it_allows(environment: str) -> None:
    parameters = load_template()["Parameters"]

    for name, value in overrides(environment).items():
        assert value in parameters[name].get("AllowedValues", [value]), name


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_database_is_named_by_a_secret_and_no_emulator_is_named(environment: str) -> None:
    given = overrides(environment)

    assert given["MongoDbSecretName"]
    assert not given.keys() & {"MongoDbUri", "AwsEndpointUrl"}


def test_production_is_not_public_unless_somebody_writes_so_into_the_file() -> None:
    given = overrides("prod")

    assert given["Posture"] == "production"
    assert "AllowPublicApi" not in given
    assert load_template()["Parameters"]["AllowPublicApi"]["Default"] == "no"


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_a_build_for_aws_is_not_taken_from_a_cache(environment: str) -> None:
    assert "cached" not in CONFIG[environment]["build"]["parameters"]
