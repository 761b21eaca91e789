"""Which stack is meant: one on an emulator, or one on AWS."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.local.processes import LOCALHOST

START_HINTS = {
    "embedded": "`make up` deploys it",
    "localstack": "`make localstack-deploy` deploys it",
}


class OperateError(Exception):
    """Something the user can act on; its text is all there is to say."""


@dataclass(frozen=True)
class Target:
    """The stack called `stack_name` where `session` leads, or at `endpoint_url`."""

    name: str
    session: boto3.Session
    endpoint_url: str | None = None
    stack_name: str = STACK_NAME
    config: Config = field(default_factory=Config)

    @classmethod
    def of(cls, name: str, port: int, endpoint_url: str | None, stack_name: str) -> Target:
        """`aws` is what the user's own credentials and region lead to; all else is an emulator."""
        if name == "aws":
            return cls(name, boto3.Session(), stack_name=stack_name)
        url = (endpoint_url or f"http://{LOCALHOST}:{port}").rstrip("/")
        return cls(name, aws_session(), url, stack_name, CLIENT_CONFIG)

    def client(self, service: str, config: Config | None = None) -> Any:
        """boto3's client of the service there."""
        merged = self.config.merge(config) if config else self.config
        return self.session.client(service, endpoint_url=self.endpoint_url, config=merged)  # type: ignore[call-overload]

    @cached_property
    def resources(self) -> dict[str, str]:
        """What each of the stack's resources is called, by its logical id.

        Raises: OperateError if there is no such stack.
        """
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        try:
            found = {
                resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
                for page in pages.paginate(StackName=self.stack_name)
                for resource in page["StackResourceSummaries"]
            }
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            found = {}
        if not found:
            hint = START_HINTS.get(self.name, "STACK_NAME names another")
            raise OperateError(f"There is no stack {self.stack_name} {self.place}: {hint}.")
        return found

    def resource(self, logical_id: str) -> str:
        """What the stack's resource is called.

        Raises: OperateError if the stack has no such resource.
        """
        if logical_id not in self.resources:
            raise OperateError(
                f"The stack {self.stack_name} {self.place} has no {logical_id}: "
                "what is deployed is older than this tool."
            )
        return self.resources[logical_id]

    @property
    def place(self) -> str:
        """Where it is, as the user knows it."""
        return f"at {self.endpoint_url}" if self.endpoint_url else f"in {self.session.region_name}"


def explain(error: BotoCoreError | ClientError) -> str:
    """What to tell of an error from AWS, in one line."""
    match error:
        case EndpointConnectionError():
            url = error.kwargs.get("endpoint_url")
            return f"Nothing answers at {url}: `make up` starts an emulator on PORT, AWS_ENDPOINT_URL names another."
        case NoCredentialsError():
            return "There are no AWS credentials: `aws configure` or AWS_PROFILE provides them."
        case NoRegionError():
            return "No AWS region is chosen: AWS_DEFAULT_REGION names one."
        case _:
            return " ".join(str(error).split())
