"""The compose file, and the rules of a deployment to LocalStack."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.build import LAMBDA_RUNTIME
from infra.local.deployment import (
    Change,
    StartAfreshError,
    function_archive,
    never_made,
    require_deployable,
)
from tests.template import ROOT, load_template

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra/local/compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
FUNCTION_ONLY_LAYER = {"Fn::If": ["HasJwtIssuer", {"Ref": "Jwt"}, {"Ref": "AWS::NoValue"}]}
TEMPLATE = {
    "Globals": {"Function": {"Layers": [{"Ref": "Third"}, {"Ref": "Common"}]}},
    "Resources": {
        "Api": {"Properties": {"CodeUri": "../api", "Layers": [FUNCTION_ONLY_LAYER]}},
        **{
            name: {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": name}}
            for name in ("Third", "Common", "Jwt")
        },
    },
}


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A function in its source directory, and built layers that overlap."""
    for name, text in (
        ("build/Third/python/pymongo/__init__.py", "third"),
        ("build/Third/python/shared.py", "third"),
        ("build/Common/python/shared.py", "common"),
        ("build/Common/python/orders/order.py", "common"),
        ("build/Jwt/python/jwt.py", "jwt"),
        ("api/orders/order.py", "function"),
        ("api/api.py", "function"),
        ("api/__pycache__/api.cpython-311.pyc", "local bytecode"),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "build"


def archived(artifacts: Path, *, with_layers: bool) -> dict[str, str]:
    content = function_archive(artifacts, TEMPLATE, "Api", with_layers=with_layers)
    archive = zipfile.ZipFile(io.BytesIO(content))
    return {name: archive.read(name).decode() for name in archive.namelist()}


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        default = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"])
        assert re.fullmatch(r"[\w/]+:\d+\.\d+(\.\d+)?", default), name


def test_containers_have_health_checks_and_listen_on_loopback_only() -> None:
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"], name
        assert all(port.startswith("127.0.0.1:${") for port in service["ports"]), name


def test_functions_containers_are_in_mongodbs_network() -> None:
    network = SERVICES["localstack"]["environment"]["LAMBDA_DOCKER_NETWORK"]

    assert network == COMPOSE["networks"]["default"]["name"]
    assert "mongodb" in SERVICES


def test_containers_run_the_templates_python() -> None:
    assert load_template()["Parameters"]["PythonRuntime"]["Default"] == LAMBDA_RUNTIME


def test_archive_has_the_functions_source_without_bytecode(artifacts: Path) -> None:
    assert archived(artifacts, with_layers=False) == {
        "orders/order.py": "function",
        "api.py": "function",
    }


def test_archive_with_layers_includes_conditional_ones_and_own_code_wins(artifacts: Path) -> None:
    assert archived(artifacts, with_layers=True) == {
        "pymongo/__init__.py": "third",
        "shared.py": "common",
        "orders/order.py": "function",
        "api.py": "function",
        "jwt.py": "jwt",
    }


def test_archives_of_equal_files_are_equal(artifacts: Path) -> None:
    before = function_archive(artifacts, TEMPLATE, "Api", with_layers=True)
    (artifacts / "../api/api.py").touch()

    assert function_archive(artifacts, TEMPLATE, "Api", with_layers=True) == before


def test_changed_api_definition_is_refused() -> None:
    with pytest.raises(StartAfreshError, match="API's definition"):
        require_deployable([Change("Modify", "AWS::ApiGateway::RestApi", "Api")])


def test_changes_that_localstack_makes_are_accepted() -> None:
    changes = [
        Change("Modify", "AWS::Lambda::Function", "OrdersApiFunction"),
        Change("Modify", "AWS::SQS::Queue", "OrdersSubscriberQueue"),
        Change("Add", "AWS::Events::Rule", "AuditRule"),
    ]

    require_deployable(changes)
    assert never_made(changes) == []


def test_changes_that_localstack_ignores_are_reported() -> None:
    (note,) = never_made([Change("Modify", "AWS::Events::Rule", "OrdersSubscriberRule")])

    assert note.startswith("OrdersSubscriberRule (AWS::Events::Rule) stays as it was")
