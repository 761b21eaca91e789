"""The place that a command is about: the local stack, LocalStack or AWS. TARGET alone chooses it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from infra.local.build import PROJECT, Build
from infra.local.deployed_stack import STACK_NAME, DeployedStack
from infra.local.deployment import Deployment, StartAfreshError
from infra.local.docker import require_compose
from infra.local.processes import LOCALHOST, EmbeddedError
from infra.local.stack import EmbeddedStack, Step, directory_of

F = TypeVar("F", bound=Callable[..., Any])

COMPOSE_FILE = Path(__file__).with_name("compose.yaml")
LOGS = PROJECT / ".aws-sam" / "logs"
DEFAULT_PORT = 4566
# The time limit, in seconds, is longer than the health checks of the containers take.
COMPOSE_UP = ("up", "--detach", "--wait", "--wait-timeout", "300")
MONGODB_FOR_CONTAINERS = "mongodb://mongodb:27017/order_history"
START_AFRESH = "Start with empty containers: make localstack-down localstack-up localstack-deploy"
START_AFRESH_ELSEWHERE = (
    "Delete the data first: empty the view's database, run\n"
    f"  aws --endpoint-url {{}} cloudformation delete-stack --stack-name {STACK_NAME}\n"
    "and then make localstack-deploy"
)
AWS_COMMANDS = "On AWS use SAM CLI: sam build --config-env dev && sam deploy --config-env dev"


@dataclass(frozen=True)
class Target:
    """The stack at `endpoint_url`. None is AWS, with the user's credentials and region."""

    name: str
    port: int
    endpoint_url: str | None

    @classmethod
    def of(cls, name: str, port: int) -> Target:
        """Return the target. AWS_ENDPOINT_URL and LOCALSTACK_PORT apply to LocalStack only, PORT to the local stack."""
        if name == "aws":
            return cls(name, 0, None)
        if name == "embedded":
            return cls(name, port, f"http://{LOCALHOST}:{port}")
        port = int(os.environ.get("LOCALSTACK_PORT", DEFAULT_PORT))
        url = os.environ.get("AWS_ENDPOINT_URL", f"http://localhost:{port}")
        return cls(name, port, url.rstrip("/"))

    @property
    def stack(self) -> DeployedStack:
        """The deployed stack."""
        name = os.environ.get("STACK_NAME", STACK_NAME) if self.name == "aws" else STACK_NAME
        return DeployedStack(self.endpoint_url, name)

    def hint(self, command: str) -> str:
        """Return the command of make for this port."""
        return f"`make {command}{'' if self.port == DEFAULT_PORT else f' PORT={self.port}'}`"

    def base_url(self) -> str:
        """Return the API's base URL. Raises: EmbeddedError with the command that deploys it."""
        if self.name == "embedded":
            return self.running().base_url
        if base_url := self.stack.base_url():
            return base_url
        where, how = f"at {self.endpoint_url}", "Run `make localstack-deploy`."
        if self.name == "aws":
            where, how = "on AWS", AWS_COMMANDS
        raise EmbeddedError(f"The stack {self.stack.name} is not {where}. {how}")

    def running(self) -> EmbeddedStack:
        """Return the running local stack. Raises: EmbeddedError, which names other running instances."""
        stack = EmbeddedStack.find(directory_of(self.port))
        if stack is not None and stack.is_running():
            return stack
        hint = f"{self.hint('up')} starts it."
        if others := [port for port in EmbeddedStack.ports() if port != self.port]:
            ports = ", ".join(map(str, others))
            hint = f"An instance is recorded on port {ports}: add PORT={others[0]}."
        raise EmbeddedError(f"Not running on port {self.port}. {hint}")


def setting(name: str, description: str, default: object = None, **more: Any) -> Callable[[F], F]:
    """Return the option `--some-name`, which the variable SOME_NAME of the environment sets, too."""
    variable = name.upper().replace("-", "_")
    more = {"show_default": default is not None, "show_envvar": True, **more}
    return click.option(f"--{name}", envvar=variable, default=default, help=description, **more)


PORT = click.IntRange(1, 65535)


def target_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options --target and --port to the command, whose first argument is then the target."""

    @wraps(command)
    def with_target(*, target: str, port: int, **options: object) -> None:
        command(Target.of(target, port), **options)

    places = click.Choice(["embedded", "localstack", "aws"])
    port_option = setting("port", "Port of the local stack.", DEFAULT_PORT, type=PORT)
    return setting("target", "Where the stack is.", "embedded", type=places)(
        port_option(with_target)
    )


def compose(port: int, *arguments: str) -> None:
    """Run `docker compose` on LocalStack's containers. Raises: EmbeddedError with the remedy."""
    require_compose()
    command = ["docker", "compose", "--file", str(COMPOSE_FILE), *arguments]
    environment = {**os.environ, "LOCALSTACK_PORT": str(port)}
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise EmbeddedError(
            f"`docker compose {arguments[0]}` failed. LOCALSTACK_PORT and MONGODB_PORT choose other ports. "
            "The containers' logs: docker compose -f infra/local/compose.yaml logs"
        )


def deploy_to_localstack(
    target: Target, mongodb_uri: str | None, runtime: str, log_level: str, step: Step
) -> list[str]:
    """Build and deploy the current source. Return the changes that LocalStack does not make."""
    url = target.endpoint_url or ""
    _require_localstack(url)
    uri, build = mongodb_uri or MONGODB_FOR_CONTAINERS, Build.for_lambda(runtime)
    try:
        return Deployment(url, uri, log_level, build=build, is_localstack=True).run(LOGS, step)
    except StartAfreshError as error:
        how = START_AFRESH if "AWS_ENDPOINT_URL" not in os.environ else START_AFRESH_ELSEWHERE
        raise EmbeddedError(f"{error}\n{how.format(url)}") from error


def _require_localstack(endpoint_url: str) -> None:
    try:
        info = f"{endpoint_url}/_localstack/info"
        httpx.get(info, trust_env=False, timeout=10).raise_for_status()
    except httpx.HTTPError:
        raise EmbeddedError(
            f"No LocalStack answers at {endpoint_url}: `make localstack-up` starts one, AWS_ENDPOINT_URL names another."
        ) from None
