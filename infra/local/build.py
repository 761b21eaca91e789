"""What `sam build` makes of template.yaml, for one Python and one kind of machine."""

from __future__ import annotations

import fcntl
import io
import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.local.loops import expand_loops
from infra.local.processes import run_to_end

PROJECT = Path(__file__).resolve().parents[2]
HOST = "host"
NESTED_STACK = "AWS::CloudFormation::Stack"
ARCHITECTURE = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"
# What the containers of LocalStack and `sam local` run: the template's default.
LAMBDA_RUNTIME = "python3.14"

Template = dict[str, Any]


@dataclass(frozen=True)
class Build:
    """What is built for `runtime` is in a directory of its own, and what did not change is not built again.

    `platform` is a wheel's platform tag, or HOST for this machine as it is.
    """

    runtime: str
    platform: str
    project: Path = PROJECT

    @classmethod
    def for_lambda(cls, runtime: str = LAMBDA_RUNTIME) -> Build:
        """For Lambda's own Linux on this machine's processor: what runs in containers here."""
        return cls(runtime, f"manylinux2014_{ARCHITECTURE.replace('arm64', 'aarch64')}")

    @property
    def root(self) -> Path:
        """Where everything is that belongs to this build."""
        return self.project / ".aws-sam" / f"{self.platform}-{self.runtime}"

    @property
    def artifacts(self) -> Path:
        """The directory with one directory for each function and each layer."""
        return self.root / "build"

    @property
    def template_file(self) -> Path:
        """The template that names those directories."""
        return self.artifacts / "template.yaml"

    @property
    def parameters(self) -> dict[str, str]:
        """The template's parameters that have to be what was built for."""
        return {"PythonRuntime": self.runtime, "Architecture": ARCHITECTURE}

    def template(self) -> Template:
        """The built template, its loops expanded."""
        template: Template = expand_loops(yaml.safe_load(self.template_file.read_text()))
        return template

    def nested_templates(self) -> dict[str, bytes]:
        """The templates of the stacks that the built template nests, by the stacks' logical ids."""
        return {
            name: (self.artifacts / resource["Properties"]["TemplateURL"]).read_bytes()
            for name, resource in self.template()["Resources"].items()
            if resource["Type"] == NESTED_STACK
        }

    def run(self, logs: Path) -> None:
        """The artifacts are built from the source as it is now. Raises: EmbeddedError with what SAM said."""
        logs.mkdir(parents=True, exist_ok=True)
        self._prepare_sam()
        command = [
            str(Path(sys.prefix) / "bin/sam"),
            "build",
            # One that the project's samconfig.toml does not have: nothing but what is said here counts.
            *("--config-env", "emulators"),
            *("--cached", "--parallel"),
            *("--template-file", str(self.project / "template.yaml")),
            *("--build-dir", str(self.artifacts)),
            *("--cache-dir", str(self.root / "cache")),
        ]
        run_to_end(command, logs / "sam-build.log", self._environment(), self.project)

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else builds, or deploys what was built."""
        return locked(self.root / "lock")

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            # Without bytecode SAM takes twice as long to start.
            if not name.startswith("AWS_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        return inherited | {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS": "1",
            "__SAM_CLI_APP_DIR": str(self.root),
            # What the Makefiles of layers/ and functions/ take.
            "LAMBDA_PYTHON_RUNTIME": self.runtime,
            "LAMBDA_ARCHITECTURE": ARCHITECTURE,
            "LAMBDA_PLATFORM": self.platform,
            "PYTHON": sys.executable,
        }

    def _prepare_sam(self) -> None:
        """SAM does not ask PyPI for its newest version, which takes seconds where there is no network."""
        self.root.mkdir(parents=True, exist_ok=True)
        metadata = {"lastVersionCheck": time.time()}
        (self.root / "metadata.json").write_text(json.dumps(metadata))


def zipped(*directories: Path) -> bytes:
    """The directories' files as one archive: the same bytes for the same files, whenever they were made.

    Where two directories have a file of the same name, the later one's counts.
    """
    files = {
        str(file.relative_to(directory)): file
        for directory in directories
        for file in directory.rglob("*")
        if file.is_file()
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zip_file:
        for name, file in sorted(files.items()):
            # Dated 1980, as an archive's member is unless it is told otherwise.
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o644 << 16
            zip_file.writestr(member, file.read_bytes())
    return archive.getvalue()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """No other process is in a block locked with the same file. A process that dies leaves it, too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
