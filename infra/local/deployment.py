"""Deploy the built template to an emulator, MiniStack or LocalStack, with CloudFormation's change sets."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import ClientError

from infra.local.build import HOST, Build, Template, zipped
from infra.local.deployed_stack import (
    STACK_NAME,
    DeployedStack,
    SignedByCaller,
    aws_session,
    short,
)
from infra.local.processes import EmbeddedError, wait_until

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef

ARTIFACTS_BUCKET = f"{STACK_NAME}-artifacts"
LAYER = "AWS::Serverless::LayerVersion"
REST_API = "AWS::ApiGateway::RestApi"
# MiniStack uses this tag of the stack as the id of the REST API. The API's URL is therefore stable.
API_ID_TAG = "ms-custom-id"
COMPLETE = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
# LocalStack pulls the functions' image (0.5 GB) during the first deployment.
DEPLOY_TIMEOUT_SECONDS = 900.0
# LocalStack resolves no mapping before SAM's transform, which needs the values of these; it cannot update an alias.
UNSUPPORTED_BY_LOCALSTACK = ("AutoPublishAlias", "DeploymentPreference", "GatewayResponses")
# LocalStack reports updates of these resource types and does not make them.
NEVER_UPDATED = frozenset(
    {
        "AWS::ApiGateway::Stage",
        "AWS::CloudWatch::Alarm",
        "AWS::DynamoDB::Table",
        "AWS::Events::Rule",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Logs::LogGroup",
    }
)

# MiniStack runs functions on its own interpreter, whatever their runtime. AWS has no runtime newer than 3.14.
RUNTIME = f"python3.{min(sys.version_info.minor, 14)}"


class StartAfreshError(EmbeddedError):
    """LocalStack cannot update the deployed stack to the built template."""


@dataclass(frozen=True)
class Change:
    """A change of one resource by a deployment. `action` is Add, Modify or Remove."""

    action: str
    resource_type: str
    logical_id: str


@dataclass(frozen=True)
class Deployment:
    """The stack on the emulator at `endpoint_url`. `mongodb_uri` is the one that the functions use."""

    endpoint_url: str
    mongodb_uri: str
    log_level: str = "INFO"
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the template. They override those of this tool."""
    build: Build = field(default_factory=lambda: Build(RUNTIME, HOST))
    is_localstack: bool = False

    @property
    def port(self) -> int:
        """The port of the emulator."""
        return int(self.endpoint_url.rpartition(":")[2])

    @property
    def auth(self) -> httpx.Auth | None:
        """The signature that the API requires, or None."""
        is_signed = self.parameters.get("ApiAuthorizer") == "AWS_IAM"
        return SignedByCaller(aws_session()) if is_signed else None

    @property
    def stack(self) -> DeployedStack:
        """The deployed stack."""
        return DeployedStack(self.endpoint_url)

    def deploy(self) -> list[str]:
        """Deploy the built template. Data stays. Return the changes that LocalStack does not make.

        Takes four seconds less than `sam deploy`.
        Raises: EmbeddedError with CloudFormation's reasons; StartAfreshError, usually before any change.
        """
        template_url = self._upload_artifacts()
        api_id = self.stack.outputs().get("RestApiId", STACK_NAME)
        try:
            return self._deploy_template(template_url, api_id)
        except StartAfreshError:
            raise
        except EmbeddedError as error:
            if REST_API not in str(error):
                raise
            # MiniStack replaces an API whose definition changed, and refuses the new API the id of the old one.
            return self._deploy_template(template_url, _next_id(api_id))

    def _upload_artifacts(self) -> str:
        """Upload code and templates to the emulator's S3. Return the URL of the template."""
        s3, artifacts = self.stack.client("s3"), self.build.artifacts
        s3.create_bucket(Bucket=ARTIFACTS_BUCKET)

        def upload(content: bytes) -> str:
            key = hashlib.sha256(content).hexdigest()
            s3.put_object(Bucket=ARTIFACTS_BUCKET, Key=key, Body=content)
            return f"{ARTIFACTS_BUCKET}/{key}"

        built, template = self.build.template(), self.build.template()
        # MiniStack applies SAM's transform to the parameters' defaults.
        for name, value in self.parameters.items():
            if name not in template["Parameters"]:
                raise EmbeddedError(f"template.yaml has no parameter {name}.")
            template["Parameters"][name]["Default"] = value
        for name, resource in template["Resources"].items():
            if self.is_localstack:
                _remove_unsupported(resource.get("Properties", {}))
            match resource:
                case {"Type": "AWS::Serverless::Function", "Properties": properties}:
                    code = function_archive(artifacts, built, name, with_layers=self.is_localstack)
                    properties["CodeUri"] = f"s3://{upload(code)}"
                case {"Type": "AWS::Serverless::LayerVersion", "Properties": properties}:
                    layer = zipped(artifacts / properties["ContentUri"])
                    properties["ContentUri"] = f"s3://{upload(layer)}"
                case {"Type": "AWS::CloudFormation::Stack", "Properties": properties}:
                    nested = (artifacts / properties["TemplateURL"]).read_bytes()
                    properties["TemplateURL"] = f"{self.endpoint_url}/{upload(nested)}"
        return f"{self.endpoint_url}/{upload(json.dumps(template).encode())}"

    def _deploy_template(self, template_url: str, api_id: str) -> list[str]:
        status = self.stack.status()
        if self.is_localstack and status not in COMPLETE | {None}:
            raise StartAfreshError(f"The stack is {status} and cannot be changed.")
        change_set = self._create_change_set(template_url, api_id, is_new=status is None)
        changes = _changes(change_set)
        if self.is_localstack and status is not None:
            require_deployable(changes)
        if change_set["Status"] == "CREATE_COMPLETE":
            self._execute(change_set)
        return never_made(changes) if self.is_localstack and status is not None else []

    def _create_change_set(
        self, template_url: str, api_id: str, *, is_new: bool
    ) -> DescribeChangeSetOutputTypeDef:
        """Create the change set and wait for it. It has failed if there is no change."""
        parameters = {
            **self.build.parameters,
            "Posture": "development",
            "MongoDbUri": self.mongodb_uri,
            # LocalStack sets it in its functions.
            "AwsEndpointUrl": "" if self.is_localstack else self.endpoint_url,
            "LogLevel": self.log_level,
            "AllowPublicApi": "yes",  # public on this machine only
            "ApiRequestsPerSecond": "1000",  # MiniStack enforces the limit; 20 would refuse load tests
            **self.parameters,
        }
        known = self.build.template()["Parameters"]
        cloudformation = self.stack.cloudformation
        try:
            created = cloudformation.create_change_set(
                StackName=STACK_NAME,
                ChangeSetName=f"deployment-{time.time_ns()}",
                ChangeSetType="CREATE" if is_new else "UPDATE",
                TemplateURL=template_url,
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in parameters.items()
                    if name in known
                ],
                Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
                Tags=[] if self.is_localstack else [{"Key": API_ID_TAG, "Value": api_id}],
            )
        except ClientError as error:
            raise EmbeddedError(f"The stack cannot be deployed: {short(error)}") from None

        def described() -> DescribeChangeSetOutputTypeDef:
            return cloudformation.describe_change_set(ChangeSetName=created["Id"])

        wait_until(
            lambda: described()["Status"] in {"CREATE_COMPLETE", "FAILED"}, DEPLOY_TIMEOUT_SECONDS
        )
        change_set = described()
        reason = change_set.get("StatusReason", "")
        unchanged = "didn't contain changes" in reason or "No updates" in reason
        if change_set["Status"] != "CREATE_COMPLETE" and not unchanged:
            raise EmbeddedError(f"The stack cannot be deployed: {short(reason)}")
        return change_set

    def _execute(self, change_set: DescribeChangeSetOutputTypeDef) -> None:
        started_at = datetime.now(UTC).replace(microsecond=0)
        stack = self.stack
        stack.cloudformation.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        wait_until(
            lambda: not (stack.status() or "").endswith("IN_PROGRESS"),
            DEPLOY_TIMEOUT_SECONDS,
            interval=0.1,
        )
        status = stack.status()
        if status not in COMPLETE:
            reasons = stack.failures_since(started_at)
            kind = StartAfreshError if self.is_localstack else EmbeddedError
            raise kind("\n  ".join([f"The stack is {status or 'missing'}:", *reasons]))


