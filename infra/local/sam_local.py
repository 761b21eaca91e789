"""Run the functions in SAM CLI's containers, on the tables and queues of the local stack or of LocalStack.

    python -m infra.local.sam_local start-api

The emulator runs the rest of the saga.
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import click
from rich.console import Console

from infra.local import docker
from infra.local.build import LAMBDA_RUNTIME, PROJECT, Build, inherited_environment
from infra.local.deployed_stack import CREDENTIALS, REGION, DeployedStack
from infra.local.processes import (
    LOCALHOST,
    EmbeddedError,
    accepts_connections,
    handle_interrupts,
    uninterrupted,
)
from infra.local.target import LOGS, PORT, Target, setting, target_option

# Also named in samconfig.toml.
ENVIRONMENT_FILE = PROJECT / ".aws-sam" / "sam-local-env.json"
# This machine's name in containers: samconfig.toml adds it to the hosts of each.
CONTAINER_HOST = "host.docker.internal"
# Names of this machine in URLs. infra/local/compose.yaml publishes the port of its `mongodb` here.
THIS_MACHINE = re.compile(r"(?<![^@,])(localhost|127\.0\.0\.1|\[::1\]|mongodb)(?::(\d+))?(?=,|$)")
STOP_GRACE_SECONDS = 30.0
# SAM CLI prints this for each route of an API without authorizer.
NOISE = b"Authorizer 'NONE'"
Environment = dict[str, str]

LAMBDA_USAGE = (
    "In another terminal: aws lambda invoke --endpoint-url {url} --function-name OrderHistoryApiFunction "
    "--payload fileb://events/order_history_api_count.json /dev/stdout"
)
# The commands that serve: the variable that names the port, its default, and how to use the server.
SERVERS = {
    "start-api": ("SAM_LOCAL_PORT", 3000, "Serving {url}/customers"),
    "start-lambda": ("SAM_LAMBDA_PORT", 3001, LAMBDA_USAGE),
}

# On standard output is only the answer of an invoked function.
console = Console(highlight=False, soft_wrap=True, stderr=True)


def deployed_environments(stack: DeployedStack) -> dict[str, Environment]:
    """Return the deployed variables of each function by its logical id."""
    functions, environments = stack.client("lambda"), {}
    pages = stack.cloudformation.get_paginator("list_stack_resources")
    for resource in pages.paginate(StackName=stack.name).search("StackResourceSummaries[]"):
        if resource["ResourceType"] == "AWS::Lambda::Function":
            name = resource["PhysicalResourceId"]
            function = functions.get_function_configuration(FunctionName=name)
            variables = function.get("Environment", {}).get("Variables", {})
            environments[resource["LogicalResourceId"]] = variables
    return environments


def container_environment(
    deployed: Mapping[str, Environment], endpoint_url: str, mongodb_port: int
) -> tuple[dict[str, Environment], set[int]]:
    """Return the deployed functions' variables for containers, and the ports of this machine that containers must reach.

    `mongodb_port` is the published port of the compose file's MongoDB.
    """
    ports = set()

    def moved(host: re.Match[str]) -> str:
        port = mongodb_port if host[1] == "mongodb" else int(host[2] or 27017)
        ports.add(port)
        return f"{CONTAINER_HOST}:{port}"

    def with_hosts(url: str) -> str:
        parts = urlsplit(url)
        return parts._replace(netloc=THIS_MACHINE.sub(moved, parts.netloc)).geturl()

    functions = {}
    for function, variables in deployed.items():
        functions[function] = {**variables, "AWS_ENDPOINT_URL": with_hosts(endpoint_url)}
        if "MONGODB_URI" in variables:
            functions[function]["MONGODB_URI"] = with_hosts(variables["MONGODB_URI"])
    return functions, ports


def write_private(file: Path, text: str) -> None:
    """Write the file for its owner only: it may contain a password."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)


class Forwarder(socketserver.ThreadingTCPServer):
    """Forwards connections to the same port of 127.0.0.1. The emulators there refuse requests of web pages."""

    allow_reuse_address = True
    daemon_threads = True

    def finish_request(self, request: object, _client_address: object) -> None:
        """Copy bytes both ways until one end closes the connection."""
        assert isinstance(request, socket.socket)
        with (
            suppress(OSError),
            socket.create_connection((LOCALHOST, self.server_address[1])) as there,
        ):
            ends = {request: there, there: request}
            while True:
                for end in select.select(ends, [], [])[0]:
                    if not (data := end.recv(65_536)):
                        return
                    ends[end].sendall(data)


