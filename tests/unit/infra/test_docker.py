"""Errors for a missing or stopped Docker, and the answers of the `docker` command."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.build import PROJECT
from infra.local.docker import bridge_gateway, function_containers, require_compose, require_docker
from infra.local.processes import EmbeddedError


def install(directory: Path, script: str) -> None:
    """Install the script as `docker`, the only command on the PATH."""
    docker = directory / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_missing_docker_names_make_up() -> None:
    with pytest.raises(EmbeddedError, match=r"not installed.*\n?.*`make up`"):
        require_docker()


def test_stopped_engine_is_reported(on_path: Path) -> None:
    install(on_path, "exit 1")

    with pytest.raises(EmbeddedError, match="is it running"):
        require_docker()


def test_missing_compose_is_reported(on_path: Path) -> None:
    install(on_path, '[ "$1" = info ]')

    require_docker()
    with pytest.raises(EmbeddedError, match="docker compose"):
        require_compose()


@pytest.mark.parametrize(
    ("networks", "gateway"),
    [
        ('[{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}]', "172.17.0.9"),
        ('[{"Subnet": "172.17.0.0/16"}]', "172.17.0.1"),
        ('[{"Subnet": "fd00::/64"}, {"Subnet": "10.1.0.0/24"}]', "10.1.0.1"),
        ("null", None),
    ],
)
def test_gateway_defaults_to_first_address_of_ipv4_network(
    on_path: Path, networks: str, gateway: str | None
) -> None:
    install(on_path, f"echo '{networks}'")

    assert bridge_gateway() == gateway


def test_only_containers_of_this_checkout_are_listed(on_path: Path) -> None:
    install(on_path, f"echo 'a1 {PROJECT}/functions/orders'; echo 'b2 /elsewhere/functions/orders'")

    assert function_containers() == {"a1"}
