"""The stack as an emulator of AWS has it, whoever deployed it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING

import boto3
import botocore.session
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from infra.local.processes import EmbeddedError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef
    from mypy_boto3_lambda import LambdaClient

STACK_NAME = "customers-and-orders"
REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
# The emulator is reached directly, whatever proxy the user's environment names, and has no host name for each bucket.
CLIENT_CONFIG = Config(proxies={}, s3={"addressing_style": "path"})
ANSWER_TIMEOUT_SECONDS = 60.0

Environment = dict[str, str]


@dataclass(frozen=True)
class DeployedStack:
    """The stack on the emulator at `endpoint_url`."""

    endpoint_url: str

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """The emulator's CloudFormation."""
        return aws_session().client(
            "cloudformation", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG
        )

    def status(self) -> str | None:
        """What CloudFormation says of it; None if there is no such stack, or no emulator."""
        stack = self._stack()
        return stack["StackStatus"] if stack else None

    def outputs(self) -> dict[str, str]:
        """The template's outputs; none if there is no such stack."""
        stack = self._stack()
        outputs = stack.get("Outputs", []) if stack else []
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def base_url(self) -> str | None:
        """Where the API is, as an emulator has it; None if there is none."""
        outputs = self.outputs()
        if "RestApiId" not in outputs:
            return None
        return f"{self.endpoint_url}/_aws/execute-api/{outputs['RestApiId']}/{outputs['StageName']}"

    def failures_since(self, started_at: datetime) -> list[str]:
        """Which resources failed, and why; none if there is no such stack any more."""
        try:
            events = self.cloudformation.describe_stack_events(StackName=STACK_NAME)
        except ClientError:
            return []
        return [
            f"{event['ResourceType']} {event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events["StackEvents"]
            if event["Timestamp"] >= started_at
            and event.get("ResourceStatus", "").endswith("FAILED")
            and event.get("ResourceStatusReason")
        ]

    def function_environments(self) -> dict[str, Environment]:
        """The variables that each function was deployed with, by its logical id."""
        functions: LambdaClient = aws_session().client(
            "lambda", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG
        )
        environments = {}
        pages = self.cloudformation.get_paginator("list_stack_resources")
        for page in pages.paginate(StackName=STACK_NAME):
            for resource in page["StackResourceSummaries"]:
                if resource["ResourceType"] == "AWS::Lambda::Function":
                    name = resource["PhysicalResourceId"]
                    function = functions.get_function_configuration(FunctionName=name)
                    variables = function.get("Environment", {}).get("Variables", {})
                    environments[resource["LogicalResourceId"]] = variables
        return environments

    def _stack(self) -> StackTypeDef | None:
        try:
            (stack,) = self.cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
        except (ClientError, EndpointConnectionError):
            return None
        return stack


@cache
def aws_session() -> boto3.Session:
    """Credentials of the emulator; no profile and no file of the user's plays a part."""
    no_file = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": no_file,
            "credentials_file": no_file,
        }
    )
    return boto3.Session(botocore_session=core, region_name=REGION, **CREDENTIALS)


class SignedByCaller(httpx.Auth):
    """Signs requests to an API that wants to know who calls (ApiAuthorizer=AWS_IAM), with the session's credentials."""

    requires_request_body = True

    def __init__(self, session: boto3.Session) -> None:
        credentials = session.get_credentials()
        assert credentials is not None
        self._signer = SigV4Auth(credentials, "execute-api", session.region_name)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request, with a signature."""
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        self._signer.add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


def wait_until_answering(base_url: str, auth: httpx.Auth | None = None) -> None:
    """Each of the three services has answered a query, which means that its function and its database work.

    Or, that the function works and wants a token.
    Raises: EmbeddedError with the last answer if one does not within a minute.
    """
    queries = ("/customers?limit=1", "/orders?limit=1", "/customers/count")
    asyncio.run(_wait_until_all_answer([base_url + query for query in queries], auth))


async def _wait_until_all_answer(urls: list[str], auth: httpx.Auth | None) -> None:
    # At the same time, because each starts a function; and not in threads, which a Ctrl-C would wait for.
    async with httpx.AsyncClient(trust_env=False, timeout=30, auth=auth) as client:
        await asyncio.gather(*(_wait_until_answered(client, url) for url in urls))


async def _wait_until_answered(client: httpx.AsyncClient, url: str) -> None:
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while True:
        try:
            response = await client.get(url)
            if response.is_success or response.status_code == HTTPStatus.UNAUTHORIZED:
                return
            answer = f"{response.status_code} {response.text}"
        except httpx.TransportError as error:
            answer = repr(error)
        if time.monotonic() > deadline:
            raise EmbeddedError(f"GET {url} answered {answer}")
        await asyncio.sleep(0.5)
