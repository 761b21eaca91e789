"""Start the functions of a deployed stack, and wait until they answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Generator
from http import HTTPStatus
from typing import Any

import boto3
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from infra.local.deployed_stack import DeployedStack, aws_session, short
from infra.local.processes import EmbeddedError

ANSWER_TIMEOUT_SECONDS = 60.0
QUERIES = ("/customers?limit=1", "/orders?limit=1", "/customers/count")
# Errors of a function that cannot be imported. Retrying them is useless.
CANNOT_START = re.compile(r"(?:Worker init failed: |Unable to import module )[^\"\\]*")


def warm_up(stack: DeployedStack, auth: httpx.Auth | None = None) -> None:
    """Start each API function, relay and subscriber, and wait until it answers.

    An API that wants a token answers 401.
    Raises: EmbeddedError at once for a function that cannot start; after a minute with the last answer.
    """
    mappings = stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    functions = {mapping["FunctionArn"].rpartition(":")[2] for mapping in mappings}
    invocations = f"{stack.endpoint_url}/2015-03-31/functions/{{}}/invocations"
    base_url = stack.base_url()

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
