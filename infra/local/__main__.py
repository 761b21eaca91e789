"""The command line: python -m infra.local COMMAND."""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from infra.local import emulators
from infra.local.logs import FunctionLogs
from infra.local.processes import EmbeddedError
from infra.local.stack import AlreadyRunningError, EmbeddedStack, directory_of

ENDPOINTS = (
    ("POST", "/customers", "create a customer"),
    ("GET", "/customers", "list customers"),
    ("GET", "/customers/{customerId}", "a customer and their available credit"),
    ("POST", "/orders", "create an order: PENDING until the saga has decided"),
    ("GET", "/orders", "list orders"),
    ("GET", "/orders/{orderId}", "an order and its state"),
    ("POST", "/orders/{orderId}/cancel", "cancel an approved order"),
    ("GET", "/customers/{customerId}/orderhistory", "the view: a customer with their orders"),
    ("GET", "/customers/count", "the view: the number of customers"),
    ("GET", "/orderhistory/orders/{orderId}", "the view: an order and its timeline"),
    ("GET", "/orderhistory/orders/{orderId}/events", "the view: all events of an order"),
    ("GET", "/health", "the state of the parts, and the version"),
)
EXAMPLE = """\
URL={base_url}
CUSTOMER=$(curl -s $URL/customers -H 'Content-Type: application/json' \
-d '{{"name": "Jane Doe", "creditLimit": {{"amount": 5}}}}' | grep -oE '[0-9]+')
ORDER=$(curl -s $URL/orders -H 'Content-Type: application/json' \
-d '{{"customerId": '$CUSTOMER', "orderTotal": {{"amount": 4}}}}' | grep -oE '[0-9]+')
sleep 5; curl -s $URL/orders/$ORDER; echo
curl -s $URL/customers/$CUSTOMER/orderhistory; echo"""
LOOK_INTERVAL_SECONDS = 1.0

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)

PORT = click.IntRange(1, 65535)
port_option = click.option(
    "--port",
    envvar="PORT",
    default=4566,
    show_default=True,
    type=PORT,
    help="Of the AWS emulator (PORT).",
)


