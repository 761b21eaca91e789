"""The command line: python -m infra.local COMMAND."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from infra.local.target import DEFAULT_PORT, PORT, Target, setting, target_option

INTRODUCTION = """
Running at {base_url}

  Console            {base_url}/
  API documentation  {base_url}/docs

Try it: create a customer and an order, wait until the order is decided and in the view, and follow its saga.

URL={base_url}
CUSTOMER=$(curl -s $URL/customers -H 'Content-Type: application/json' \
-d '{{"name": "Jane Doe", "creditLimit": {{"amount": 5}}}}' | grep -oE '[0-9]+')
ORDER=$(curl -s $URL/orders -H 'Content-Type: application/json' \
-d '{{"customerId": '$CUSTOMER', "orderTotal": {{"amount": 4}}}}' | grep -oE '[0-9]+')
curl -s -w '\\n' $URL/orders/$ORDER -H 'Prefer: wait=10'
curl -s -w '\\n' "$URL/orderhistory/orders/$ORDER?minVersion=2"
make trace {port}ORDER=$ORDER

{aws_clients}"""
AWS_CLIENTS = (
    "For aws, awslocal and boto3: export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={region} "
    "AWS_ACCESS_KEY_ID={aws_access_key_id} AWS_SECRET_ACCESS_KEY={aws_secret_access_key}"
)
LOOK_INTERVAL_SECONDS = 1.0
LOG_LEVELS = {
    **{level: level for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")},
    "TRACE": "DEBUG",
    "WARN": "WARNING",
    "FATAL": "CRITICAL",
}
SECONDS_BY_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}

console = Console(highlight=False, soft_wrap=True, markup=False)
errors = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)


def _pairs(_context: object, _option: object, given: tuple[str, ...]) -> dict[str, str]:
    """Convert `("A=1",)` to `{"A": "1"}`."""
    for text in given:
        if "=" not in text:
            raise click.BadParameter(f"{text} is not NAME=VALUE")
    return dict(text.split("=", 1) for text in given)


def _log_level(_context: object, _option: object, given: str) -> str:
    level = LOG_LEVELS.get(given.strip().upper())
    if level is None:
        raise click.BadParameter(f"{given} is not one of {', '.join(LOG_LEVELS)}")
    return level


def _milliseconds(_context: object, _option: object, given: str) -> int:
    """Convert the age `10m` to the instant ten minutes ago, in milliseconds since 1970."""
    found = re.fullmatch(r"(\d+)([smhd])", given.strip())
    if found is None:
        raise click.BadParameter(f"{given} is not a duration such as 30s, 10m, 2h or 1d")
    return int((time.time() - int(found[1]) * SECONDS_BY_UNIT[found[2]]) * 1000)


log_level_option = setting("log-level", "Log level of the functions.", "INFO", callback=_log_level)
mongodb_uri_option = setting("mongodb-uri", "URI of an existing MongoDB.")


def start_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the commands that start an instance."""
    port = setting("mongodb-port", "Port of the MongoDB that is started.", 27017, type=PORT)
    parameters = setting(
        "parameters", "NAME=VALUE of template.yaml ...", multiple=True, callback=_pairs
    )
    return target_option(mongodb_uri_option(log_level_option(port(parameters(command)))))


@click.group()
def cli() -> None:
    """Run Customers and Orders on this machine."""
    handle_interrupts()


@cli.command()
@start_options
def up(where: Target, **options: Any) -> None:
    """Start the local stack, or the containers of LocalStack, in the background."""
    if where.name == "localstack":
        target.compose(where.port, *target.COMPOSE_UP)
        console.print(f"LocalStack is ready at {where.endpoint_url}: `make localstack-deploy`")
    else:
        _introduce(_launch(where, **options))


@cli.command()
@start_options
def run(where: Target, **options: Any) -> None:
    """Start the local stack, follow its logs, stop it at Ctrl-C. Exit with 1 if an emulator ended by itself."""
    try:
        stack = _launch(where, **options)
    except KeyboardInterrupt:
        sys.exit(0)
    try:
        _introduce(stack)
        console.print("\nThe functions' logs follow. Ctrl-C stops everything.")
        _follow(FunctionLogs(where.stack, int(time.time() * 1000)), stack)
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


