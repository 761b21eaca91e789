"""The stack on a LocalStack: what `sam build` makes, deployed by CloudFormation's change sets as `sam deploy` does it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import ClientError

from infra.local.build import Build, zipped
from infra.local.deployed_stack import CLIENT_CONFIG, STACK_NAME, DeployedStack, aws_session
from infra.local.processes import EmbeddedError, wait_until

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef
    from mypy_boto3_s3 import S3Client

ARTIFACTS_BUCKET = f"{STACK_NAME}-artifacts"
FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
# The first deployment of all pulls the image that the functions run in, half a gigabyte.
DEPLOY_TIMEOUT_SECONDS = 900.0

COMPLETE = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
# SAM's transform needs the values of Fn::FindInMap in these, and LocalStack does not resolve them before. It would
# ignore gateway responses, and cannot update an alias.
NOT_UNDERSTOOD = ("AutoPublishAlias", "DeploymentPreference", "GatewayResponses")
# LocalStack says that it updated these, and leaves them as they were.
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


class StartAfreshError(EmbeddedError):
    """What is deployed cannot become what was built."""


@dataclass(frozen=True)
class Change:
    """What deploying does to one resource: `action` is Add, Modify or Remove."""

    action: str
    resource_type: str
    logical_id: str


@dataclass(frozen=True)
class LocalStackDeployment:
    """The stack on the LocalStack at `endpoint_url`. `mongodb_uri` is what the functions see."""

    endpoint_url: str
    mongodb_uri: str
    build: Build
    log_level: str = "INFO"

    @property
    def stack(self) -> DeployedStack:
        """What is deployed."""
        return DeployedStack(self.endpoint_url)

    def require_localstack(self) -> None:
        """It answers. Raises: EmbeddedError if something else does, or nothing."""
        try:
            info = httpx.get(f"{self.endpoint_url}/_localstack/info", trust_env=False, timeout=10)
        except httpx.TransportError as error:
            raise EmbeddedError(
                f"No LocalStack answers at {self.endpoint_url}: `make localstack-up` starts one, and "
                "AWS_ENDPOINT_URL names another."
            ) from error
        if not info.is_success:
            raise EmbeddedError(
                f"What answers at {self.endpoint_url} is not LocalStack; AWS_ENDPOINT_URL names another."
            )

    def deploy(self) -> list[str]:
        """What was built is what runs; data stays. Returns what the user has to know of it, in sentences.

        Raises: StartAfreshError, with nothing changed, for what LocalStack cannot do;
        EmbeddedError with CloudFormation's reasons.
        """
        status = self.stack.status()
        if status not in COMPLETE | {None}:
            raise StartAfreshError(f"The stack is {status} and cannot be changed.")
        change_set = self._create_change_set(self._upload_artifacts(), is_new=status is None)
        changes = _changes(change_set)
        if status is not None:
            require_deployable(changes)
        if changes:
            self._execute(change_set)
        return [] if status is None else never_made(changes)

    def _upload_artifacts(self) -> str:
        """URL of the built template, in which code is in LocalStack's S3, and not in a directory."""
        template = self.build.template()
        for name, resource in template["Resources"].items():
            properties = resource["Properties"]
            for name_of_property in NOT_UNDERSTOOD:
                properties.pop(name_of_property, None)
            if resource["Type"] == FUNCTION:
                properties["CodeUri"] = self._upload(function_archive(self.build, template, name))
            elif resource["Type"] == LAYER:
                properties["ContentUri"] = self._upload(zipped(self.build.artifacts / name))
        for name, nested in self.build.nested_templates().items():
            bucket_and_key = self._upload(nested).removeprefix("s3://")
            url = f"{self.endpoint_url}/{bucket_and_key}"
            template["Resources"][name]["Properties"]["TemplateURL"] = url
        bucket_and_key = self._upload(json.dumps(template).encode()).removeprefix("s3://")
        return f"{self.endpoint_url}/{bucket_and_key}"

    def _upload(self, archive: bytes) -> str:
        s3: S3Client = aws_session().client(
            "s3", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG
        )
        s3.create_bucket(Bucket=ARTIFACTS_BUCKET)
        key = hashlib.sha256(archive).hexdigest()
        s3.put_object(Bucket=ARTIFACTS_BUCKET, Key=key, Body=archive)
        return f"s3://{ARTIFACTS_BUCKET}/{key}"

    def _create_change_set(
        self, template_url: str, *, is_new: bool
    ) -> DescribeChangeSetOutputTypeDef:
        """The change set, once LocalStack has worked it out."""
        # AwsEndpointUrl stays empty: LocalStack tells its functions where it is.
        parameters = {
            **self.build.parameters,
            "Posture": "development",
            "MongoDbUri": self.mongodb_uri,
            "LogLevel": self.log_level,
            "AllowPublicApi": "yes",  # what is public here is open to this machine
        }
        cloudformation = self.stack.cloudformation
        try:
            created = cloudformation.create_change_set(
                StackName=STACK_NAME,
                ChangeSetName=f"deployment-{time.time_ns()}",
                ChangeSetType="CREATE" if is_new else "UPDATE",
                TemplateURL=template_url,  # longer than the 51,200 bytes that TemplateBody may have
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in parameters.items()
                ],
                Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            )
        except ClientError as error:
            raise EmbeddedError(f"The stack cannot be deployed: {error}") from error

        def described() -> DescribeChangeSetOutputTypeDef:
            return cloudformation.describe_change_set(ChangeSetName=created["Id"])

        wait_until(
            lambda: described()["Status"] in {"CREATE_COMPLETE", "FAILED"},
            DEPLOY_TIMEOUT_SECONDS,
            interval=0.2,
        )
        change_set = described()
        reason = change_set.get("StatusReason", "")
        if change_set["Status"] != "CREATE_COMPLETE" and "didn't contain changes" not in reason:
            raise EmbeddedError(f"The stack cannot be deployed: {change_set['Status']} {reason}")
        return change_set

    def _execute(self, change_set: DescribeChangeSetOutputTypeDef) -> None:
        started_at = datetime.now(UTC).replace(microsecond=0)
        self.stack.cloudformation.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        wait_until(
            lambda: not (self.stack.status() or "").endswith("IN_PROGRESS"),
            DEPLOY_TIMEOUT_SECONDS,
            interval=0.2,
        )
        status = self.stack.status()
        if status not in COMPLETE:
            reasons = self.stack.failures_since(started_at)
            raise StartAfreshError("\n  ".join([f"The stack is {status}:", *reasons]))