def _by_name(_context: object, _option: object, given: tuple[str, ...]) -> dict[str, str]:
    """`("A=1",)` as `{"A": "1"}`."""
    pairs = [text.partition("=") for text in given]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise click.BadParameter(f"{wrong[0]} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


def start_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the commands that start an instance."""
    for option in (
        port_option,
        click.option(
            "--mongodb-port",
            envvar="MONGODB_PORT",
            default=27017,
            show_default=True,
            type=PORT,
            help="Of the MongoDB server that is started (MONGODB_PORT).",
        ),
        click.option(
            "--mongodb-uri", envvar="MONGODB_URI", help="Of a server to use instead (MONGODB_URI)."
        ),
        click.option(
            "--log-level",
            envvar="LOG_LEVEL",
            default="INFO",
            show_default=True,
            type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
            help="Of the functions (LOG_LEVEL).",
        ),
        click.option(
            "--parameter",
            "parameters",
            envvar="PARAMETERS",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_by_name,
            help="Of template.yaml (PARAMETERS, separated by spaces).",
        ),
    ):
        command = option(command)
    return command


@click.group(help="Customers and Orders on this machine, without containers.")
def cli() -> None:
    """Every command leaves nothing half done when it is interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


@cli.command(help="Start everything in the background.")
@start_options
def up(**options: Any) -> None:
    """The system runs until `down`."""
    _introduce(_launch(**options))


@cli.command(help="Start everything, follow the logs, stop everything at Ctrl-C.")
@start_options
def run(**options: Any) -> None:
    """The system ran until Ctrl-C, SIGTERM or `down`. Exits 1 if an emulator ended by itself."""
    try:
        stack = _launch(**options)
    except KeyboardInterrupt:
        sys.exit(0)
    try:
        _introduce(stack)
        console.print("\nThe functions' logs follow. Ctrl-C stops everything.")
        _follow(stack)
    except KeyboardInterrupt:
        with step("Stopping"):
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
@port_option
def down(port: int) -> None:
    """Nothing of the system runs."""
    stack = EmbeddedStack.find(directory_of(port))
    if stack is None:
        console.print("Not running.")
        return
    with step("Stopping"):
        stack.stop()


@cli.command(help="Print the API's base URL.")
@port_option
def url(port: int) -> None:
    """The URL, and nothing else, is on standard output."""
    click.echo(_running(port).base_url)


@cli.command(help="Print the functions' logs.")
@port_option
@click.option("--follow/--no-follow", default=True, show_default=True)
def logs(port: int, follow: bool) -> None:
    """What was logged is printed, and what is logged until Ctrl-C."""
    stack = _running(port)
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(stack)
    else:
        _print_lines(FunctionLogs(stack.aws_endpoint_url).read())
    errors.print(
        f"The emulators' own logs: {', '.join(process.log for process in stack.processes)}"
    )


@cli.command(help="Throw all data away, and start anew what was running.")
@start_options
def reset(port: int, **options: Any) -> None:
    """The system is empty; it runs if it ran before."""
    stack = EmbeddedStack.find(directory_of(port))
    was_running = stack is not None and stack.is_running()
    if stack:
        with step("Stopping"):
            stack.stop()
        if stack.has_foreign_mongodb():
            emulators.drop_database(stack.mongodb_uri)
    shutil.rmtree(directory_of(port), ignore_errors=True)
    if was_running:
        _introduce(_launch(port=port, **options))
    else:
        console.print("Nothing was running, and nothing is left.")


@cli.command(help="Build and deploy the source as it is now to what is running.")
@port_option
def deploy(port: int) -> None:
    """Changed code runs. Data stays."""
    stack = _running(port)
    started, old_url = time.monotonic(), stack.base_url
    stack.redeploy(step)
    console.print(f"Deployed in {time.monotonic() - started:.1f} s: {stack.base_url}")
    if stack.base_url != old_url:
        console.print("The API's definition changed, and its URL with it.")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Shows that something is under way, and how long it took."""
    started = time.monotonic()
    if console.is_terminal:
        with console.status(f"{title} ..."):
            yield
    else:
        console.print(f"{title} ...")
        yield
    console.print(f"{title}: {time.monotonic() - started:.1f} s")


def _launch(*, log_level: str, **options: Any) -> EmbeddedStack:
    try:
        return EmbeddedStack.launch(log_level=log_level.upper(), step=step, **options)
    except AlreadyRunningError as running:
        console.print(f"{running}  (`make down` stops it)")
        sys.exit(0)


def _running(port: int) -> EmbeddedStack:
    stack = EmbeddedStack.find(directory_of(port))
    if stack is None or not stack.is_running():
        raise EmbeddedError(f"Not running on port {port}: `make up` starts it.")
    return stack


def _introduce(stack: EmbeddedStack) -> None:
    console.print(f"\nRunning at {stack.base_url}", style="bold")
    console.print(f"\n  See it in the browser    {stack.base_url}/", style="bold green")
    console.print(f"  API documentation        {stack.base_url}/docs\n")
    for method, path, what in ENDPOINTS:
        console.print(f"{method:<6}{path:<41}{what}", markup=False)
    console.print("\nTry it:\n", style="bold")
    console.print(EXAMPLE.format(base_url=stack.base_url), markup=False)
    if stack.has_foreign_mongodb():
        uri = emulators.without_password(stack.mongodb_uri)
        console.print(
            f"\nThe view in {uri} still has what it had; `make reset` drops that database."
        )


def _follow(stack: EmbeddedStack) -> None:
    function_logs = FunctionLogs(stack.aws_endpoint_url)
    while not stack.ended():
        # The emulator may be busy, or gone: the loop's condition finds out which.
        with suppress(BotoCoreError, ClientError):
            _print_lines(function_logs.read())
        time.sleep(LOOK_INTERVAL_SECONDS)


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Exits 1 with one clear message for what the user can act on, 130 when interrupted."""
    try:
        cli(prog_name="python -m infra.local", standalone_mode=True)
    except EmbeddedError as error:
        errors.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
