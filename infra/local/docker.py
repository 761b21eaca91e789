"""Docker: check that it works, and find the addresses and containers that `sam local` uses."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
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
    if _docker("info") is None:
        raise EmbeddedError("Docker is installed and does not answer: is it running?")


def require_compose() -> None:
    """Raise EmbeddedError, with the remedy, unless `docker compose` works."""
    require_docker()
    if _docker("compose", "version") is None:
        raise EmbeddedError("`docker compose` is missing: https://docs.docker.com/compose/install/")


def bridge_gateway() -> str | None:
    """Return this machine's address on Docker's default network, or None if it has none."""
    found = _docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}")
    for network in json.loads(found or "null") or []:
        subnet = ip_network(network["Subnet"])
        if subnet.version == 4:
            # Older engines name the gateway only if it is not the subnet's first address.
            return network.get("Gateway") or str(next(subnet.hosts()))
    return None


def function_containers() -> set[str]:
    """Return the ids of SAM CLI's containers of this checkout: those that mount a directory of it."""
    form = ["--format", "{{.ID}} {{.Mounts}}", "--filter", "label=sam.cli.container.type=lambda"]
    listed = _docker("ps", "--all", "--no-trunc", *form) or ""
    containers = [line.partition(" ") for line in listed.splitlines()]
    return {identifier for identifier, _, mounts in containers if f"{PROJECT}/" in mounts}


def remove_containers(identifiers: Iterable[str]) -> None:
    """Remove the containers, running or not."""
    for identifier in identifiers:
        _docker("rm", "--force", identifier)


def _docker(*arguments: str) -> str | None:
    """Return the command's output, or None if it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None
