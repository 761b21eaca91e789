"""What is needed of Docker, and what to do where it is not there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Collection
from ipaddress import ip_network
from pathlib import Path

from infra.local.processes import EmbeddedError


def require_docker() -> None:
    """The Docker engine answers. Raises: EmbeddedError, which says what to do."""
    if shutil.which("docker") is None:
        raise EmbeddedError(
            "Docker is not installed: https://docs.docker.com/get-docker/. "
            "`make up` runs the system without it."
        )
    if not _succeeds("docker", "info"):
        raise EmbeddedError("Docker is installed and does not answer: is it running?")


def require_compose() -> None:
    """`docker compose` works. Raises: EmbeddedError, which says what to do."""
    require_docker()
    if not _succeeds("docker", "compose", "version"):
        raise EmbeddedError("`docker compose` is missing: https://docs.docker.com/compose/install/")


def bridge_gateway() -> str | None:
    """The address that this machine has for containers on Docker's default network; None if it has none."""
    command = ["docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"]
    inspected = subprocess.run(command, capture_output=True, text=True, check=False)
    if inspected.returncode != 0:
        return None
    for network in json.loads(inspected.stdout) or []:
        subnet = ip_network(network["Subnet"])
        if subnet.version == 4:
            # Older engines name the gateway only if it is not the subnet's first address.
            return network.get("Gateway") or str(next(subnet.hosts()))
    return None


def function_containers(artifacts: Path) -> set[str]:
    """The ids of the containers in which SAM CLI runs what is built in that directory."""
    command = [
        *("docker", "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}"),
        *("--filter", "label=sam.cli.container.type=lambda"),
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    containers = [line.partition(" ") for line in listed.splitlines()]
    return {identifier for identifier, _, mounts in containers if f"{artifacts}/" in mounts}


def remove_containers(identifiers: Collection[str]) -> None:
    """None of the containers is left, running or not."""
    if identifiers:
        subprocess.run(["docker", "rm", "--force", *identifiers], capture_output=True, check=False)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
