"""SAM CLI's local mode: the functions in containers, before the stack of whichever emulator runs.

    python -m infra.local.sam_local start-api

What SAM runs reads and writes the emulator's tables, and the emulator does the rest of the saga.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click
from botocore.exceptions import ClientError
from rich.console import Console

from infra.local.build import LAMBDA_RUNTIME, PROJECT, Build
from infra.local.deployed_stack import CREDENTIALS, REGION, DeployedStack, Environment
from infra.local.docker import (
    bridge_gateway,
    function_containers,
    remove_containers,
    require_docker,
)
from infra.local.processes import INTERRUPTS, LOCALHOST, EmbeddedError, accepts_connections

# samconfig.toml names it, too.
ENVIRONMENT_FILE = PROJECT / ".aws-sam" / "sam-local-env.json"
LOGS = PROJECT / ".aws-sam" / "logs"
# What a container calls this machine: samconfig.toml adds it to the hosts of each.
CONTAINER_HOST = "host.docker.internal"
THIS_MACHINE = frozenset({"localhost", LOCALHOST, "::1"})
# MongoDB's name in infra/local/localstack/compose.yaml: here it is behind a published port.
COMPOSE_MONGODB = "mongodb"
STOP_GRACE_SECONDS = 30.0

# Standard output is for what a function answers.
console = Console(highlight=False, soft_wrap=True, stderr=True)


@dataclass(frozen=True)
class ContainerEnvironment:
    """What the functions' variables have to be in containers, and what has to be reachable from there."""

    functions: Mapping[str, Environment]
    ports: frozenset[int]

    @classmethod
    def of(
        cls, deployed: Mapping[str, Environment], endpoint_url: str, mongodb_port: int
    ) -> ContainerEnvironment:
        """Made from the variables of the deployed functions, which have the physical names.

        `mongodb_port` is where the MongoDB of the compose file is published.
        """
        ports = set()

        def moved(host: str) -> str:
            name, _, port = host.rpartition(":") if ":" in host else (host, "", "27017")
            name = name.strip("[]")
            if name == COMPOSE_MONGODB:
                port = str(mongodb_port)
            elif name not in THIS_MACHINE:
                return host
            ports.add(int(port))
            return f"{CONTAINER_HOST}:{port}"

        functions = {}
        for function, variables in deployed.items():
            functions[function] = dict(variables)
            functions[function]["AWS_ENDPOINT_URL"] = _with_hosts(endpoint_url, moved)
            if "MONGODB_URI" in variables:
                functions[function]["MONGODB_URI"] = _with_hosts(variables["MONGODB_URI"], moved)
        return cls(functions, frozenset(ports))

    def write(self, file: Path) -> None:
        """The file is what `sam local --env-vars` takes. It may have a password in it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(self.functions, indent=2, sort_keys=True) + "\n")


def _with_hosts(url: str, moved: Callable[[str], str]) -> str:
    """The URL with each of its hosts (`name` or `name:port`) replaced."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    netloc = credentials + at + ",".join(moved(host) for host in hosts.split(","))
    return parts._replace(netloc=netloc).geturl()


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which emulator, and which Python."""
    for option in (
        click.option(
            "--endpoint-url",
            envvar="AWS_ENDPOINT_URL",
            help="Of the emulator (AWS_ENDPOINT_URL).  [default: that of `make up`]",
        ),
        click.option(
            "--emulator-port",
            envvar="PORT",
            default=4566,
            show_default=True,
            help="Of the emulator that `make up` started (PORT).",
        ),
        click.option(
            "--mongodb-port",
            envvar="MONGODB_PORT",
            default=27017,
            show_default=True,
            help="Where `make localstack-up` publishes MongoDB (MONGODB_PORT).",
        ),
        click.option(
            "--runtime",
            envvar="PYTHON_RUNTIME",
            default=LAMBDA_RUNTIME,
            show_default=True,
            help="Of the functions (PYTHON_RUNTIME).",
        ),
    ):
        command = option(command)
    return command


@click.group(help=__doc__)
def cli() -> None:
    """Ctrl-C, SIGTERM and SIGHUP end a command in the same orderly way."""
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)


@cli.command("start-api", help="Serve the API until Ctrl-C.")
@click.option("--port", envvar="SAM_LOCAL_PORT", default=3000, show_default=True)
@common_options
def start_api(port: int, **options: Any) -> None:
    """Requests to the port run the functions in containers."""
    _require_free(port, "SAM_LOCAL_PORT")
    local = _prepare(**options)
    console.print(
        f"The first request to each function starts its container: http://127.0.0.1:{port}/customers"
    )
    local.run("start-api", "--port", str(port))


@cli.command("start-lambda", help="Serve Lambda's Invoke API until Ctrl-C.")
@click.option("--port", envvar="SAM_LAMBDA_PORT", default=3001, show_default=True)
@common_options
def start_lambda(port: int, **options: Any) -> None:
    """The functions are invoked by their logical ids."""
    _require_free(port, "SAM_LAMBDA_PORT")
    local = _prepare(**options)
    console.print(
        f"In another terminal: aws lambda invoke --endpoint-url http://127.0.0.1:{port} --function-name "
        "OrderHistoryApiFunction --payload fileb://events/order_history_api_count.json /dev/stdout"
    )
    local.run("start-lambda", "--port", str(port))


@cli.command(help="Invoke one function with an event from a file.")
@click.argument("function")
@click.option("--event", type=click.Path(exists=True, dir_okay=False), required=True)
@common_options
def invoke(function: str, event: str, **options: Any) -> None:
    """What the function answers is on standard output, its log on standard error."""
    _prepare(**options).run("invoke", function, "--event", str(Path(event).resolve()))


@dataclass(frozen=True)
class SamLocal:
    """What was built, with the emulator at `endpoint_url` behind it."""

    build: Build
    endpoint_url: str
    ports: frozenset[int]

    def run(self, command: str, *arguments: str) -> None:
        """The command ran to its end, or until it was interrupted; no container of it is left. Exits as it did."""
        sam = [
            *(str(Path(sys.prefix) / "bin/sam"), "local", command, *arguments),
            # SAM would look for its settings beside the template.
            *("--config-file", str(PROJECT / "samconfig.toml")),
            *("--template", str(self.build.template_file)),
            "--parameter-overrides",
            " ".join(f"{name}={value}" for name, value in self.build.parameters.items()),
        ]
        before = function_containers(self.build.artifacts)
        exit_code = asyncio.run(_run(sam, self._environment(), bridge_gateway(), self.ports))
        if exit_code is None:
            # An interruption can come between SAM's creating a container and its remembering that.
            remove_containers(function_containers(self.build.artifacts) - before)
        sys.exit(exit_code)

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        no_proxy = f"localhost,{LOCALHOST},{inherited.get('NO_PROXY', '')}"
        return inherited | {
            **{name.upper(): value for name, value in CREDENTIALS.items()},
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            # SAM asks for the account's number; it would wait ten seconds for AWS itself.
            "AWS_ENDPOINT_URL_STS": self.endpoint_url,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(self.build.root),
        }


async def _run(
    command: list[str], environment: Mapping[str, str], gateway: str | None, ports: Iterable[int]
) -> int | None:
    """The exit code; None if it was interrupted. While it runs, containers reach the ports at the gateway."""
    if gateway:
        for port in ports:
            await forward_port(gateway, port)
    # In a session of its own, so that a Ctrl-C reaches it once: from here.
    sam = await asyncio.create_subprocess_exec(
        *command, cwd=PROJECT, env=environment, start_new_session=True
    )
    interrupted = asyncio.Event()
    for number in INTERRUPTS:
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    ended, interrupt = asyncio.create_task(sam.wait()), asyncio.create_task(interrupted.wait())
    await asyncio.wait({ended, interrupt}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        return ended.result()
    sam.send_signal(signal.SIGINT)
    await asyncio.wait({ended}, timeout=STOP_GRACE_SECONDS)
    if not ended.done():
        sam.kill()
    return None


async def forward_port(address: str, port: int) -> None:
    """What connects to the port at `address` reaches that of 127.0.0.1, where the emulators listen.

    Nothing is done where that is not needed: where Docker runs in a machine of its own, which has
    the address, it forwards by itself; and a port that is taken is one where an emulator listens.
    """
    try:
        # Not left to asyncio: from Python 3.13 on its error does not say why.
        listener = socket.create_server((address, port))
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
            raise EmbeddedError(f"Port {port} of {address}: {error.strerror}") from error
        return
    await asyncio.start_server(lambda reader, writer: _forward(reader, writer, port), sock=listener)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    try:
        there, back = await asyncio.open_connection(LOCALHOST, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # as good as an end
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _prepare(
    endpoint_url: str | None, emulator_port: int, mongodb_port: int, runtime: str
) -> SamLocal:
    """The environment file is written, and the functions are built for Lambda's Linux."""
    require_docker()
    endpoint = (endpoint_url or f"http://{LOCALHOST}:{emulator_port}").rstrip("/")
    stack = DeployedStack(endpoint)
    if stack.base_url() is None:
        raise EmbeddedError(
            f"Nothing is deployed at {endpoint}: `make up` starts the system without containers, and "
            "AWS_ENDPOINT_URL names another emulator."
        )
    try:
        deployed = stack.function_environments()
    except ClientError as error:
        raise EmbeddedError(
            f"The functions deployed at {endpoint} cannot be read: {error}"
        ) from error
    environment = ContainerEnvironment.of(deployed, endpoint, mongodb_port)
    environment.write(ENVIRONMENT_FILE)
    console.print(f"Wrote {ENVIRONMENT_FILE.relative_to(PROJECT)}. Building the functions ...")
    build = Build.for_lambda(runtime)
    with build.exclusive():
        build.run(LOGS)
    return SamLocal(build, endpoint, environment.ports)


def _require_free(port: int, variable: str) -> None:
    if accepts_connections(port):
        raise EmbeddedError(f"Port {port} is taken. Choose another: {variable}={port + 10}")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Exits 1 with one clear message for what the user can act on."""
    try:
        cli(prog_name="python -m infra.local.sam_local", standalone_mode=True)
    except EmbeddedError as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