@cli.command()
@target_option
def down(where: Target) -> None:
    """Stop the local stack, or remove LocalStack's containers with their data."""
    if where.name == "localstack":
        target.compose(where.port, "down", "--volumes", "--remove-orphans")
        return
    _require_embedded(where)
    if stack := EmbeddedStack.find(directory_of(where.port)):
        with step("Stopping"):
            stack.stop()
    else:
        console.print("Not running.")


@cli.command()
@target_option
def url(where: Target) -> None:
    """Print the API's base URL."""
    click.echo(where.base_url())


@cli.command()
@target_option
@setting("since", "Include earlier lines, such as 10m or 2h.", "0s", callback=_milliseconds)
def logs(where: Target, since: int) -> None:
    """Print the functions' logs from now on, until Ctrl-C."""
    where.base_url()  # raises if nothing is deployed
    stack = where.running() if where.name == "embedded" else None
    with suppress(KeyboardInterrupt):
        _follow(FunctionLogs(where.stack, since), stack)
    for process in stack.processes if stack else []:
        errors.print(f"The log of {process.name}: {process.log}")


@cli.command()
@target_option
def reset(where: Target) -> None:
    """Delete all data of the local stack, which keeps running."""
    _require_embedded(where)
    stack = EmbeddedStack.find(directory_of(where.port))
    if stack and stack.is_running():
        stack.reset(step)
        console.print(f"Empty and running at {stack.base_url}")
    else:
        if stack:
            stack.stop()
        console.print("Nothing was running, and no data is left.")


@cli.command()
@target_option
@mongodb_uri_option
@log_level_option
@setting("python-runtime", "Runtime of the functions on LocalStack.", LAMBDA_RUNTIME)
def deploy(where: Target, python_runtime: str, mongodb_uri: str | None, log_level: str) -> None:
    """Build and deploy the current source to the local stack or to LocalStack. Data stays."""
    notes = []
    if where.name == "localstack":
        notes = target.deploy_to_localstack(where, mongodb_uri, python_runtime, log_level, step)
        notes.append(_aws_clients(where.endpoint_url))
    else:
        _require_embedded(where)
        stack = where.running()
        old_url = stack.base_url
        stack.redeploy(step)
        if stack.base_url != old_url:
            notes.append("The API's definition changed, and its URL with it.")
    console.print("\n".join([f"Deployed: {where.base_url()}", *notes]))


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title while the block runs, and its duration afterwards."""
    started = time.monotonic()
    with console.status(f"{title} ..."):
        yield
    console.print(f"{title}: {time.monotonic() - started:.1f} s")


def _require_embedded(where: Target) -> None:
    if where.name != "embedded":
        hint = f" {target.AWS_COMMANDS}" if where.name == "aws" else ""
        raise EmbeddedError(f"This command is not for TARGET={where.name}.{hint}")


def _launch(where: Target, **options: Any) -> EmbeddedStack:
    _require_embedded(where)
    try:
        return EmbeddedStack.launch(port=where.port, step=step, **options)
    except AlreadyRunningError as running:
        deploy, stop = where.hint("deploy-local"), where.hint("down")
        console.print(f"{running}\n{deploy} deploys changed code, {stop} stops it.")
        sys.exit(0)


def _introduce(stack: EmbeddedStack) -> None:
    port = stack.aws_endpoint_url.rpartition(":")[2]
    port = "" if port == str(DEFAULT_PORT) else f"PORT={port} "
    clients = _aws_clients(stack.aws_endpoint_url)
    console.print(INTRODUCTION.format(base_url=stack.base_url, port=port, aws_clients=clients))
    if stack.has_foreign_mongodb():
        uri = emulators.without_password(stack.mongodb_uri)
        console.print(f"\nThe view in {uri} keeps its earlier data. `make reset` deletes it.")


def _aws_clients(endpoint_url: str | None) -> str:
    return AWS_CLIENTS.format(url=endpoint_url, region=REGION, **CREDENTIALS)


def _follow(function_logs: FunctionLogs, stack: EmbeddedStack | None) -> None:
    while stack is None or not stack.ended():
        # The emulator may be busy or gone. The loop's condition finds out.
        with suppress(BotoCoreError, ClientError):
            for line in function_logs.read():
                console.print(line)
        time.sleep(LOOK_INTERVAL_SECONDS)


def main() -> None:
    """Exit with 1 and one clear message for an error that the user can act on."""
    try:
        cli()
    except PermissionError as error:
        sys.exit(f"{error.filename}: permission denied. Does it belong to another user?")


if __name__ == "__main__":
    main()
