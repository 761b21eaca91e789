"""The place that a command is about: the local stack, LocalStack or AWS. TARGET alone chooses it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import click
import httpx

from infra.local.build import PROJECT, Build
from infra.local.deployed_stack import STACK_NAME, DeployedStack
from infra.local.deployment import Deployment, StartAfreshError
from infra.local.docker import require_compose
from infra.local.processes import LOCALHOST, EmbeddedError
from infra.local.stack import EmbeddedStack, Step, directory_of

COMPOSE_FILE = Path(__file__).with_name("compose.yaml")
LOGS = PROJECT / ".aws-sam" / "logs"
DEFAULT_PORT = 4566
# Longer than the health checks of the containers take.
HEALTHY_TIMEOUT_SECONDS = 300
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

    def base_url(self) -> str:
        """Return the API's base URL. Raises: EmbeddedError with the command that deploys it."""
        if self.name == "embedded":
            return self.running().base_url
        if base_url := self.stack.base_url():
            return base_url
        if self.name == "localstack":
            raise EmbeddedError(
                f"Nothing is deployed at {self.endpoint_url}: run `make localstack-deploy`."
            )
        raise EmbeddedError(f"The stack {self.stack.name} is not on AWS. {AWS_COMMANDS}")

    def running(self) -> EmbeddedStack:
        """Return the running local stack. Raises: EmbeddedError, which names other running instances."""
        stack = EmbeddedStack.find(directory_of(self.port))
        if stack is not None and stack.is_running():
            return stack
        others = [port for port in EmbeddedStack.ports() if port != self.port]
        hint = (
            f"An instance is recorded on port {', '.join(map(str, others))}: add PORT={others[0]}."
            if others
            else "`make up` starts it."
        )
        raise EmbeddedError(f"Not running on port {self.port}. {hint}")


def target_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options --target and --port to the command, whose first argument is then the target."""

    @wraps(command)
    def with_target(*, target: str, port: int, **options: object) -> None:
        command(Target.of(target, port), **options)

    target_choice = click.option(
        "--target",
        envvar="TARGET",
        default="embedded",
        show_default=True,
        type=click.Choice(["embedded", "localstack", "aws"]),
        help="Where the stack is (TARGET).",
    )
    port_choice = click.option(
        "--port",
        envvar="PORT",
        default=DEFAULT_PORT,
        show_default=True,
        type=click.IntRange(1, 65535),
        help="Port of the local stack (PORT).",
    )
    return target_choice(port_choice(with_target))


def compose(*arguments: str, port: int) -> None:
    """Run `docker compose` on LocalStack's containers. Raises: EmbeddedError with the remedy."""
    require_compose()
    command = ["docker", "compose", "--file", str(COMPOSE_FILE), *arguments]
    environment = {**os.environ, "LOCALSTACK_PORT": str(port)}
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise EmbeddedError(
            f"`docker compose {arguments[0]}` failed. LOCALSTACK_PORT and MONGODB_PORT choose other ports. "
            "The containers' logs: docker compose -f infra/local/compose.yaml logs"
        )


def start_localstack(target: Target) -> None:
    """Start LocalStack and MongoDB in containers and wait until they are healthy."""
    timeout = str(HEALTHY_TIMEOUT_SECONDS)
    compose("up", "--detach", "--wait", "--wait-timeout", timeout, port=target.port)


def deploy_to_localstack(
    target: Target, mongodb_uri: str | None, runtime: str, log_level: str, step: Step
) -> list[str]:
    """Build and deploy the current source. Return the changes that LocalStack does not make."""
    assert target.endpoint_url is not None
    uri = mongodb_uri or MONGODB_FOR_CONTAINERS
    build = Build.for_lambda(runtime)
    deployment = Deployment(target.endpoint_url, uri, log_level, build=build, is_localstack=True)
    _require_localstack(target.endpoint_url)
    with build.exclusive():
        with step("Building the functions"):
            build.run(LOGS)
        with step(f"Deploying to {target.endpoint_url}"):
            try:
                notes = deployment.deploy()
            except StartAfreshError as error:
                is_ours = "AWS_ENDPOINT_URL" not in os.environ
                how = (
                    START_AFRESH if is_ours else START_AFRESH_ELSEWHERE.format(target.endpoint_url)
                )
                raise EmbeddedError(f"{error}\n{how}") from error
    with step("Starting the functions"):
        try:
            deployment.stack.warm_up()
        except EmbeddedError as error:
            # The URI itself may contain a password.
            raise EmbeddedError(
                f"{error}\nMONGODB_URI must name a MongoDB that the functions' containers reach."
            ) from None
    return notes


def _require_localstack(endpoint_url: str) -> None:
    try:
        info = httpx.get(f"{endpoint_url}/_localstack/info", trust_env=False, timeout=10)
    except httpx.TransportError:
        raise EmbeddedError(
            f"No LocalStack answers at {endpoint_url}: `make localstack-up` starts one, AWS_ENDPOINT_URL names another."
        ) from None
    if not info.is_success:
        raise EmbeddedError(
            f"The server at {endpoint_url} is not LocalStack. AWS_ENDPOINT_URL names another."
        )
