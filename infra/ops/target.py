"""The stack to operate: on an emulator or on AWS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, aws_session
from infra.local.processes import LOCALHOST

HINTS = {"embedded": "`make up` deploys it", "localstack": "`make localstack-deploy` deploys it"}


class OperateError(Exception):
    """An error with a remedy. The text says what failed and what to do."""


@dataclass(frozen=True)
class Target:
    """The stack `stack_name` at `endpoint_url`, or in the session's region of AWS."""

    name: str
    session: boto3.Session
    endpoint_url: str | None = None
    stack_name: str = STACK_NAME
    config: Config = field(default_factory=Config)

    @classmethod
    def of(cls, name: str, port: int, endpoint_url: str | None, stack_name: str) -> Target:
        """Return the target `name`: aws, or an emulator at `endpoint_url` or on `port` of this machine.

        AWS_ENDPOINT_URL chooses another LocalStack, as for `make localstack-deploy`, and has no effect on the
        other targets. AWS_PROFILE and the user's files are for aws only.
        """
        if name == "aws":
            core = botocore.session.Session()
            core.set_config_variable("ignore_configured_endpoint_urls", value=True)
            return cls(name, boto3.Session(botocore_session=core), endpoint_url, stack_name)
        if name == "localstack" and not endpoint_url:
            endpoint_url = os.environ.get("AWS_ENDPOINT_URL")
        url = (endpoint_url or f"http://{LOCALHOST}:{port}").rstrip("/")
        return cls(name, aws_session(), url, stack_name, CLIENT_CONFIG)

    @cache  # noqa: B019, a command has one target
    def client(self, service: str, config: Config | None = None) -> Any:
        """Return boto3's client of the service."""
        merged = self.config.merge(config) if config else self.config
        return self.session.client(service, endpoint_url=self.endpoint_url, config=merged)  # type: ignore[call-overload]

    @cached_property
    def resources(self) -> dict[str, str]:
        """The physical ids of the stack's resources, by logical id. Raises: OperateError without a stack."""
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
            hint = HINTS.get(self.name, "STACK_NAME chooses another")
            raise OperateError(f"There is no stack {self.stack_name} {self.place}: {hint}.")
        return found

    def resource(self, logical_id: str) -> str:
        """Return the physical id of a resource. Raises: OperateError if the stack has no such resource."""
        if logical_id not in self.resources:
            raise OperateError(
                f"The stack {self.stack_name} {self.place} has no {logical_id}. Deploy it again: it is older than this tool."
            )
        return self.resources[logical_id]

    @property
    def sqs(self) -> Any:
        return self.client("sqs")

    @cache  # noqa: B019
    def queue_url(self, logical_id: str) -> str:
        """Return the queue's URL as the endpoint gives it. CloudFormation on an emulator may name another host."""
        name = self.resource(logical_id).rsplit("/", 1)[-1]
        return str(self.sqs.get_queue_url(QueueName=name)["QueueUrl"])

    @property
    def place(self) -> str:
        return f"at {self.endpoint_url}" if self.endpoint_url else f"in {self.session.region_name}"


def queue_depth(sqs: Any, url: str) -> int:
    """Return the approximate number of messages in the queue: waiting, delayed and in flight."""
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return sum(int(n) for key, n in attributes.items() if key.startswith("ApproximateNumber"))


def explain(error: Exception) -> str:
    """Return one line: what failed and what to do."""
    if isinstance(error, EndpointConnectionError):
        url = error.kwargs["endpoint_url"]
        port = urlsplit(url).port  # an emulator's, since AWS's URLs have none
        start = f"`make up PORT={port}` starts the local stack there; " if port else ""
        return f"Nothing answers at {url}. {start}TARGET chooses another place."
    if isinstance(error, NoCredentialsError | NoRegionError):
        return f"{str(error).rstrip('.')}. Set AWS_PROFILE and AWS_DEFAULT_REGION, or run `aws configure`."
    return " ".join(str(error).split()) or type(error).__name__
