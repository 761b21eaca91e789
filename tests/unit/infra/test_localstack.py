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
from infra.local.deployment import StartAfreshError, function_archive, ignored_changes
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


def test_containers_are_pinned_and_have_health_checks_and_listen_on_loopback_only() -> None:
    for name, service in SERVICES.items():
        default = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"])
        assert re.fullmatch(r"[\w/]+:\d+\.\d+(\.\d+)?", default), name
        assert service["healthcheck"]["test"], name
        assert all(port.startswith("127.0.0.1:${") for port in service["ports"]), name


def test_functions_containers_are_in_mongodbs_network_and_run_the_templates_python() -> None:
    network = SERVICES["localstack"]["environment"]["LAMBDA_DOCKER_NETWORK"]

    assert network == COMPOSE["networks"]["default"]["name"]
    assert "mongodb" in SERVICES
    assert load_template()["Parameters"]["PythonRuntime"]["Default"] == LAMBDA_RUNTIME


def test_archive_has_the_functions_source_and_its_layers_where_they_are_not_applied(
    tmp_path: Path,
) -> None:
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

    def archived(*, with_layers: bool) -> bytes:
        return function_archive(tmp_path / "build", TEMPLATE, "Api", with_layers=with_layers)

    own = {"orders/order.py": "function", "api.py": "function"}
    layers = {"pymongo/__init__.py": "third", "shared.py": "common", "jwt.py": "jwt"}
    for content, expected in (
        (archived(with_layers=False), own),
        (archived(with_layers=True), own | layers),
    ):
        archive = zipfile.ZipFile(io.BytesIO(content))
        assert {name: archive.read(name).decode() for name in archive.namelist()} == expected

    before = archived(with_layers=True)
    (tmp_path / "api/api.py").touch()
    assert archived(with_layers=True) == before, "equal files give equal archives"


def change(action: str, resource_type: str, logical_id: str) -> Any:
    return {"Action": action, "ResourceType": resource_type, "LogicalResourceId": logical_id}


def test_changes_that_localstack_does_not_make_are_refused_or_reported() -> None:
    made = [
        change("Modify", "AWS::Lambda::Function", "OrdersApiFunction"),
        change("Modify", "AWS::SQS::Queue", "OrdersSubscriberQueue"),
        change("Add", "AWS::Events::Rule", "AuditRule"),
    ]
    assert ignored_changes(made) == []

    (note,) = ignored_changes([*made, change("Modify", "AWS::Events::Rule", "OrdersRule")])
    assert note.startswith("OrdersRule (AWS::Events::Rule) stays as it was")

    with pytest.raises(StartAfreshError, match="API's definition"):
        ignored_changes([*made, change("Modify", "AWS::ApiGateway::RestApi", "Api")])
