"""From source to a running stack: what `sam build` makes, deployed to the emulator by CloudFormation."""

import asyncio
import fcntl
import hashlib
import io
import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import botocore.session
import httpx
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.embedded.processes import LOCALHOST, EmbeddedError, run_to_end, wait_until

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

PROJECT = Path(__file__).resolve().parents[2]
STACK_NAME = "customers-and-orders"
ARTIFACTS_BUCKET = f"{STACK_NAME}-artifacts"
REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
# The emulator is on this machine, whatever proxy the user's environment names.
CLIENT_CONFIG = Config(proxies={})
# MiniStack takes this tag of the stack as the id of its REST API, so that the URL is known beforehand.
API_ID_TAG = "ms-custom-id"
# Where a built template says that code is in a directory.
CODE_PROPERTIES = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
}
DEPLOY_TIMEOUT_SECONDS = 120.0
ANSWER_TIMEOUT_SECONDS = 60.0

# The emulator runs functions on its own interpreter, whatever runtime they ask for: AWS's newest has
# to stand in for a Python that is newer.
RUNTIME = f"python3.{min(sys.version_info.minor, 14)}"
ARCHITECTURE = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"


@dataclass(frozen=True)
class Deployment:
    """The stack on one instance of the emulators. What the tools print goes to the directory `logs`."""

    port: int
    mongodb_uri: str
    logs: Path
    log_level: str = "INFO"
    project: Path = PROJECT

    @property
    def endpoint_url(self) -> str:
        """Where the emulator of AWS listens."""
        return f"http://{LOCALHOST}:{self.port}"

    def build(self) -> None:
        """What `deploy` uploads is built from the source as it is now. What did not change is not built again."""
        _prepare_sam(self._artifacts)
        self._sam(
            "build",
            *("--cached", "--parallel"),
            *("--template-file", str(self.project / "template.yaml")),
            *("--build-dir", str(self._artifacts / "build")),
            *("--cache-dir", str(self._artifacts / "cache")),
        )

    def deploy(self) -> str:
        """What was built is what runs; data stays. Returns the API's base URL.

        Does what `sam deploy` does, which takes four seconds longer.
        Raises: EmbeddedError with CloudFormation's reasons.
        """
        template = self._upload_artifacts()
        api_id = self._outputs().get("RestApiId", STACK_NAME)
        try:
            self._deploy_template(template, api_id)
        except EmbeddedError as error:
            if "AWS::ApiGateway::RestApi" not in str(error):
                raise
            # MiniStack replaces an API whose definition has changed, and refuses the new one the id
            # which the old one still has.
            self._deploy_template(template, _next_id(api_id))
        return self.base_url()

    def warm_up(self) -> None:
        """The relays are starting, so that the first saga does not have to wait for them.

        The subscribers are left alone: a queue never sends an empty batch, and they do not take one.
        """
        functions = aws_session().client(
            "lambda", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG
        )
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            if ":dynamodb:" in mapping["EventSourceArn"]:
                functions.invoke(
                    FunctionName=mapping["FunctionArn"],
                    InvocationType="Event",
                    Payload=json.dumps({"Records": []}),
                )

    def base_url(self) -> str:
        """Where the API is, as an emulator has it."""
        outputs = self._outputs()
        return f"{self.endpoint_url}/_aws/execute-api/{outputs['RestApiId']}/{outputs['StageName']}"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else builds, or deploys what was built: two instances share one build directory."""
        self._artifacts.mkdir(parents=True, exist_ok=True)
        with locked(self._artifacts / "lock"):
            yield

    @property
    def _artifacts(self) -> Path:
        return self.project / ".aws-sam" / f"embedded-{RUNTIME}"

    def _upload_artifacts(self) -> str:
        """The built template, in which code is in the emulator's S3, and not in a directory."""
        s3 = aws_session().client("s3", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG)
        s3.create_bucket(Bucket=ARTIFACTS_BUCKET)
        built = self._artifacts / "build"
        template = yaml.safe_load((built / "template.yaml").read_text())
        for resource in template["Resources"].values():
            if code := CODE_PROPERTIES.get(resource["Type"]):
                archive = zipped(built / resource["Properties"][code])
                key = hashlib.sha256(archive).hexdigest()
                s3.put_object(Bucket=ARTIFACTS_BUCKET, Key=key, Body=archive)
                resource["Properties"][code] = f"s3://{ARTIFACTS_BUCKET}/{key}"
        return json.dumps(template)

    def _deploy_template(self, template: str, api_id: str) -> None:
        parameters = {
            "PythonRuntime": RUNTIME,
            "Architecture": ARCHITECTURE,
            "MongoDbUri": self.mongodb_uri,
            "AwsEndpointUrl": self.endpoint_url,
            "LogLevel": self.log_level,
        }
        cloudformation = self._cloudformation
        deploy = cloudformation.update_stack if self._stack() else cloudformation.create_stack
        started_at = datetime.now(UTC).replace(microsecond=0)
        try:
            deploy(
                StackName=STACK_NAME,
                TemplateBody=template,
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
        wait_until(lambda: not self._status().endswith("IN_PROGRESS"), DEPLOY_TIMEOUT_SECONDS)
        if self._status() not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            reasons = self._failures_since(started_at)
            raise EmbeddedError("\n  ".join([f"The stack is {self._status()}:", *reasons]))

    def _sam(self, command: str, *arguments: str) -> None:
        # An environment of ours in the project's samconfig.toml: the default one may say what is right
        # for AWS and wrong here.
        sam = [str(Path(sys.prefix) / "bin/sam"), command, "--config-env", "embedded", *arguments]
        run_to_end(sam, self.logs / f"sam-{command}.log", self._sam_environment(), self.project)

    def _sam_environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            # Without bytecode SAM takes twice as long to start.
            if not name.startswith("AWS_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        no_proxy = ",".join(
            filter(None, [inherited.get("NO_PROXY"), inherited.get("no_proxy"), LOCALHOST])
        )
        return inherited | {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **{name.upper(): value for name, value in CREDENTIALS.items()},
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(self._artifacts),
            # What the Makefiles of layers/ and functions/ take.
            "LAMBDA_PYTHON_RUNTIME": RUNTIME,
            "LAMBDA_ARCHITECTURE": ARCHITECTURE,
            "LAMBDA_PLATFORM": "host",
            "PYTHON": sys.executable,
        }

    def _stack(self) -> "StackTypeDef | None":
        try:
            (stack,) = self._cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
        except ClientError:
            return None
        return stack

    def _status(self) -> str:
        stack = self._stack()
        return stack["StackStatus"] if stack else "missing"

    def _outputs(self) -> dict[str, str]:
        stack = self._stack()
        outputs = stack.get("Outputs", []) if stack else []
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def _failures_since(self, started_at: datetime) -> list[str]:
        try:
            events = self._cloudformation.describe_stack_events(StackName=STACK_NAME)
        except ClientError:
            return []
        return [
            f"{event['ResourceType']} {event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events["StackEvents"]
            if event["Timestamp"] >= started_at
            and event.get("ResourceStatus", "").endswith("FAILED")
            and event.get("ResourceStatusReason")
        ]

    @cached_property
    def _cloudformation(self) -> "CloudFormationClient":
        return aws_session().client(
            "cloudformation", endpoint_url=self.endpoint_url, config=CLIENT_CONFIG
        )


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


def zipped(directory: Path) -> bytes:
    """The directory's files as an archive: the same bytes for the same files, whenever they were made."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zip_file:
        for file in sorted(directory.rglob("*")):
            if file.is_file():
                # Dated 1980, as an archive's member is unless it is told otherwise.
                member = zipfile.ZipInfo(str(file.relative_to(directory)))
                member.external_attr = 0o644 << 16
                zip_file.writestr(member, file.read_bytes())
    return archive.getvalue()


def wait_until_answering(base_url: str) -> None:
    """Each of the three services has answered a query, which means that its function and its database work.

    Raises: EmbeddedError with the last answer if one does not within a minute.
    """
    queries = ("/customers?limit=1", "/orders?limit=1", "/customers/count")
    asyncio.run(_wait_until_all_answer([base_url + query for query in queries]))


async def _wait_until_all_answer(urls: list[str]) -> None:
    # At the same time, because each starts a function; and not in threads, which a Ctrl-C would wait for.
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        await asyncio.gather(*(_wait_until_answered(client, url) for url in urls))


async def _wait_until_answered(client: httpx.AsyncClient, url: str) -> None:
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while True:
        try:
            response = await client.get(url)
            if response.is_success:
                return
            answer = f"{response.status_code} {response.text}"
        except httpx.TransportError as error:
            answer = repr(error)
        if time.monotonic() > deadline:
            raise EmbeddedError(f"GET {url} answered {answer}")
        await asyncio.sleep(0.5)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """No other process is in a block locked with the same file. A process that dies leaves it, too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _next_id(api_id: str) -> str:
    """`name` -> `name-2` -> `name-3`."""
    number = api_id.removeprefix(STACK_NAME).removeprefix("-") or "1"
    return f"{STACK_NAME}-{int(number) + 1}"


def _prepare_sam(app_directory: Path) -> None:
    """SAM does not ask PyPI for its newest version, which takes seconds where there is no network."""
    app_directory.mkdir(parents=True, exist_ok=True)
    metadata = {"lastVersionCheck": time.time()}
    (app_directory / "metadata.json").write_text(json.dumps(metadata))
