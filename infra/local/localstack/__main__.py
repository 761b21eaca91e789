"""The command line: python -m infra.local.localstack COMMAND."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from infra.local.build import LAMBDA_RUNTIME, PROJECT, Build
from infra.local.deployed_stack import STACK_NAME, DeployedStack, wait_until_answering
from infra.local.docker import require_compose
from infra.local.localstack.deployment import LocalStackDeployment, StartAfreshError, logs_directory
from infra.local.logs import FunctionLogs
from infra.local.processes import EmbeddedError

COMPOSE_FILE = Path(__file__).with_name("compose.yaml")
# Longer than the health checks take to give up. The images are pulled before.
HEALTHY_TIMEOUT_SECONDS = 300
LOOK_INTERVAL_SECONDS = 1.0
START_AFRESH = (
    "Start afresh, which loses the data: make localstack-down localstack-up localstack-deploy"
)
START_AFRESH_ELSEWHERE = (
    "Start afresh, which loses the data: empty the view's database, and\n"
    f"  aws --endpoint-url {{}} cloudformation delete-stack --stack-name {STACK_NAME}\n"
    "  make localstack-deploy"
)

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)

port_option = click.option(
    "--port",
    envvar="LOCALSTACK_PORT",
    default=4566,
    show_default=True,
    help="Of the LocalStack that `up` starts (LOCALSTACK_PORT).",
)


def endpoint_option(command: Callable[..., None]) -> Callable[..., None]:
    """Where LocalStack is: the one of `up`, or another."""
    option = click.option(
        "--endpoint-url",
        envvar="AWS_ENDPOINT_URL",
        help="Of a LocalStack that runs already (AWS_ENDPOINT_URL).",
    )
    return port_option(option(command))


@click.group(help="Customers and Orders on LocalStack.")
def cli() -> None:
    """Commands for containers of ours, and for a LocalStack that runs already."""


@cli.command(help="Start LocalStack and MongoDB in containers, and wait until they are healthy.")
@port_option
def up(port: int) -> None:
    """They run until `down`."""
    require_compose()
    wait = ("--wait", "--wait-timeout", str(HEALTHY_TIMEOUT_SECONDS))
    _compose("up", "--detach", *wait, LOCALSTACK_PORT=str(port))
    console.print(f"LocalStack is ready at http://localhost:{port}: `make localstack-deploy`")


@cli.command(help="Build and deploy the source as it is now.")
@endpoint_option
@click.option(
    "--mongodb-uri",
    envvar="MONGODB_URI",
    default="mongodb://mongodb:27017/order_history",
    show_default=True,
    help="Of the MongoDB server, as the functions see it (MONGODB_URI).",
)
@click.option(
    "--runtime",
    envvar="PYTHON_RUNTIME",
    default=LAMBDA_RUNTIME,
    show_default=True,
    help="Of the functions (PYTHON_RUNTIME).",
)
@click.option("--log-level", envvar="LOG_LEVEL", default="INFO", show_default=True)
def deploy(
    port: int, endpoint_url: str | None, mongodb_uri: str, runtime: str, log_level: str
) -> None:
    """Changed code runs. Data stays."""
    started = time.monotonic()
    endpoint = _endpoint(port, endpoint_url)
    deployment = LocalStackDeployment(
        endpoint, mongodb_uri, Build.for_lambda(runtime), log_level.upper()
    )
    deployment.require_localstack()
    with deployment.build.exclusive():
        console.print("Building the functions ...")
        deployment.build.run(logs_directory(PROJECT))
        console.print(f"Deploying to {endpoint} ...")
        try:
            notes = deployment.deploy()
        except StartAfreshError as error:
            how = START_AFRESH if endpoint_url is None else START_AFRESH_ELSEWHERE.format(endpoint)
            raise EmbeddedError(f"{error}\n{how}") from error
    base_url = _base_url(endpoint)
    for note in notes:
        console.print(note, style="yellow")
    console.print("Waiting for the API to answer ...")
    try:
        wait_until_answering(base_url)
    except EmbeddedError as error:
        raise EmbeddedError(
            f"{error}\nCan the functions reach MongoDB at {mongodb_uri}? MONGODB_URI says where it is "
            "for them, not for you."
        ) from error
    console.print(f"Deployed in {time.monotonic() - started:.1f} s: {base_url}")


@cli.command(help="Print the API's base URL.")
@endpoint_option
def url(port: int, endpoint_url: str | None) -> None:
    """The URL, and nothing else, is on standard output."""
    click.echo(_base_url(_endpoint(port, endpoint_url)))


@cli.command(help="Print the functions' logs, until Ctrl-C.")
@endpoint_option
def logs(port: int, endpoint_url: str | None) -> None:
    """What was logged is printed, and what is logged from now on."""
    endpoint = _endpoint(port, endpoint_url)
    _base_url(endpoint)
    function_logs = FunctionLogs(endpoint)
    with suppress(KeyboardInterrupt):
        while True:
            for line in function_logs.read():
                console.print(line, markup=False)
            time.sleep(LOOK_INTERVAL_SECONDS)


@cli.command(help="Stop the containers that `up` started, and remove them with their data.")
def down() -> None:
    """LocalStack's data ends with its process, so the view that was made from it goes as well."""
    require_compose()
    _compose("down", "--volumes", "--remove-orphans")


def _endpoint(port: int, endpoint_url: str | None) -> str:
    return (endpoint_url or f"http://localhost:{port}").rstrip("/")


def _base_url(endpoint: str) -> str:
    base_url = DeployedStack(endpoint).base_url()
    if base_url is None:
        raise EmbeddedError(f"Nothing is deployed at {endpoint}: `make localstack-deploy` does it.")
    return base_url


def _compose(*arguments: str, **variables: str) -> None:
    command = ["docker", "compose", "--file", str(COMPOSE_FILE), *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, check=False)
    if done.returncode != 0:
        raise EmbeddedError(
            f"`docker compose {arguments[0]}` failed. A port that is taken is chosen anew with LOCALSTACK_PORT "
            "or MONGODB_PORT; the containers' own words: docker compose -f infra/local/localstack/compose.yaml logs"
        )


def main() -> None:
    """Exits 1 with one clear message for what the user can act on."""
    try:
        cli(prog_name="python -m infra.local.localstack", standalone_mode=True)
    except EmbeddedError as error:
        errors.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
