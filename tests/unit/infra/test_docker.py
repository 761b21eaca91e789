"""Errors for a missing or stopped Docker, and the answers of the `docker` command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.build import PROJECT
from infra.local.docker import bridge_gateway, function_containers, require_compose
from infra.local.processes import EmbeddedError

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a script as `docker`, the only command on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install_script(script: str) -> None:
        docker = tmp_path / "docker"
        docker.write_text(f"#!/bin/sh\n{script}\n")
        docker.chmod(0o755)

    return install_script


def test_missing_part_of_docker_is_named(install: Install) -> None:
    with pytest.raises(EmbeddedError, match=r"not installed.*`make up`"):
        require_compose()
    for script, message in (
        ("exit 1", "is it running"),
        ('[ "$1" = info ]', "`docker compose` is missing"),
    ):
        install(script)
        with pytest.raises(EmbeddedError, match=message):
            require_compose()
    install("exit 0")
    require_compose()


def test_gateway_defaults_to_first_address_of_ipv4_network(install: Install) -> None:
    for networks, gateway in (
        ('[{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}]', "172.17.0.9"),
        ('[{"Subnet": "172.17.0.0/16"}]', "172.17.0.1"),
        ('[{"Subnet": "fd00::/64"}, {"Subnet": "10.1.0.0/24"}]', "10.1.0.1"),
        ("null", None),
    ):
        install(f"echo '{networks}'")
        assert bridge_gateway() == gateway, networks


def test_only_containers_of_this_checkout_are_listed(install: Install) -> None:
    install(f"echo 'a1 {PROJECT}/functions/orders'; echo 'b2 /elsewhere/functions/orders'")

    assert function_containers() == {"a1"}
