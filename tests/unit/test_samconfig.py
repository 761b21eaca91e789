"""samconfig.toml against template.yaml."""

from __future__ import annotations

import tomllib

from tests.template import ROOT, load_template, section

CONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())
LEFT_TO_THE_DEFAULT = {"PythonRuntime", "Architecture", "LogLevel", "Version", "MongoDbUri", "AwsEndpointUrl"}  # fmt: skip


def test_each_section_sets_every_parameter_that_matters_for_security_or_cost() -> None:
    for environment in ("dev", "prod"):
        expected = load_template()["Parameters"].keys() - LEFT_TO_THE_DEFAULT
        assert section(environment).keys() == expected


def test_a_build_for_aws_is_not_cached_and_expands_loops() -> None:
    for environment in ("dev", "prod"):
        build = CONFIG[environment]["build"]["parameters"]
        assert "cached" not in build
        assert build["language_extensions"]
        deploy = CONFIG[environment]["deploy"]["parameters"]
        assert "CAPABILITY_AUTO_EXPAND" in deploy["capabilities"]