def function_archive(
    artifacts: Path, template: Template, function: str, *, with_layers: bool
) -> bytes:
    """Return the function's code, without local bytecode and optionally with the code of its layers.

    LocalStack's community edition accepts layers and does not give them to the functions.
    """
    properties = template["Resources"][function]["Properties"]
    code = artifacts / properties["CodeUri"]
    if not with_layers:
        return zipped(code, bytecode=False)
    defaults = template.get("Globals", {}).get("Function", {}).get("Layers", [])
    resources = template["Resources"]
    layers = [
        artifacts / resources[name]["Properties"]["ContentUri"] / "python"
        for name in dict.fromkeys(_references([defaults, properties.get("Layers", [])]))
        if resources.get(name, {}).get("Type") == LAYER
    ]
    return zipped(*layers, code, bytecode=False)


def _remove_unsupported(properties: dict[str, Any]) -> None:
    for name in UNSUPPORTED_BY_LOCALSTACK:
        properties.pop(name, None)


def _references(value: Any) -> Iterator[str]:
    """Yield the names in `{"Ref": name}` at any depth, such as inside Fn::If."""
    if isinstance(value, dict):
        if isinstance(name := value.get("Ref"), str):
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


def _changes(change_set: DescribeChangeSetOutputTypeDef) -> list[Change]:
    resources = [change["ResourceChange"] for change in change_set.get("Changes", [])]
    return [Change(r["Action"], r["ResourceType"], r["LogicalResourceId"]) for r in resources]


def require_deployable(changes: Sequence[Change]) -> None:
    """Raise StartAfreshError if LocalStack cannot make one of the changes to a deployed stack."""
    if any(c.action == "Modify" and c.resource_type == REST_API for c in changes):
        raise StartAfreshError(
            "The API's definition has changed. LocalStack cannot change a deployed API, and would lose it."
        )


def never_made(changes: Sequence[Change]) -> list[str]:
    """Return a sentence for each change that LocalStack reports and does not make."""
    return [
        f"{change.logical_id} ({change.resource_type}) stays as it was: LocalStack does not update it."
        for change in changes
        if change.action == "Modify" and change.resource_type in NEVER_UPDATED
    ]


def _next_id(api_id: str) -> str:
    """Return the id that follows: `name`, `name-2`, `name-3`."""
    number = api_id.removeprefix(STACK_NAME).removeprefix("-") or "1"
    return f"{STACK_NAME}-{int(number) + 1}"
