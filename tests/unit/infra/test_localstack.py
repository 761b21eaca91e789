"""The deployment to LocalStack, as far as it can be seen without one."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.build import LAMBDA_RUNTIME, Build
from infra.local.localstack.deployment import (
    Change,
    StartAfreshError,
    function_archive,
    never_made,
    require_deployable,
)
from tests.template import ROOT, load_template

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra/local/localstack/compose.yaml").read_text())
SERVICES = list(COMPOSE["services"])
TEMPLATE = {
    "Globals": {"Function": {"Layers": [{"Ref": "Third"}, {"Ref": "Common"}]}},
    "Resources": {"Api": {"Properties": {}}},
}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A function and two layers, which overlap."""
    build = replace(Build.for_lambda(), project=tmp_path)
    for name, text in (
        ("Third/python/pymongo/__init__.py", "third"),
        ("Third/python/shared.py", "third"),
        ("Common/python/shared.py", "common"),
        ("Common/python/orders/order.py", "common"),
        ("Api/orders/order.py", "function"),
        ("Api/orders_api/handler.py", "function"),
    ):
        file = build.artifacts / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return build


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_is_pinned(service: str) -> None:
    image = COMPOSE["services"][service]["image"]

    default = re.sub(r"\$\{\w+:-(.*)\}", r"\1", image)
    assert re.fullmatch(r"[\w/]+:\d+\.\d+(\.\d+)?", default)


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_has_a_health_check_and_listens_on_this_machine_only(service: str) -> None:
    container = COMPOSE["services"][service]

    assert container["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:${") for port in container["ports"])


def test_every_volume_has_a_name_and_is_declared() -> None:
    mounted = {v.split(":")[0] for s in COMPOSE["services"].values() for v in s["volumes"]}

    assert {name for name in mounted if not name.startswith("${DOCKER_SOCKET")} == set(
        COMPOSE["volumes"]
    )


def test_the_functions_containers_are_in_mongodbs_network() -> None:
    settings = COMPOSE["services"]["localstack"]["environment"]

    assert settings["LAMBDA_DOCKER_NETWORK"] == COMPOSE["networks"]["default"]["name"]
    assert "mongodb" in SERVICES


def test_containers_run_the_templates_python_unless_told_otherwise() -> None:
    assert load_template()["Parameters"]["PythonRuntime"]["Default"] == LAMBDA_RUNTIME


def test_a_functions_archive_has_its_layers_and_its_own_code_comes_first(build: Build) -> None:
    archive = zipfile.ZipFile(io.BytesIO(function_archive(build, TEMPLATE, "Api")))

    assert {name: archive.read(name).decode() for name in archive.namelist()} == {
        "pymongo/__init__.py": "third",
        "shared.py": "common",
        "orders/order.py": "function",
        "orders_api/handler.py": "function",
    }


def test_an_archive_of_the_same_files_is_the_same(build: Build) -> None:
    before = function_archive(build, TEMPLATE, "Api")
    (build.artifacts / "Api/orders_api/handler.py").touch()

    assert function_archive(build, TEMPLATE, "Api") == before


def test_a_changed_api_is_refused_before_anything_is_done() -> None:
    with pytest.raises(StartAfreshError, match="API's definition"):
        require_deployable([Change("Modify", "AWS::ApiGateway::RestApi", "Api")])


def test_changed_functions_and_queues_are_deployed() -> None:
    changes = [
        Change("Modify", "AWS::Lambda::Function", "OrdersApiFunction"),
        Change("Modify", "AWS::SQS::Queue", "OrdersSubscriberQueue"),
        Change("Add", "AWS::Events::Rule", "AuditRule"),
    ]

    require_deployable(changes)
    assert never_made(changes) == []


def test_the_user_hears_of_a_change_that_localstack_does_not_make() -> None:
    (note,) = never_made([Change("Modify", "AWS::Events::Rule", "OrdersSubscriberRule")])

    assert note.startswith("OrdersSubscriberRule (AWS::Events::Rule) stays as it was")
