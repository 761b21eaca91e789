"""The command line: python -m infra.local COMMAND."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from infra.local import emulators, target
from infra.local.build import LAMBDA_RUNTIME
from infra.local.deployed_stack import CREDENTIALS, REGION
from infra.local.logs import FunctionLogs
from infra.local.processes import EmbeddedError, handle_interrupts, uninterrupted
from infra.local.stack import AlreadyRunningError, EmbeddedStack, directory_of
from infra.local.target import DEFAULT_PORT, Target, target_option

EXAMPLE = """\
URL={base_url}
CUSTOMER=$(curl -s $URL/customers -H 'Content-Type: application/json' \
-d '{{"name": "Jane Doe", "creditLimit": {{"amount": 5}}}}' | grep -oE '[0-9]+')
ORDER=$(curl -s $URL/orders -H 'Content-Type: application/json' \
-d '{{"customerId": '$CUSTOMER', "orderTotal": {{"amount": 4}}}}' | grep -oE '[0-9]+')
while curl -s $URL/orders/$ORDER | grep -q PENDING; do sleep 0.1; done
curl -s $URL/orders/$ORDER; echo
curl -s $URL/customers/$CUSTOMER/orderhistory; echo
make trace {port}ORDER=$ORDER"""
AWS_CLIENTS = (
    "aws, awslocal and boto3 reach it with: export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={region} "
    "AWS_ACCESS_KEY_ID={aws_access_key_id} AWS_SECRET_ACCESS_KEY={aws_secret_access_key}"
)
LOOK_INTERVAL_SECONDS = 1.0
LOG_LEVELS = {"WARN": "WARNING", "FATAL": "CRITICAL", "TRACE": "DEBUG"}
SECONDS_BY_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)


def _pairs(_context: object, _option: object, given: tuple[str, ...]) -> dict[str, str]:
    """Convert `("A=1",)` to `{"A": "1"}`."""
    pairs = [text.partition("=") for text in given]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _log_level(_context: object, _option: object, given: str) -> str:
    level = given.strip().upper()
    level = LOG_LEVELS.get(level, level)
    known = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    if level not in known:
        raise click.BadParameter(f"{given} is not one of {', '.join(known)}")
    return level


def _milliseconds(_context: object, _option: object, given: str) -> int:
    """Convert the age `10m` to the instant ten minutes ago."""
    found = re.fullmatch(r"(\d+)([smhd])", given.strip())
    if found is None:
        raise click.BadParameter(f"{given} is not a duration such as 30s, 10m, 2h or 1d")
    age = int(found[1]) * SECONDS_BY_UNIT[found[2]]
    return int((datetime.now(UTC).timestamp() - age) * 1000)


log_level_option = click.option(
    "--log-level",
    envvar="LOG_LEVEL",
    default="INFO",
    show_default=True,
    callback=_log_level,
    help="Log level of the functions (LOG_LEVEL).",
)
mongodb_uri_option = click.option(
    "--mongodb-uri", envvar="MONGODB_URI", help="URI of an existing MongoDB (MONGODB_URI)."
)


def start_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the commands that start an instance."""
    for option in (
        target_option,
        mongodb_uri_option,
        log_level_option,
        click.option(
            "--mongodb-port",
            envvar="MONGODB_PORT",
            default=27017,
            show_default=True,
            type=click.IntRange(1, 65535),
            help="Port of the MongoDB server that is started (MONGODB_PORT).",
        ),
        click.option(
            "--parameter",
            "parameters",
            envvar="PARAMETERS",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_pairs,
            help="Parameter of template.yaml (PARAMETERS, separated by spaces).",
        ),
    )[::-1]:
        command = option(command)
    return command


@click.group(help="Customers and Orders: the local stack, LocalStack and AWS.")
def cli() -> None:
    """Handle Ctrl-C, SIGTERM and SIGHUP alike."""
    handle_interrupts()


@cli.command(help="Start everything in the background.")
@start_options
def up(where: Target, **options: Any) -> None:
    """Start the local stack, or the containers of LocalStack."""
    if where.name == "localstack":
        target.start_localstack(where)
        console.print(f"LocalStack is ready at {where.endpoint_url}: `make localstack-deploy`")
        return
    _introduce(_launch(where, **options))


@cli.command(help="Start everything, follow the logs, stop everything at Ctrl-C.")
@start_options
def run(where: Target, **options: Any) -> None:
    """Run until Ctrl-C, SIGTERM or `down`. Exit with 1 if an emulator ended by itself."""
    try:
        stack = _launch(where, **options)
    except KeyboardInterrupt:
        sys.exit(0)
    try:
        _introduce(stack)
        console.print("\nThe functions' logs follow. Ctrl-C stops everything.")
        _follow(where, _milliseconds(None, None, "0s"), stack)
    except KeyboardInterrupt:
        # A second Ctrl-C does not leave emulators behind.
        with step("Stopping"), suppress(KeyboardInterrupt), uninterrupted():
            stack.stop()
        return
    ended = stack.ended()
    if not stack.stop():
        console.print("Stopped by another command.")
        return
    for process in ended:
        errors.print(f"{process.name} has ended. The end of {process.log}:\n{process.log_tail()}")
    sys.exit(1)