def function_archive(build: Build, template: Mapping[str, Any], function: str) -> bytes:
    """The function's code with that of its layers beside it.

    The community edition takes layers and does not give them to the functions. Where they are given as
    well, as on AWS, this changes nothing: the function's own code comes first there.
    """
    everywhere = template.get("Globals", {}).get("Function", {}).get("Layers", [])
    own = template["Resources"][function]["Properties"].get("Layers", [])
    # A conditional layer ({"Fn::If": ...}) is left out: its condition does not hold here.
    layers = [
        build.artifacts / layer["Ref"] / "python" for layer in [*everywhere, *own] if "Ref" in layer
    ]
    code = template["Resources"][function]["Properties"].get("CodeUri", function)
    return zipped(*layers, build.artifacts / code)


def logs_directory(project: Path) -> Path:
    """What the tools print that deploy."""
    return project / ".aws-sam" / "logs"


def _changes(change_set: DescribeChangeSetOutputTypeDef) -> list[Change]:
    resources = [change["ResourceChange"] for change in change_set.get("Changes", [])]
    return [Change(r["Action"], r["ResourceType"], r["LogicalResourceId"]) for r in resources]


def require_deployable(changes: Sequence[Change]) -> None:
    """LocalStack can do that to a deployed stack. Raises: StartAfreshError if it cannot."""
    if any(c.action == "Modify" and c.resource_type == "AWS::ApiGateway::RestApi" for c in changes):
        raise StartAfreshError(
            "The API's definition has changed. LocalStack cannot change a deployed API, and would lose it."
        )


def never_made(changes: Sequence[Change]) -> list[str]:
    """What LocalStack reports as done and does not do, in sentences."""
    return [
        f"{change.logical_id} ({change.resource_type}) stays as it was: LocalStack does not update it."
        for change in changes
        if change.action == "Modify" and change.resource_type in NEVER_UPDATED
    ]
