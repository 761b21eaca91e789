"""Run the functions in SAM CLI's containers, on the tables and queues of the local stack or of LocalStack.

    python -m infra.local.sam_local start-api

The emulator runs the rest of the saga.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console

from infra.local.build import LAMBDA_RUNTIME, PROJECT, Build
from infra.local.deployed_stack import CREDENTIALS, REGION, Environment
from infra.local.docker import (
    bridge_gateway,
    function_containers,
    remove_containers,
    require_docker,
)
from infra.local.processes import (
    INTERRUPTS,
    LOCALHOST,
    EmbeddedError,
    accepts_connections,
    handle_interrupts,
)
from infra.local.target import LOGS, Target, target_option

# Also named in samconfig.toml.
ENVIRONMENT_FILE = PROJECT / ".aws-sam" / "sam-local-env.json"
# This machine's name in containers: samconfig.toml adds it to the hosts of each.
CONTAINER_HOST = "host.docker.internal"
THIS_MACHINE = frozenset({"localhost", LOCALHOST, "::1"})
# MongoDB's name in infra/local/compose.yaml, which publishes its port here.
COMPOSE_MONGODB = "mongodb"
STOP_GRACE_SECONDS = 30.0
# SAM CLI prints this for each route of an API without authorizer.
NOISE = b"Authorizer 'NONE'"

# On standard output is only the answer of an invoked function.
console = Console(highlight=False, soft_wrap=True, stderr=True)


@dataclass(frozen=True)
class ContainerEnvironment:
    """The functions' variables in containers, and the ports of this machine that containers must reach."""

    functions: Mapping[str, Environment]
    ports: frozenset[int]

    @classmethod
    def of(
        cls, deployed: Mapping[str, Environment], endpoint_url: str, mongodb_port: int
    ) -> ContainerEnvironment:
        """Convert the variables of the deployed functions, which hold the physical names.

        `mongodb_port` is the published port of the compose file's MongoDB.
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

        def with_hosts(url: str) -> str:
            parts = urlsplit(url)
            credentials, at, hosts = parts.netloc.rpartition("@")
            netloc = credentials + at + ",".join(moved(host) for host in hosts.split(","))
            return parts._replace(netloc=netloc).geturl()

        functions = {}
        for function, variables in deployed.items():
            functions[function] = {**variables, "AWS_ENDPOINT_URL": with_hosts(endpoint_url)}
            if "MONGODB_URI" in variables:
                functions[function]["MONGODB_URI"] = with_hosts(variables["MONGODB_URI"])
        return cls(functions, frozenset(ports))

    def write(self, file: Path) -> None:
        """Write the file for `sam local --env-vars`. It may contain a password."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(self.functions, indent=2, sort_keys=True) + "\n")