@cli.command(help="Stop everything.")
@target_option
def down(where: Target) -> None:
    """Stop the local stack, or remove LocalStack's containers with their data."""
    if where.name == "localstack":
        target.compose("down", "--volumes", "--remove-orphans", port=where.port)
        return
    _require_embedded(where)
    stack = EmbeddedStack.find(directory_of(where.port))
    if stack is None:
        console.print("Not running.")
        return
    with step("Stopping"):
        stack.stop()


@cli.command(help="Print the API's base URL.")
@target_option
def url(where: Target) -> None:
    """Print the URL and nothing else to standard output."""
    click.echo(where.base_url())


@cli.command(help="Print the functions' logs from now on, until Ctrl-C.")
@target_option
@click.option(
    "--since",
    envvar="SINCE",
    default="0s",
    callback=_milliseconds,
    help="Include earlier lines, such as 10m or 2h (SINCE).",
)
@click.option("--follow/--no-follow", default=True, show_default=True)
def logs(where: Target, since: int, follow: bool) -> None:
    """Print one short line for each log line."""
    where.base_url()
    stack = where.running() if where.name == "embedded" else None
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(where, since, stack)
    else:
        _print_lines(FunctionLogs(where.stack, since).read())
    for process in stack.processes if stack else []:
        errors.print(f"The log of {process.name}: {process.log}")


@cli.command(help="Delete all data of the local stack.")
@target_option
def reset(where: Target) -> None:
    """Keep a running instance running. Delete the files of one that has ended."""
    _require_embedded(where)
    stack = EmbeddedStack.find(directory_of(where.port))
    if stack and stack.is_running():
        stack.reset(step)
        console.print(f"Empty and running at {stack.base_url}")
        return
    if stack:
        stack.stop()
    console.print("Nothing was running, and no data is left.")


@cli.command(help="Build and deploy the current source. Data stays.")
@target_option
@mongodb_uri_option
@log_level_option
@click.option(
    "--runtime",
    envvar="PYTHON_RUNTIME",
    default=LAMBDA_RUNTIME,
    show_default=True,
    help="Runtime of the functions on LocalStack (PYTHON_RUNTIME).",
)
def deploy(where: Target, runtime: str, mongodb_uri: str | None, log_level: str) -> None:
    """Deploy to the local stack or to LocalStack."""
    started = time.monotonic()
    if where.name == "localstack":
        for note in target.deploy_to_localstack(where, mongodb_uri, runtime, log_level, step):
            console.print(note, style="yellow")
        console.print(f"Deployed in {time.monotonic() - started:.1f} s: {where.base_url()}")
        console.print(_aws_clients(where.endpoint_url or ""))
        return
    _require_embedded(where)
    stack = where.running()
    old_url = stack.base_url
    stack.redeploy(step)
    console.print(f"Deployed in {time.monotonic() - started:.1f} s: {stack.base_url}")
    if stack.base_url != old_url:
        console.print("The API's definition changed, and its URL with it.")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title while the block runs, and its duration afterwards."""
    started = time.monotonic()
    if console.is_terminal:
        with console.status(f"{title} ..."):
            yield
    else:
        console.print(f"{title} ...")
        yield
    console.print(f"{title}: {time.monotonic() - started:.1f} s")


def _require_embedded(where: Target) -> None:
    if where.name != "embedded":
        raise EmbeddedError(f"This command is for the local stack, not for TARGET={where.name}.")


def _launch(where: Target, **options: Any) -> EmbeddedStack:
    if where.name == "aws":
        raise EmbeddedError(target.AWS_COMMANDS)
    _require_embedded(where)
    try:
        return EmbeddedStack.launch(port=where.port, step=step, **options)
    except AlreadyRunningError as running:
        console.print(f"{running}  (`make down` stops it)")
        sys.exit(0)


def _introduce(stack: EmbeddedStack) -> None:
    console.print(f"\nRunning at {stack.base_url}", style="bold")
    console.print(f"\n  See it in the browser    {stack.base_url}/", style="bold green")
    console.print(f"  API documentation        {stack.base_url}/docs\n")
    console.print("Try it:\n", style="bold")
    port = stack.deployment.port
    example_port = "" if port == DEFAULT_PORT else f"PORT={port} "
    console.print(EXAMPLE.format(base_url=stack.base_url, port=example_port), markup=False)
    console.print(f"\n{_aws_clients(stack.aws_endpoint_url)}")
    if stack.has_foreign_mongodb():
        uri = emulators.without_password(stack.mongodb_uri)
        console.print(f"\nThe view in {uri} keeps its earlier data. `make reset` deletes it.")


def _aws_clients(endpoint_url: str) -> str:
    return AWS_CLIENTS.format(url=endpoint_url, region=REGION, **CREDENTIALS)


def _follow(where: Target, since: int, stack: EmbeddedStack | None) -> None:
    function_logs = FunctionLogs(where.stack, since)
    while stack is None or not stack.ended():
        # The emulator may be busy or gone. The loop's condition finds out.
        with suppress(BotoCoreError, ClientError):
            _print_lines(function_logs.read())
        time.sleep(LOOK_INTERVAL_SECONDS)


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False)


def main() -> None:
    """Exit with 1 and one clear message for an error that the user can act on, with 130 when interrupted."""
    try:
        cli(prog_name="python -m infra.local", standalone_mode=True)
    except EmbeddedError as error:
        errors.print(str(error), style="red", markup=False)
    except PermissionError as error:
        errors.print(
            f"{error.filename}: permission denied. Does it belong to another user?",
            style="red",
            markup=False,
        )
    else:
        return
    sys.exit(1)


if __name__ == "__main__":
    main()
