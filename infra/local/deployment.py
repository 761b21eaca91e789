"""Deploy the built template to an emulator, MiniStack or LocalStack, with CloudFormation's change sets."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from infra.local.build import HOST, Build, Template, archive_of, zipped
from infra.local.deployed_stack import STACK_NAME, DeployedStack, aws_session, short
from infra.local.emulators import wait_until_ready
from infra.local.processes import EmbeddedError, Process, wait_until
from infra.local.warm_up import SignedByCaller, warm_up

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import (
        DescribeChangeSetOutputTypeDef,
        ResourceChangeTypeDef,
    )

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
NEVER_UPDATED = {
    "AWS::ApiGateway::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Logs::LogGroup",
}

# MiniStack runs functions on its own interpreter, whatever their runtime. AWS has no runtime newer than 3.14.
RUNTIME = f"python3.{min(sys.version_info.minor, 14)}"

# Context manager around each step. The command line prints the title and the duration.
Step = Callable[[str], AbstractContextManager[object]]


class StartAfreshError(EmbeddedError):
    """LocalStack cannot update the deployed stack to the built template."""


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
    layers: Path | None = None
    """Where the functions find the files of the layers. None: in what is uploaded, as on AWS."""

    @property
    def stack(self) -> DeployedStack:
        """The deployed stack."""
        return DeployedStack(self.endpoint_url)

    def run(self, logs: Path, step: Step, emulators: Iterable[Process] = ()) -> list[str]:
        """Build and deploy the current source, and start the functions. Data stays.

        Waits for the emulators that are starting. Returns the changes that LocalStack does not make.
        Raises: EmbeddedError with the reasons; StartAfreshError, usually before any change.
        """
        with self.build.exclusive():
            with step("Building the functions"):
                self.build.run(logs)
            with step(f"Deploying to {self.endpoint_url}"):
                for process in emulators:
                    wait_until_ready(process)
                notes = self._deploy()
        with step("Starting the functions"):
            is_signed = self.parameters.get("ApiAuthorizer") == "AWS_IAM"
            try:
                warm_up(self.stack, SignedByCaller(aws_session()) if is_signed else None)
            except EmbeddedError as error:
                # The URI itself may contain a password.
                hint = "\nMONGODB_URI must name a MongoDB that the functions' containers reach."
                raise EmbeddedError(f"{error}{hint if self.is_localstack else ''}") from None
        return notes

    def _deploy(self) -> list[str]:
        """Deploy the built template, four seconds faster than `sam deploy`."""
        template_url = self._upload_artifacts()
        api_id = self.stack.outputs().get("RestApiId", STACK_NAME)
        try:
            return self._deploy_template(template_url, api_id)
        except EmbeddedError as error:
            if self.is_localstack or REST_API not in str(error):
                raise
            # MiniStack replaces an API whose definition changed, and refuses the new API the id of the old one.
            # The ids are name, name-2, name-3 ...
            number = int(api_id.removeprefix(STACK_NAME).removeprefix("-") or "1")
            return self._deploy_template(template_url, f"{STACK_NAME}-{number + 1}")

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
            properties = resource.get("Properties", {})
            for unsupported in UNSUPPORTED_BY_LOCALSTACK if self.is_localstack else ():
                properties.pop(unsupported, None)
            match resource["Type"]:
                case "AWS::Serverless::Function":
                    code = function_archive(artifacts, built, name, with_layers=self.is_localstack)
                    properties["CodeUri"] = f"s3://{upload(code)}"
                case "AWS::Serverless::LayerVersion":
                    layer = zipped(artifacts / properties["ContentUri"])
                    if self.layers is not None:
                        layer = linked(artifacts / properties["ContentUri"], layer, self.layers)
                    properties["ContentUri"] = f"s3://{upload(layer)}"
                case "AWS::CloudFormation::Stack":
                    nested = (artifacts / properties["TemplateURL"]).read_bytes()
                    properties["TemplateURL"] = f"{self.endpoint_url}/{upload(nested)}"
        return f"{self.endpoint_url}/{upload(json.dumps(template).encode())}"

    def _deploy_template(self, template_url: str, api_id: str) -> list[str]:
        status = self.stack.status()
        is_update = self.is_localstack and status is not None
        if is_update and status not in COMPLETE:
            raise StartAfreshError(f"The stack is {status} and cannot be changed.")
        change_set = self._create_change_set(template_url, api_id, is_new=status is None)
        changes = [change["ResourceChange"] for change in change_set.get("Changes", [])]
        notes = ignored_changes(changes) if is_update else []
        if change_set["Status"] == "CREATE_COMPLETE":
            self._execute(change_set)
        return notes

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
            "ApiRequestsPerSecond": "10000",  # the default protects an account's bill
            **self.parameters,
        }
        cloudformation = self.stack.cloudformation
        try:
            created = cloudformation.create_change_set(
                StackName=STACK_NAME,
                ChangeSetName=f"deployment-{time.time_ns()}",
                ChangeSetType="CREATE" if is_new else "UPDATE",
                TemplateURL=template_url,
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": parameters[name]}
                    for name in parameters.keys() & self.build.template()["Parameters"].keys()
                ],
                Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
                Tags=[] if self.is_localstack else [{"Key": API_ID_TAG, "Value": api_id}],
            )
        except ClientError as error:
            raise EmbeddedError(f"The stack cannot be deployed: {short(error)}") from None

        def described() -> DescribeChangeSetOutputTypeDef:
            return cloudformation.describe_change_set(ChangeSetName=created["Id"])

        ends = {"CREATE_COMPLETE", "FAILED"}
        wait_until(lambda: described()["Status"] in ends, DEPLOY_TIMEOUT_SECONDS)
        change_set = described()
        reason = change_set.get("StatusReason", "")
        unchanged = "didn't contain changes" in reason or "No updates" in reason
        if change_set["Status"] != "CREATE_COMPLETE" and not unchanged:
            raise EmbeddedError(f"The stack cannot be deployed: {short(reason)}")
        return change_set

    def _execute(self, change_set: DescribeChangeSetOutputTypeDef) -> None:
        started_at = datetime.now(UTC).replace(microsecond=0)
        stack, cloudformation = self.stack, self.stack.cloudformation
        cloudformation.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
        wait_until(lambda: "IN_PROGRESS" not in str(stack.status()), DEPLOY_TIMEOUT_SECONDS, 0.1)
        if (status := stack.status()) in COMPLETE:
            return
        reasons = [f"The stack is {status or 'missing'}:"]
        with suppress(ClientError):  # no stack
            reasons += [
                f"{event['ResourceType']} {event['LogicalResourceId']}: {short(event['ResourceStatusReason'])}"
                for event in cloudformation.describe_stack_events(StackName=STACK_NAME)[
                    "StackEvents"
                ]
                if event["Timestamp"] >= started_at
                and event.get("ResourceStatus", "").endswith("FAILED")
                and event.get("ResourceStatusReason")
            ]
        kind = StartAfreshError if self.is_localstack else EmbeddedError
        raise kind("\n  ".join(reasons))


def linked(layer: Path, archive: bytes, layers: Path) -> bytes:
    """Keep the layer in `layers`, where a later build does not change it. Return an archive that leads Python there.

    MiniStack unpacks all layers for each worker, which takes a third of the worker's start. Like AWS, it reads the .pth
    files of a layer's site-packages.
    """
    copy = layers / hashlib.sha256(archive).hexdigest()
    if not copy.exists():
        unfinished = copy.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(layer, unfinished, copy_function=_link_or_copy)
        unfinished.rename(copy)
    site = Path("python/lib") / RUNTIME / "site-packages/layer.pth"
    # ASCII, because Python reads the file in the locale's encoding.
    path = f"os.fsdecode({os.fsencode(copy / 'python')!r})"
    return archive_of({str(site): f"import os, sys; sys.path.insert(0, {path})".encode()})


def _link_or_copy(file: str, to: str) -> None:
    try:
        os.link(file, to)  # a tenth of a copy's time
    except OSError:  # another file system
        shutil.copyfile(file, to)


def function_archive(
    artifacts: Path, template: Template, function: str, *, with_layers: bool
) -> bytes:
    """Return the function's code, without local bytecode and optionally with the code of its layers.

    LocalStack's community edition accepts layers and does not give them to the functions.
    """
    resources = template["Resources"]
    properties = resources[function]["Properties"]
    directories = [artifacts / properties["CodeUri"]]
    if with_layers:
        defaults = template.get("Globals", {}).get("Function", {}).get("Layers", [])
        directories[:0] = [
            artifacts / resources[name]["Properties"]["ContentUri"] / "python"
            for name in dict.fromkeys(_references([defaults, properties.get("Layers", [])]))
            if resources.get(name, {}).get("Type") == LAYER
        ]
    return zipped(*directories, bytecode=False)


def _references(value: Any) -> Iterator[str]:
    """Yield the names in `{"Ref": name}` at any depth, such as inside Fn::If."""
    if isinstance(value, dict):
        if isinstance(name := value.get("Ref"), str):
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


def ignored_changes(changes: Iterable[ResourceChangeTypeDef]) -> list[str]:
    """Return a sentence for each change of a deployed resource that LocalStack reports and does not make.

    Raises: StartAfreshError if LocalStack cannot make one of the changes.
    """
    modified = [change for change in changes if change["Action"] == "Modify"]
    if any(change["ResourceType"] == REST_API for change in modified):
        raise StartAfreshError(
            "The API's definition has changed. LocalStack cannot change a deployed API, and would lose it."
        )
    return [
        f"{change['LogicalResourceId']} ({change['ResourceType']}) stays as it was: LocalStack does not update it."
        for change in modified
        if change["ResourceType"] in NEVER_UPDATED
    ]
