"""A running instance of the local stack. A record on disk lets any command find it by its port."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import httpx

from infra.local import deployment, emulators
from infra.local.build import HOST, PROJECT, Build, locked
from infra.local.deployment import RUNTIME, Deployment
from infra.local.emulators import Directories
from infra.local.processes import (
    LOCALHOST,
    EmbeddedError,
    Process,
    free_port,
    require_free,
    stop,
    uninterrupted,
)

INSTANCES = PROJECT / ".embedded"
Step = deployment.Step


class AlreadyRunningError(Exception):
    """An instance runs on this port."""


@dataclass
class EmbeddedStack:
    """The emulators and the stack deployed to them. `base_url` is empty until the functions answer."""

    deployment: Deployment
    directories: Directories
    processes: list[Process] = field(default_factory=list)
    base_url: str = ""

    @classmethod
    @contextmanager
    def start(cls, **options: Any) -> Iterator[Self]:
        """Run the system during the block, with the options of `launch`.

        with EmbeddedStack.start(directory=tmp_path) as stack:
            httpx.get(f"{stack.base_url}/customers/count")
        """
        stack = cls.launch(**options)
        try:
            yield stack
        finally:
            stack.stop()

    @classmethod
    def launch(
        cls,
        *,
        port: int = 0,
        mongodb_port: int = 0,
        mongodb_uri: str | None = None,
        directory: Path | None = None,
        log_level: str = "INFO",
        project: Path = PROJECT,
        parameters: Mapping[str, str] = MappingProxyType({}),
        step: Step = nullcontext,
    ) -> Self:
        """Start the system, without data. Port 0 chooses a free port. With `mongodb_uri` no MongoDB server is started.

        `project` is the directory of template.yaml. `parameters` of the template override the defaults.
        Raises: AlreadyRunningError; EmbeddedError if it cannot start, after stopping what was started.
        """
        if mongodb_uri:
            emulators.require_mongodb(mongodb_uri)
        elif port and mongodb_port == port:
            raise EmbeddedError(f"PORT and MONGODB_PORT are both {port}: choose two ports.")
        port, mongodb_port = port or free_port(), mongodb_port or free_port()
        directories = Directories((directory or directory_of(port)).resolve())
        with locked(directories.lock):
            if previous := cls.find(directories.root):
                if previous.is_running():
                    raise AlreadyRunningError(f"Already running at {previous.base_url}")
                previous._stop()  # noqa: SLF001 - `stop` would wait for the lock held here
            require_free(port, "PORT")
            if not mongodb_uri:
                require_free(mongodb_port, "MONGODB_PORT")
            if directories.root.exists():
                shutil.rmtree(directories.root)
            directories.root.mkdir(parents=True, mode=0o700)
            uri = emulators.with_database(mongodb_uri or emulators.mongodb_uri(mongodb_port))
            endpoint_url, build = f"http://{LOCALHOST}:{port}", Build(RUNTIME, HOST, project)
            deployment = Deployment(
                endpoint_url, uri, log_level, parameters, build, layers=directories.layers
            )
            stack = cls(deployment, directories)
            try:
                stack._spawn(emulators.start_ministack, port)
                if not mongodb_uri:
                    stack._spawn(emulators.start_mongodb, mongodb_port)
                stack._deploy(step)
            except BaseException:
                stack._stop()
                raise
            return stack

    @classmethod
    def find(cls, directory: Path) -> Self | None:
        """Return the instance recorded in the directory, running or not, or None if there is no record."""
        directories = Directories(directory.resolve())
        try:
            record = json.loads(directories.record.read_text())
        except FileNotFoundError:
            return None
        build = Build(RUNTIME, HOST, Path(record.pop("project")))
        processes = [Process(**process) for process in record.pop("processes")]
        base_url = record.pop("base_url")
        deployment = Deployment(**record, build=build, layers=directories.layers)
        return cls(deployment, directories, processes, base_url)

    @staticmethod
    def ports() -> list[int]:
        """Return the ports of the recorded instances."""
        return sorted(int(record.parent.name) for record in INSTANCES.glob("*/instance.json"))

    @property
    def aws_endpoint_url(self) -> str:
        """The URL of the emulator of AWS."""
        return self.deployment.endpoint_url

    @property
    def mongodb_uri(self) -> str:
        """The URI of the order history's database."""
        return self.deployment.mongodb_uri

    def is_running(self) -> bool:
        """Return whether it started completely and all its processes run."""
        return bool(self.base_url) and not self.ended()

    def ended(self) -> list[Process]:
        """Return the processes that have ended."""
        return [process for process in self.processes if not process.is_running()]

    def redeploy(self, step: Step = nullcontext) -> None:
        """Build and deploy the current source. Data stays."""
        with locked(self.directories.lock):
            self._deploy(step)

    def reset(self, step: Step = nullcontext) -> None:
        """Delete all data and deploy again. The processes keep running, also a `make run` that follows them."""
        with locked(self.directories.lock):
            with step("Deleting all data"):
                reset = f"{self.aws_endpoint_url}/_ministack/reset"
                httpx.post(reset, trust_env=False, timeout=60).raise_for_status()
                emulators.drop_database(self.mongodb_uri)
            self._deploy(step)

    def stop(self) -> bool:
        """Stop it and delete its data, except logs. Return False if another command had stopped it."""
        with locked(self.directories.lock):
            recorded = self.find(self.directories.root)
            # A later instance on this port is not stopped.
            if recorded is None or recorded.processes != self.processes:
                return False
            self._stop()
            return True

    def has_foreign_mongodb(self) -> bool:
        """Return whether the view is in a server that this instance did not start."""
        return len(self.processes) == 1

    def _spawn(self, start: Callable[[int, Directories], Process], port: int) -> None:
        with uninterrupted():
            self.processes.append(start(port, self.directories))
            self._record()

    def _deploy(self, step: Step) -> None:
        self.deployment.run(self.directories.logs, step, self.processes)
        self.base_url = self.deployment.stack.base_url() or ""
        self._record()

    def _record(self) -> None:
        record = {
            "endpoint_url": self.deployment.endpoint_url,
            "mongodb_uri": self.deployment.mongodb_uri,
            "log_level": self.deployment.log_level,
            "parameters": dict(self.deployment.parameters),
            "project": str(self.deployment.build.project),
            "processes": [asdict(process) for process in self.processes],
            "base_url": self.base_url,
        }
        new = self.directories.record.with_suffix(".new")
        new.write_text(json.dumps(record, indent=2))
        new.replace(self.directories.record)

    def _stop(self) -> None:
        with uninterrupted():
            stop(self.processes)
            shutil.rmtree(self.directories.data, ignore_errors=True)
            self.directories.record.unlink(missing_ok=True)


def directory_of(port: int) -> Path:
    """Return the directory of the instance on the port."""
    return INSTANCES / str(port)
