"""Docker: check that it works, and find the addresses and containers that `sam local` uses."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Collection
from ipaddress import ip_network

from infra.local.build import PROJECT
from infra.local.processes import EmbeddedError


def require_docker() -> None:
    """Raise EmbeddedError, with the remedy, unless the Docker engine answers."""
    if shutil.which("docker") is None:
        raise EmbeddedError(
            "Docker is not installed: https://docs.docker.com/get-docker/. "
            "`make up` runs the system without it."
        )
    if not _succeeds("docker", "info"):
        raise EmbeddedError("Docker is installed and does not answer: is it running?")


def require_compose() -> None:
    """Raise EmbeddedError, with the remedy, unless `docker compose` works."""
    require_docker()
    if not _succeeds("docker", "compose", "version"):
        raise EmbeddedError("`docker compose` is missing: https://docs.docker.com/compose/install/")


def bridge_gateway() -> str | None:
    """Return this machine's address on Docker's default network, or None if it has none."""
    networks = json.loads(
        _output("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}") or "null"
    )
    for network in networks or []:
        subnet = ip_network(network["Subnet"])
        if subnet.version == 4:
            # Older engines name the gateway only if it is not the subnet's first address.
            return network.get("Gateway") or str(next(subnet.hosts()))
    return None


def function_containers() -> set[str]:
    """Return the ids of SAM CLI's containers of this checkout: those that mount a directory of it."""
    label = "label=sam.cli.container.type=lambda"
    listed = _output(
        "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}", "--filter", label
    )
    containers = [line.partition(" ") for line in listed.splitlines()]
    return {identifier for identifier, _, mounts in containers if f"{PROJECT}/" in mounts}


def remove_containers(identifiers: Collection[str]) -> None:
    """Remove the containers, running or not."""
    if identifiers:
        _output("rm", "--force", *identifiers)


def _output(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False
    ).stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
