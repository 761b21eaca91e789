"""The deployed stack: its clients, status and outputs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

STACK_NAME = "customers-and-orders"
REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
# Ignore proxies of the user's environment. An emulator has no host name for each bucket. It answers at once or is down.
CLIENT_CONFIG = Config(
    proxies={},
    s3={"addressing_style": "path"},
    retries={"total_max_attempts": 2, "mode": "standard"},
)
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
