"""What the user reads where Docker is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.docker import bridge_gateway, function_containers, require_compose, require_docker
from infra.local.processes import EmbeddedError


def install(directory: Path, script: str) -> None:
    """`docker` is the script, and is all that there is on the PATH but a shell."""
    docker = directory / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n")
    docker.chmod(0o755)


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_docker_there_is_another_way() -> None:
    with pytest.raises(EmbeddedError, match=r"not installed.*\n?.*`make up`"):
        require_docker()


def test_an_engine_that_does_not_answer_is_to_be_started(on_path: Path) -> None:
    install(on_path, "exit 1")

    with pytest.raises(EmbeddedError, match="is it running"):
        require_docker()


def test_compose_may_be_missing(on_path: Path) -> None:
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
def test_the_gateway_is_what_docker_says_or_else_its_networks_first_address(
    on_path: Path, networks: str, gateway: str | None
) -> None:
    install(on_path, f"echo '{networks}'")

    assert bridge_gateway() == gateway


def test_only_containers_of_this_build_are_its_containers(on_path: Path) -> None:
    install(on_path, "echo 'a1 /project/build/Api'; echo 'b2 /elsewhere/build/Api'")

    assert function_containers(Path("/project/build")) == {"a1"}
