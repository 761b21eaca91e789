"""The deployed stack: its outputs, its functions, and whether they answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

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

STACK_NAME = "customers-and-orders"
REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
# Ignore proxies of the user's environment. An emulator has no host name for each bucket.
CLIENT_CONFIG = Config(proxies={}, s3={"addressing_style": "path"})
ANSWER_TIMEOUT_SECONDS = 60.0
QUERIES = ("/customers?limit=1", "/orders?limit=1", "/customers/count")
# Errors of a function that cannot be imported. Retrying them is useless.
CANNOT_START = re.compile(r"(?:Worker init failed: |Unable to import module )[^\"\\]*")
CREDENTIALS_IN_URI = re.compile(r"//[^/@\s]*@")

Environment = dict[str, str]


@dataclass(frozen=True)
class DeployedStack:
    """The stack on the emulator at `endpoint_url`. None is AWS, with the user's credentials and region."""

    endpoint_url: str | None
    name: str = STACK_NAME

    def client(self, service: str) -> Any:
        """Return boto3's client of the service."""
        if self.endpoint_url is None:
            return boto3.client(service)  # type: ignore[call-overload]
        return aws_session().client(  # type: ignore[call-overload]
            service, endpoint_url=self.endpoint_url, config=CLIENT_CONFIG
        )

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """CloudFormation's client."""
        client: CloudFormationClient = self.client("cloudformation")
        return client

    def status(self) -> str | None:
        """Return CloudFormation's status of the stack, or None if there is no stack or no emulator."""
        stack = self._stack()
        return stack["StackStatus"] if stack else None

    def outputs(self) -> dict[str, str]:
        """Return the template's outputs, which are empty if there is no stack."""
        stack = self._stack()
        outputs = stack.get("Outputs", []) if stack else []
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def base_url(self) -> str | None:
        """Return the API's base URL, or None if there is no API."""
        outputs = self.outputs()
        if "RestApiId" not in outputs:
            return None
        if self.endpoint_url is None:
            return outputs["ApiUrl"]
        return f"{self.endpoint_url}/_aws/execute-api/{outputs['RestApiId']}/{outputs['StageName']}"

    def failures_since(self, started_at: datetime) -> list[str]:
        """Return the failed resources with their reasons."""
        try:
            events = self.cloudformation.describe_stack_events(StackName=self.name)
        except ClientError:
            return []
        return [
            f"{event['ResourceType']} {event['LogicalResourceId']}: {short(event['ResourceStatusReason'])}"
            for event in events["StackEvents"]
            if event["Timestamp"] >= started_at
            and event.get("ResourceStatus", "").endswith("FAILED")
            and event.get("ResourceStatusReason")
        ]

    def function_environments(self) -> dict[str, Environment]:
        """Return the deployed variables of each function by its logical id."""
        functions, environments = self.client("lambda"), {}
        pages = self.cloudformation.get_paginator("list_stack_resources")
        for page in pages.paginate(StackName=self.name):
            for resource in page["StackResourceSummaries"]:
                if resource["ResourceType"] == "AWS::Lambda::Function":
                    function = functions.get_function_configuration(
                        FunctionName=resource["PhysicalResourceId"]
                    )
                    variables = function.get("Environment", {}).get("Variables", {})
                    environments[resource["LogicalResourceId"]] = variables
        return environments

    def warm_up(self, auth: httpx.Auth | None = None) -> None:
        """Start each API function, relay and subscriber, and wait until it answers.

        An API that wants a token answers 401.
        Raises: EmbeddedError at once for a function that cannot start; after a minute with the last answer.
        """
        base_url = self.base_url()
        mappings = self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        functions = sorted({mapping["FunctionArn"].rpartition(":")[2] for mapping in mappings})
        asyncio.run(self._warm_up([f"{base_url}{query}" for query in QUERIES], functions, auth))

    async def _warm_up(
        self, urls: list[str], functions: list[str], auth: httpx.Auth | None
    ) -> None:
        timeout = ANSWER_TIMEOUT_SECONDS
        # No threads: Ctrl-C would wait for them.
        async with (
            httpx.AsyncClient(trust_env=False, timeout=timeout, auth=auth) as api,
            httpx.AsyncClient(
                trust_env=False, timeout=timeout, auth=SignedByCaller(aws_session(), "lambda")
            ) as lambda_api,
        ):
            invocations = f"{self.endpoint_url}/2015-03-31/functions/{{}}/invocations"
            await asyncio.gather(
                *(_wait_until_answered(api, url) for url in urls),
                *(_invoke_without_records(lambda_api, invocations, name) for name in functions),
            )

    def _stack(self) -> StackTypeDef | None:
        try:
            (stack,) = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except (ClientError, EndpointConnectionError):
            return None
        return stack


@cache
def aws_session() -> boto3.Session:
    """Return a session with the emulators' credentials, which ignores the user's profiles and files."""
    no_file = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": no_file,
            "credentials_file": no_file,
        }
    )
    return boto3.Session(botocore_session=core, region_name=REGION, **CREDENTIALS)


def short(reason: object) -> str:
    """Return CloudFormation's reason in one line, without quoted templates and without credentials in URIs."""
    text = str(reason)
    if isinstance(reason, ClientError):
        text = reason.response["Error"].get("Message", text)
    text = " ".join(re.sub(r"Value '.*' at", "Value at", text, flags=re.DOTALL).split())
    text = CREDENTIALS_IN_URI.sub("//", text)
    return text if len(text) <= 300 else f"{text[:300]} ..."


class SignedByCaller(httpx.Auth):
    """Signs requests with the session's credentials, for an API with ApiAuthorizer=AWS_IAM."""

    requires_request_body = True

    def __init__(self, session: boto3.Session, service: str = "execute-api") -> None:
        credentials = session.get_credentials()
        assert credentials is not None
        self._signer = SigV4Auth(credentials, service, session.region_name)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature to the request."""
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        self._signer.add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


async def _wait_until_answered(client: httpx.AsyncClient, url: str) -> None:
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while True:
        try:
            response = await client.get(url)
            if response.is_success or response.status_code == HTTPStatus.UNAUTHORIZED:
                return
            _require_started(url, response.text)
            answer = f"{response.status_code} {response.text}"
        except httpx.TransportError as error:
            answer = repr(error)
        if time.monotonic() > deadline:
            raise EmbeddedError(f"GET {url} answered {answer}")
        await asyncio.sleep(0.5)


async def _invoke_without_records(client: httpx.AsyncClient, url: str, function: str) -> None:
    try:
        response = await client.post(url.format(function), content=json.dumps({"Records": []}))
    except httpx.TransportError as error:
        raise EmbeddedError(f"{function} does not answer: {error!r}") from error
    _require_started(function, response.text)


def _require_started(function: str, answer: str) -> None:
    if found := CANNOT_START.search(answer):
        raise EmbeddedError(f"{function} cannot start. {short(found.group())}")