@dataclass(frozen=True)
class SamLocal:
    """The built functions, and the emulator that they use."""

    build: Build
    endpoint_url: str
    ports: frozenset[int]

    @classmethod
    def prepare(cls, target: Target, mongodb_port: int, runtime: str) -> SamLocal:
        """Write the environment file and build the functions for Lambda's Linux."""
        require_docker()
        target.base_url()  # raises if nothing is deployed
        if target.endpoint_url is None:
            raise EmbeddedError("sam local uses an emulator: TARGET is embedded or localstack.")
        environment = ContainerEnvironment.of(
            target.stack.function_environments(), target.endpoint_url, mongodb_port
        )
        environment.write(ENVIRONMENT_FILE)
        console.print(
            f"Wrote {ENVIRONMENT_FILE.relative_to(PROJECT)}. Plain `sam local` can use it, and starts faster with\n"
            f"  AWS_ENDPOINT_URL_STS={target.endpoint_url}\nBuilding the functions ..."
        )
        build = Build.for_lambda(runtime)
        with build.exclusive():
            build.run(LOGS)
        return cls(build, target.endpoint_url, environment.ports)

    def run(self, command: str, *arguments: str) -> None:
        """Run the command until it ends or is interrupted, then exit as it did. Leave no container behind."""
        sam = [
            *(sys.executable, "-m", "samcli", "local", command, *arguments),
            # By default SAM looks for its settings beside the template.
            *("--config-file", str(PROJECT / "samconfig.toml")),
            *("--template", str(self.build.template_file)),
            "--parameter-overrides",
            " ".join(f"{name}={value}" for name, value in self.build.parameters.items()),
        ]
        before = function_containers()
        exit_code = asyncio.run(self._run(sam))
        if exit_code is None:
            # SAM can be interrupted after it created a container and before it remembered it.
            remove_containers(function_containers() - before)
        sys.exit(exit_code)

    async def _run(self, command: list[str]) -> int | None:
        """Return the exit code, or None if it was interrupted."""
        gateway = bridge_gateway()
        for port in self.ports if gateway else ():
            await forward_port(gateway or "", port)
        # In its own session a Ctrl-C reaches it once, from here.
        sam = await asyncio.create_subprocess_exec(
            *command,
            cwd=PROJECT,
            env=self._environment(),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        printing = asyncio.create_task(_print_without_noise(sam.stderr))
        interrupted = asyncio.Event()
        for number in INTERRUPTS:
            asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
        ended, interrupt = asyncio.create_task(sam.wait()), asyncio.create_task(interrupted.wait())
        await asyncio.wait({ended, interrupt}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            await printing
            return ended.result()
        sam.send_signal(signal.SIGINT)
        await asyncio.wait({ended}, timeout=STOP_GRACE_SECONDS)
        if not ended.done():
            sam.kill()
        return None

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        no_proxy = f"localhost,{LOCALHOST},{inherited.get('NO_PROXY', '')}"
        return inherited | {
            **{name.upper(): value for name, value in CREDENTIALS.items()},
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            # SAM asks for the account's number. Otherwise it waits ten seconds for AWS.
            "AWS_ENDPOINT_URL_STS": self.endpoint_url,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS": "1",
            "__SAM_CLI_APP_DIR": str(self.build.root),
        }


async def _print_without_noise(lines: asyncio.StreamReader | None) -> None:
    assert lines is not None
    async for line in lines:
        if NOISE not in line:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()


async def forward_port(address: str, port: int) -> None:
    """Forward connections from the port at `address` to 127.0.0.1, where the emulators listen.

    Do nothing if Docker has its own machine, which forwards by itself, or if an emulator listens at `address`.
    The emulators refuse requests of web pages by themselves.
    """
    try:
        # From Python 3.13 on, asyncio's error lacks the reason.
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
    with suppress(OSError):  # treated as the end of the connection
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


def sam_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all commands, and give the command the prepared SamLocal."""

    @wraps(command)
    def prepared(where: Target, mongodb_port: int, runtime: str, **options: Any) -> None:
        if accepts_connections(port := options.get("serve_port", 0)):
            raise EmbeddedError(
                f"Port {port} is taken. SAM_LOCAL_PORT and SAM_LAMBDA_PORT choose others."
            )
        command(SamLocal.prepare(where, mongodb_port, runtime), **options)

    mongodb = click.option(
        "--mongodb-port", envvar="MONGODB_PORT", default=27017, show_default=True
    )
    runtime = click.option(
        "--runtime", envvar="PYTHON_RUNTIME", default=LAMBDA_RUNTIME, show_default=True
    )
    return target_option(mongodb(runtime(prepared)))


@click.group(help=__doc__)
def cli() -> None:
    """Handle Ctrl-C, SIGTERM and SIGHUP alike."""
    handle_interrupts()


@cli.command("start-api", help="Serve the API until Ctrl-C.")
@sam_options
@click.option("--serve-port", envvar="SAM_LOCAL_PORT", default=3000, show_default=True)
def start_api(local: SamLocal, serve_port: int) -> None:
    """Serve the API. The first request to each function starts its container."""
    console.print(f"Serving http://{LOCALHOST}:{serve_port}/customers")
    local.run("start-api", "--port", str(serve_port))


@cli.command("start-lambda", help="Serve Lambda's Invoke API until Ctrl-C.")
@sam_options
@click.option("--serve-port", envvar="SAM_LAMBDA_PORT", default=3001, show_default=True)
def start_lambda(local: SamLocal, serve_port: int) -> None:
    """Serve the functions by their logical ids."""
    console.print(
        f"In another terminal: aws lambda invoke --endpoint-url http://{LOCALHOST}:{serve_port} --function-name "
        "OrderHistoryApiFunction --payload fileb://events/order_history_api_count.json /dev/stdout"
    )
    local.run("start-lambda", "--port", str(serve_port))


@cli.command(help="Invoke one function with an event from a file.")
@sam_options
@click.argument("function")
@click.option("--event", type=click.Path(exists=True, dir_okay=False), required=True)
def invoke(local: SamLocal, function: str, event: str) -> None:
    """Print the answer to standard output and the function's log to standard error."""
    local.run("invoke", function, "--event", str(Path(event).resolve()))


def main() -> None:
    """Exit with 1 and one clear message for an error that the user can act on."""
    try:
        cli(prog_name="python -m infra.local.sam_local", standalone_mode=True)
    except EmbeddedError as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