def forward_port(address: str, port: int) -> None:
    """Forward connections from the port at `address`, Docker's bridge, to 127.0.0.1, where the emulators listen.

    Do nothing if Docker has its own machine, which forwards by itself, or if an emulator listens at `address`.
    """
    try:
        server = Forwarder((address, port), socketserver.BaseRequestHandler)
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
            raise EmbeddedError(f"Port {port} of {address}: {error.strerror}") from error
        return
    threading.Thread(target=server.serve_forever, daemon=True).start()


def run_sam(command: list[str], environment: Mapping[str, str]) -> int:
    """Run SAM CLI until it ends or is interrupted. Leave no container behind. Return its exit code."""
    before = docker.function_containers()
    # In its own session a Ctrl-C reaches it once, from here.
    sam = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        for line in sam.stderr or ():
            if NOISE not in line:
                sys.stderr.buffer.write(line)
                sys.stderr.flush()
        return sam.wait()
    except KeyboardInterrupt:
        with uninterrupted():
            sam.send_signal(signal.SIGINT)
            try:
                sam.communicate(timeout=STOP_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                sam.kill()
            # SAM can be interrupted after it created a container and before it remembered it.
            docker.remove_containers(docker.function_containers() - before)
        return 0


@click.command(help=__doc__, context_settings={"ignore_unknown_options": True})
@target_option
@setting("mongodb-port", "Port of the compose file's MongoDB.", 27017, type=PORT)
@setting("python-runtime", "Runtime of the functions.", LAMBDA_RUNTIME)
@click.argument("command", type=click.Choice([*SERVERS, "invoke"]))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(
    where: Target, mongodb_port: int, python_runtime: str, command: str, arguments: tuple[str, ...]
) -> NoReturn:
    """Build the functions for Lambda's Linux and run `sam local COMMAND ARGUMENTS`."""
    handle_interrupts()
    if command in SERVERS:
        variable, default, usage = SERVERS[command]
        port = int(os.environ.get(variable) or default)
        if accepts_connections(port):
            raise EmbeddedError(f"Port {port} is taken. {variable} chooses another.")
        arguments = ("--port", str(port), *arguments)
    docker.require_docker()
    where.base_url()  # raises if nothing is deployed
    if where.endpoint_url is None:
        raise EmbeddedError("sam local uses an emulator: TARGET is embedded or localstack.")
    functions, ports = container_environment(
        deployed_environments(where.stack), where.endpoint_url, mongodb_port
    )
    write_private(ENVIRONMENT_FILE, json.dumps(functions, indent=2, sort_keys=True))
    console.print(
        f"Wrote {ENVIRONMENT_FILE.relative_to(PROJECT)}. Plain `sam local` can use it, and starts faster with\n"
        f"  AWS_ENDPOINT_URL_STS={where.endpoint_url}\nBuilding the functions ..."
    )
    build = Build.for_lambda(python_runtime)
    with build.exclusive():
        build.run(LOGS)
    if gateway := docker.bridge_gateway():
        for port in ports:
            forward_port(gateway, port)
    if command in SERVERS:
        console.print(usage.format(url=f"http://{LOCALHOST}:{arguments[1]}"))
    sam = [
        *(sys.executable, "-m", "samcli", "local", command, *arguments),
        # By default SAM looks for its settings beside the template.
        *("--config-file", str(PROJECT / "samconfig.toml")),
        *("--template", str(build.artifacts / "template.yaml")),
        "--parameter-overrides",
        " ".join(f"{name}={value}" for name, value in build.parameters.items()),
    ]
    no_proxy = f"localhost,{LOCALHOST},{os.environ.get('NO_PROXY', '')}"
    settings = {
        **{name.upper(): value for name, value in CREDENTIALS.items()},
        "AWS_DEFAULT_REGION": REGION,
        # SAM asks for the account's number. Otherwise it waits ten seconds for AWS.
        "AWS_ENDPOINT_URL_STS": where.endpoint_url,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }
    sys.exit(run_sam(sam, inherited_environment() | build.sam_settings | settings))


if __name__ == "__main__":
    main()
