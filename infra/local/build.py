"""Run `sam build` for one Python and one platform."""

import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import sys
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.local.loops import expand_loops
from infra.local.processes import run_to_end

PROJECT = Path(__file__).resolve().parents[2]
HOST = "host"
ARCHITECTURE = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"
# The template's default: containers of LocalStack and `sam local` run it.
LAMBDA_RUNTIME = "python3.14"
# Without bytecode SAM takes twice as long to start. Make's variables would override those of the layers' Makefiles.
NOT_INHERITED = {"PYTHONDONTWRITEBYTECODE", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"}

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML has it

Template = dict[str, Any]


@dataclass(frozen=True)
class Build:
    """The artifacts for `runtime`, in their own directory. Unchanged sources are not built again.

    `platform` is a wheel's platform tag, or HOST for this machine.
    """

    runtime: str
    platform: str
    project: Path = PROJECT

    @classmethod
    def for_lambda(cls, runtime: str) -> "Build":
        """Return the build for containers on this machine: Lambda's Linux and this machine's processor."""
        return cls(runtime, f"manylinux2014_{ARCHITECTURE.replace('arm64', 'aarch64')}")

    @property
    def root(self) -> Path:
        """The directory of this build."""
        return self.project / ".aws-sam" / f"{self.platform}-{self.runtime}"

    @property
    def artifacts(self) -> Path:
        """The directory with the layers and the built template, whose paths are relative to it."""
        return self.root / "build"

    @property
    def parameters(self) -> dict[str, str]:
        """The template's parameters that must match the build."""
        return {"PythonRuntime": self.runtime, "Architecture": ARCHITECTURE}

    @property
    def sam_settings(self) -> dict[str, str]:
        """SAM CLI's environment variables: no telemetry, no AWS credentials of the user, a directory of its own."""
        return {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS": "1",
            "__SAM_CLI_APP_DIR": str(self.root),
        }

    def template(self) -> Template:
        """Return the built template with its loops expanded."""
        built = yaml.load((self.artifacts / "template.yaml").read_text(), LOADER)  # noqa: S506, both are safe
        template: Template = expand_loops(built)
        return template

    def run(self, logs: Path) -> None:
        """Build the artifacts from the current source, unless it was built. Raises: EmbeddedError with SAM's output."""
        built, source, cache = self.root / "built", self._source(), self.root / "cache"
        if not built.exists():  # the last build was interrupted, so SAM's cache may be wrong
            shutil.rmtree(cache, ignore_errors=True)
        elif built.read_text() == source + self._artifacts():
            return  # SAM takes two seconds to find that out
        built.unlink(missing_ok=True)
        for directory in (logs, self.root):
            directory.mkdir(parents=True, exist_ok=True)
        # SAM asks PyPI for its newest version unless it did so recently. Offline that takes seconds.
        metadata = {"lastVersionCheck": time.time()}
        (self.root / "metadata.json").write_text(json.dumps(metadata))
        command = [
            *(sys.executable, "-m", "samcli", "build", "--cached", "--parallel"),
            # samconfig.toml has no such environment, so its settings do not apply.
            *("--config-env", "emulators"),
            *("--template-file", str(self.project / "template.yaml")),
            *("--build-dir", str(self.artifacts)),
            *("--cache-dir", str(cache)),
        ]
        environment = inherited_environment(NOT_INHERITED) | {
            **self.sam_settings,
            # Read by the layers' Makefiles.
            "PYTHON_RUNTIME": self.runtime,
            "LAMBDA_ARCHITECTURE": ARCHITECTURE,
            "LAMBDA_PLATFORM": self.platform,
            "LAYER_PYTHON": sys.executable,
        }
        run_to_end(command, logs / "sam-build.log", environment, self.project)
        if self._source() == source:  # else it was changed during the build
            built.write_text(source + self._artifacts())

    def _source(self) -> str:
        """Return a digest of the files that a build depends on."""
        files = [*self.project.glob("*.yaml"), *self.project.glob("infra/*.yaml")]
        files.append(PROJECT / "requirements-dev.txt")
        for project in {PROJECT, self.project}:  # the benchmark's peers have layers of this project
            files += [f for name in ("functions", "layers") for f in (project / name).rglob("*")]
        digest = hashlib.sha256(sys.version.encode())
        for file in sorted(f for f in files if f.is_file() and f.parent.name != "__pycache__"):
            digest.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def _artifacts(self) -> str:
        """Return a digest of the artifacts' names, sizes and dates. It changes if one of them is changed or deleted."""
        found = ((str(file), file.stat()) for file in sorted(self.artifacts.rglob("*")))
        states = [(name, state.st_size, state.st_mtime_ns) for name, state in found]
        return hashlib.sha256(repr(states).encode()).hexdigest()

    def exclusive(self) -> AbstractContextManager[None]:
        """Exclude other builds, and deployments of this build, during the block."""
        return locked(self.root / "lock")


def inherited_environment(without: Collection[str] = ()) -> dict[str, str]:
    """Return this process's environment without the variables of AWS and those in `without`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and k not in without}


def zipped(*directories: Path, bytecode: bool = True) -> bytes:
    """Return the directories' files as one archive. Equal files give equal bytes. A later directory wins."""
    files = {
        str(file.relative_to(directory)): file.read_bytes()
        for directory in directories
        for file in directory.rglob("*")
        if file.is_file() and (bytecode or file.parent.name != "__pycache__")
    }
    return archive_of(files)


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of the files, given by name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zip_file:
        for name, content in sorted(files.items()):
            member = zipfile.ZipInfo(name)  # dated 1980, whatever the file's date
            member.external_attr = 0o644 << 16
            zip_file.writestr(member, content)
    return archive.getvalue()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Exclude other processes from blocks locked with the same file. The lock ends with its process."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
