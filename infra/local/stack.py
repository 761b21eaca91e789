"""One running instance of the whole system. It is recorded on disk, so that any command can find it by its port."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from infra.local import emulators
from infra.local.build import PROJECT, locked
from infra.local.deployed_stack import wait_until_answering
from infra.local.deployment import Deployment
from infra.local.emulators import Directories
from infra.local.processes import Process, free_port, require_free, stop, uninterrupted

# Called with what is being done, and left when that is done. Tests want to see nothing of it.
Step = Callable[[str], AbstractContextManager[None]]


def silent(_title: str) -> AbstractContextManager[None]:
    """Nothing is shown."""
    return nullcontext()


class AlreadyRunningError(Exception):
    """There is an instance on this port."""

    def __init__(self, stack: "EmbeddedStack") -> None:
        super().__init__(f"Already running at {stack.base_url}")
        self.stack = stack


@dataclass
class EmbeddedStack:
    """The emulators, and the stack deployed to them. `base_url` is empty until the API answers."""

    deployment: Deployment
    directories: Directories
    processes: list[Process] = field(default_factory=list)
    base_url: str = ""

    @classmethod
    @contextmanager
    def start(
        cls,
        *,
        port: int = 0,
        mongodb_port: int = 0,
        directory: Path | None = None,
        log_level: str = "INFO",
        project: Path = PROJECT,
        parameters: Mapping[str, str] = MappingProxyType({}),
        step: Step = silent,
    ) -> Iterator[Self]:
        """The system runs inside the block, empty at first, and nothing of it after. Port 0 is any free port.

        `project` is the directory of template.yaml: another system may be put on the same emulators.
        `parameters` of the template override what it would be given.

        with EmbeddedStack.start(directory=tmp_path) as stack:
            httpx.get(f"{stack.base_url}/customers/count")
        """
        stack = cls.launch(
            port=port or free_port(),
            mongodb_port=mongodb_port or free_port(),
            directory=directory,
            log_level=log_level,
            project=project,
            parameters=parameters,
            step=step,
        )
        try:
            yield stack
        finally:
            stack.stop()

    @classmethod
    def launch(
        cls,
        *,
        port: int,
        mongodb_port: int,
        mongodb_uri: str | None = None,
        directory: Path | None = None,
        log_level: str = "INFO",
        project: Path = PROJECT,
        parameters: Mapping[str, str] = MappingProxyType({}),
        step: Step = silent,
    ) -> Self:
        """The system runs, empty, until it is stopped. With `mongodb_uri` no MongoDB server is started.

        Raises: AlreadyRunningError; EmbeddedError if it cannot run, and then nothing of it does.
        """
        directories = Directories((directory or directory_of(port)).resolve())
        with locked(directories.lock):
            previous = cls.find(directories.root)
            if previous and previous.is_running():
                raise AlreadyRunningError(previous)
            if previous:
                previous._stop()  # noqa: SLF001 - `stop` would wait for the lock held here
            require_free(port, "PORT")
            if not mongodb_uri:
                require_free(mongodb_port, "MONGODB_PORT")
            shutil.rmtree(directories.root, ignore_errors=True)
            directories.root.mkdir(parents=True, mode=0o700)
            uri = emulators.with_database(mongodb_uri or emulators.mongodb_uri(mongodb_port))
            deployment = Deployment(port, uri, directories.logs, log_level, project, parameters)
            stack = cls(deployment, directories)
            try:
                stack._spawn(lambda: emulators.start_ministack(port, directories))
                if not mongodb_uri:
                    stack._spawn(lambda: emulators.start_mongodb(mongodb_port, directories))
                stack._deploy(step)
            except BaseException:
                stack._stop()
                raise
            return stack

    @classmethod
    def find(cls, directory: Path) -> Self | None:
        """The instance recorded in the directory, running or not; None if it was stopped, or never started."""
        directories = Directories(directory.resolve())
        try:
            record = json.loads(directories.record.read_text())
        except FileNotFoundError:
            return None
        deployment = Deployment(
            record["port"],
            record["mongodb_uri"],
            directories.logs,
            record["log_level"],
            parameters=record["parameters"],
        )
        processes = [Process(**process) for process in record["processes"]]
        return cls(deployment, directories, processes, record["base_url"])

    @property
    def aws_endpoint_url(self) -> str:
        """Where the emulator of AWS listens."""
        return self.deployment.endpoint_url

    @property
    def mongodb_uri(self) -> str:
        """The database of the order history view."""
        return self.deployment.mongodb_uri

    def is_running(self) -> bool:
        """Whether it was started completely and none of its processes has ended."""
        return bool(self.base_url) and not self.ended()

    def ended(self) -> list[Process]:
        """The processes that should run and do not."""
        return [process for process in self.processes if not process.is_running()]

    def redeploy(self, step: Step = silent) -> None:
        """The source as it is now is what runs. Data stays. Raises EmbeddedError if it does not deploy."""
        with locked(self.directories.lock):
            self._deploy(step)

    def stop(self) -> bool:
        """Nothing of it runs, and its data is gone; its logs stay. False if another command had done that."""
        with locked(self.directories.lock):
            recorded = self.find(self.directories.root)
            # A later instance may have taken its place: that one is not ours to stop.
            if recorded is None or recorded.processes != self.processes:
                return False
            self._stop()
            return True

    def has_foreign_mongodb(self) -> bool:
        """Whether the view is in a server that was there before, and outlives this."""
        return len(self.processes) == 1

    def _spawn(self, start: Callable[[], Process]) -> None:
        with uninterrupted():
            self.processes.append(start())
            self._record()

    def _deploy(self, step: Step) -> None:
        with self.deployment.exclusive():
            with step("Building the functions"):
                self.deployment.build()
            with step(f"Waiting for {' and '.join(process.name for process in self.processes)}"):
                for process in self.processes:
                    emulators.wait_until_ready(process)
            with step("Deploying the stack"):
                base_url = self.deployment.deploy()
        with step("Waiting for the API to answer"):
            wait_until_answering(base_url, self.deployment.auth)
        self.deployment.warm_up()
        self.base_url = base_url
        self._record()

    def _record(self) -> None:
        record = {
            "port": self.deployment.port,
            "mongodb_uri": self.deployment.mongodb_uri,
            "log_level": self.deployment.log_level,
            "parameters": dict(self.deployment.parameters),
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
    """Where the instance on the port keeps its files."""
    return PROJECT / ".embedded" / str(port)
