"""The emulators: MiniStack for AWS, and something that speaks MongoDB's protocol for the order history."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

import httpx
from pymongo import MongoClient

from infra.local.processes import (
    LOCALHOST,
    EmbeddedError,
    Process,
    accepts_connections,
    spawn,
    wait_until,
)

READY_TIMEOUT_SECONDS = 30.0
DATABASE = "order_history"

# All that an emulator sees of this process's environment. MiniStack hands its own on to the functions, which on AWS
# see nothing of it either: no credentials, no PYTHONPATH.
INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Directories:
    """What one instance has on disk."""

    root: Path

    @property
    def data(self) -> Path:
        """What the emulators keep; gone when they have stopped."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """What the emulators and the tools printed; gone when the next instance starts."""
        return self.root / "logs"

    @property
    def record(self) -> Path:
        """What there is to know of the instance."""
        return self.root / "instance.json"

    @property
    def lock(self) -> Path:
        """Held while the instance starts, changes or stops. Beside the root, which comes and goes."""
        return self.root.with_name(f"{self.root.name}.lock")


def start_ministack(port: int, directories: Directories) -> Process:
    """MiniStack is starting on the port, empty: its state is not kept, so none is taken over."""
    settings = {
        "BIND_HOST": LOCALHOST,
        # Functions may do what their roles say and no more, as on AWS. We ourselves are root, by the key `test`.
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "STATE_DIR": str(directories.data / "state"),
        "S3_DATA_DIR": str(directories.data / "s3"),
        # It would open port 8883, for which two instances would fight.
        "IOT_MTLS_ENABLED": "0",
    }
    return _spawn("MiniStack", port, [_emulator("ministack")], directories, settings)


def start_mongodb(port: int, directories: Directories) -> Process:
    """A MongoDB server is starting on the port, empty: `mongod` if it is installed, else nx-27017."""
    data = directories.data / "mongodb"
    data.mkdir(parents=True, exist_ok=True)
    mongod = shutil.which("mongod")
    if mongod:
        command = [mongod, "--dbpath", str(data), "--port", str(port), "--bind_ip", LOCALHOST]
        return _spawn("mongod", port, command, directories)
    # A data directory, not a single file: with a file, all databases share their collections.
    files = ["--log-file", os.devnull, "--pid-file", str(directories.data / "nx-27017.pid")]
    command = [_emulator("nx-27017"), "--data-dir", str(data), "--port", str(port), *files]
    return _spawn("nx-27017", port, command, directories)


def mongodb_uri(port: int) -> str:
    """The URI of the server that `start_mongodb` starts."""
    return f"mongodb://{LOCALHOST}:{port}/{DATABASE}"


def with_database(uri: str) -> str:
    """The URI, naming the order history's database unless it names one itself."""
    parts = urlsplit(uri)
    return uri if parts.path.strip("/") else urlunsplit(parts._replace(path=f"/{DATABASE}"))


def without_password(uri: str) -> str:
    """The URI as it may be printed."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def drop_database(uri: str) -> None:
    """The database that the URI names is gone."""
    with MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=5_000) as client:
        client.drop_database(client.get_default_database().name)


def wait_until_ready(process: Process) -> None:
    """The emulator answers on its port. Raises EmbeddedError, with the end of its log, if it does not."""
    answers = _ministack_answers if process.name == "MiniStack" else accepts_connections
    wait_until(lambda: answers(process.port) or not process.is_running(), READY_TIMEOUT_SECONDS)
    if not (process.is_running() and answers(process.port)):
        raise EmbeddedError(
            f"{process.name} did not start. The end of {process.log}:\n{process.log_tail()}"
        )


def _ministack_answers(port: int) -> bool:
    try:
        url = f"http://{LOCALHOST}:{port}/_ministack/health"
        return httpx.get(url, trust_env=False, timeout=5).is_success
    except httpx.TransportError:
        return False


def _emulator(name: str) -> str:
    # The Makefile names the environment; without it, it is the one beside ours.
    ours = Path(sys.prefix)
    default = ours.with_name(ours.name.replace(".venv", ".venv-emulators", 1))
    executable = Path(os.environ.get("EMULATORS_VENV", default)).resolve() / "bin" / name
    if not executable.exists():
        raise EmbeddedError(f"{executable} is not installed: run `make install`.")
    return str(executable)


def _spawn(
    name: str,
    port: int,
    command: list[str],
    directories: Directories,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Process:
    home, temporary = directories.data / "home", directories.data / "tmp"
    for directory in (home, temporary, directories.logs):
        directory.mkdir(parents=True, exist_ok=True)
    inherited = {key: os.environ[key] for key in INHERITED_VARIABLES if key in os.environ}
    # Each worker of a function unpacks code and layers in TMPDIR, and leaves them behind.
    environment = {**inherited, "HOME": str(home), "TMPDIR": str(temporary), **settings}
    log = directories.logs / f"{name.lower()}.log"
    return spawn(name, command, log=log, environment=environment, directory=home, port=port)
