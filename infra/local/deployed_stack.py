"""The deployed stack: its outputs, its functions, and whether they answer."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
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
        status: str | None = self._describe().get("StackStatus")
        return status

    def outputs(self) -> dict[str, str]:
        """Return the template's outputs, which are empty if there is no stack."""
        outputs = self._describe().get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def base_url(self) -> str | None:
        """Return the API's base URL, or None if there is no API."""
        outputs = self.outputs()
        if "RestApiId" not in outputs:
            return None
        if self.endpoint_url is None:
            return outputs["ApiUrl"]
        return f"{self.endpoint_url}/_aws/execute-api/{outputs['RestApiId']}/{outputs['StageName']}"

    def warm_up(self, auth: httpx.Auth | None = None) -> None:
        """Start each API function, relay and subscriber, and wait until it answers.

        An API that wants a token answers 401.
        Raises: EmbeddedError at once for a function that cannot start; after a minute with the last answer.
        """
        mappings = self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        functions = {mapping["FunctionArn"].rpartition(":")[2] for mapping in mappings}
        invocations = f"{self.endpoint_url}/2015-03-31/functions/{{}}/invocations"
        base_url = self.base_url()

        async def start_all() -> None:
            # No threads: Ctrl-C would wait for them.
            options: dict[str, Any] = {"trust_env": False, "timeout": ANSWER_TIMEOUT_SECONDS}
            lambda_auth = SignedByCaller(aws_session(), "lambda")
            async with (
                httpx.AsyncClient(auth=auth, **options) as api,
                httpx.AsyncClient(auth=lambda_auth, **options) as lambda_api,
            ):
                await asyncio.gather(
                    *(_wait_until_answered(api, f"{base_url}{query}") for query in QUERIES),
                    *(_invoke(lambda_api, invocations.format(name), name) for name in functions),
                )

        asyncio.run(start_all())

    def _describe(self) -> Any:
        try:
            return self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        except (ClientError, EndpointConnectionError):
            return {}


@cache
def aws_session() -> boto3.Session:
    """Return a session with the emulators' credentials, which ignores the user's profiles and files."""
    none, no_file = (None, None, None, None), (None, None, os.devnull, None)
    variables = {"profile": none, "config_file": no_file, "credentials_file": no_file}
    core = botocore.session.Session(session_vars=variables)
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


async def _invoke(client: httpx.AsyncClient, url: str, function: str) -> None:
    """Invoke the function with an empty batch."""
    try:
        response = await client.post(url, json={"Records": []})
    except httpx.TransportError as error:
        raise EmbeddedError(f"{function} does not answer: {error!r}") from error
    _require_started(function, response.text)


def _require_started(function: str, answer: str) -> None:
    if found := CANNOT_START.search(answer):
        raise EmbeddedError(f"{function} cannot start. {short(found.group())}")
