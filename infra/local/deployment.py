"""From source to a running stack: what `sam build` makes, deployed to the emulator by CloudFormation."""

import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from botocore.exceptions import ClientError

from infra.local.build import ARCHITECTURE, HOST, PROJECT, Build, zipped
from infra.local.deployed_stack import (
    CLIENT_CONFIG,
    STACK_NAME,
    DeployedStack,
    SignedByCaller,
    aws_session,
)
from infra.local.processes import LOCALHOST, EmbeddedError, wait_until

ARTIFACTS_BUCKET = f"{STACK_NAME}-artifacts"
# MiniStack takes this tag of the stack as the id of its REST API, so that the URL is known beforehand.
API_ID_TAG = "ms-custom-id"
# Where a built template says that code is in a directory.
CODE_PROPERTIES = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
}
DEPLOY_TIMEOUT_SECONDS = 120.0

# The emulator runs functions on its own interpreter, whatever runtime they ask for: AWS's newest has
# to stand in for a Python that is newer.
RUNTIME = f"python3.{min(sys.version_info.minor, 14)}"


@dataclass(frozen=True)
class Deployment:
    """The stack on one instance of the emulators. What the tools print goes to the directory `logs`."""

    port: int
    mongodb_uri: str
    logs: Path
    log_level: str = "INFO"
    project: Path = PROJECT
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the template: they override what would be given to it."""

    @property
    def endpoint_url(self) -> str:
        """Where the emulator of AWS listens."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def auth(self) -> httpx.Auth | None:
        """How requests to the API are signed; None where they are not."""
        return (
            SignedByCaller(aws_session())
            if self.parameters.get("ApiAuthorizer") == "AWS_IAM"
            else None
        )

    @property
    def stack(self) -> DeployedStack:
        """What is deployed."""
        return DeployedStack(self.endpoint_url)

    def build(self) -> None:
        """What `deploy` uploads is built from the source as it is now. What did not change is not built again."""
        self._build.run(self.logs)

    def deploy(self) -> str:
        """What was built is what runs; data stays. Returns the API's base URL.

        Does what `sam deploy` does, which takes four seconds longer.
        Raises: EmbeddedError with CloudFormation's reasons.
        """
        template_url = self._upload_artifacts()
        api_id = self.stack.outputs().get("RestApiId", STACK_NAME)
        try:
            self._deploy_template(template_url, api_id)
        except EmbeddedError as error:
            if "AWS::ApiGateway::RestApi" not in str(error):
                raise
            # MiniStack replaces an API whose definition has changed, and refuses the new one the id
            # which the old one still has.
            self._deploy_template(template_url, _next_id(api_id))
        return self.base_url()

    def warm_up(self) -> None:
        """The relays and subscribers are starting, so that the first saga does not have to wait for them."""
        functions = aws_session().client(
            "lambda", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG
        )
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.invoke(
                FunctionName=mapping["FunctionArn"],
                InvocationType="Event",
                Payload=json.dumps({"Records": []}),
            )

    def base_url(self) -> str:
        """Where the API is, as an emulator has it."""
        base_url = self.stack.base_url()
        if base_url is None:
            raise EmbeddedError("The stack has no API.")
        return base_url

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else builds, or deploys what was built: two instances share one build directory."""
        return self._build.exclusive()

    @property
    def _build(self) -> Build:
        return Build(RUNTIME, HOST, self.project)

    def _upload_artifacts(self) -> str:
        """URL of the built template, in which code is in the emulator's S3, and parameters are what is given to them."""
        s3 = aws_session().client("s3", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG)
        s3.create_bucket(Bucket=ARTIFACTS_BUCKET)
        built = self._build.artifacts
        template = self._build.template()
        for resource in template["Resources"].values():
            if code := CODE_PROPERTIES.get(resource["Type"]):
                archive = zipped(built / resource["Properties"][code])
                key = hashlib.sha256(archive).hexdigest()
                s3.put_object(Bucket=ARTIFACTS_BUCKET, Key=key, Body=archive)
                resource["Properties"][code] = f"s3://{ARTIFACTS_BUCKET}/{key}"
        # MiniStack applies SAM's transform before it knows the parameters: to SAM, they have their defaults.
        for name, value in self.parameters.items():
            if name not in template["Parameters"]:
                raise EmbeddedError(f"template.yaml has no parameter {name}.")
            template["Parameters"][name]["Default"] = value
        for name, nested in self._build.nested_templates().items():
            key = hashlib.sha256(nested).hexdigest()
            s3.put_object(Bucket=ARTIFACTS_BUCKET, Key=key, Body=nested)
            url = f"{self.endpoint_url}/{ARTIFACTS_BUCKET}/{key}"
            template["Resources"][name]["Properties"]["TemplateURL"] = url
        s3.put_object(
            Bucket=ARTIFACTS_BUCKET, Key="template.json", Body=json.dumps(template).encode()
        )
        return f"{self.endpoint_url}/{ARTIFACTS_BUCKET}/template.json"

    def _deploy_template(self, template_url: str, api_id: str) -> None:
        parameters = {
            "Posture": "development",
            "PythonRuntime": RUNTIME,
            "Architecture": ARCHITECTURE,
            "MongoDbUri": self.mongodb_uri,
            "AwsEndpointUrl": self.endpoint_url,
            "LogLevel": self.log_level,
            **self.parameters,
        }
        stack = self.stack
        cloudformation = stack.cloudformation
        deploy = cloudformation.update_stack if stack.status() else cloudformation.create_stack
        started_at = datetime.now(UTC).replace(microsecond=0)
        try:
            deploy(
                StackName=STACK_NAME,
                TemplateURL=template_url,  # longer than the 51,200 bytes that TemplateBody may have
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in parameters.items()
                ],
                Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
                Tags=[{"Key": API_ID_TAG, "Value": api_id}],
            )
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise EmbeddedError(f"The stack cannot be deployed: {error}") from error
        wait_until(
            lambda: not (stack.status() or "").endswith("IN_PROGRESS"), DEPLOY_TIMEOUT_SECONDS
        )
        status = stack.status()
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            reasons = stack.failures_since(started_at)
            raise EmbeddedError("\n  ".join([f"The stack is {status or 'missing'}:", *reasons]))


def _next_id(api_id: str) -> str:
    """`name` -> `name-2` -> `name-3`."""
    number = api_id.removeprefix(STACK_NAME).removeprefix("-") or "1"
    return f"{STACK_NAME}-{int(number) + 1}"
