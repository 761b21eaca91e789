"""The emulators: MiniStack for AWS, and a server that speaks MongoDB's protocol for the order history."""

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, PyMongoError

from infra.local.processes import (
    LOCALHOST,
    EmbeddedError,
    Process,
    accepts_connections,
    spawn,
    wait_until,
)

READY_TIMEOUT_SECONDS = 30.0
MONGODB_TIMEOUT_MILLISECONDS = 3_000
DATABASE = "order_history"

# The variables that an emulator inherits. MiniStack passes its environment on to the functions, and Lambda's has
# neither credentials of the user nor PYTHONPATH.
INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Directories:
    """The files of one instance. `data` is deleted when it stops, `logs` when the next one starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data, self.logs, self.record = root / "data", root / "logs", root / "instance.json"
        # The layers' files, which the functions of all workers read.
        self.layers = self.data / "layers"
        # Locked while the instance starts, changes or stops. Outside `root`, which is deleted.
        self.lock = root.with_name(f"{root.name}.lock")


def start_ministack(port: int, directories: Directories) -> Process:
    """Start MiniStack on the port, without data."""
    settings = {
        "BIND_HOST": LOCALHOST,
        # Enforce the roles of the functions, as AWS does. The key `test` is root.
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "STATE_DIR": str(directories.data / "state"),
        "S3_DATA_DIR": str(directories.data / "s3"),
        # IoT would listen on port 8883 in every instance.
        "IOT_MTLS_ENABLED": "0",
    }
    command = [_emulators_python(), str(Path(__file__).with_name("guarded_ministack.py"))]
    return _spawn("MiniStack", port, command, directories, **settings)


def start_mongodb(port: int, directories: Directories) -> Process:
    """Start a MongoDB server on the port, without data: `mongod` if it is installed, else nx-27017."""
    data = directories.data / "mongodb"
    data.mkdir(parents=True, exist_ok=True)
    if mongod := shutil.which("mongod"):
        command = [mongod, "--dbpath", str(data), "--port", str(port), "--bind_ip", LOCALHOST]
        return _spawn("mongod", port, command, directories)
    # A data directory instead of a file: in a file, all databases share their collections.
    files = ["--log-file", os.devnull, "--pid-file", str(directories.data / "nx-27017.pid")]
    module = [_emulators_python(), "-m", "nx_27017.nx_27017"]
    command = [*module, "--data-dir", str(data), "--port", str(port), *files]
    return _spawn("nx-27017", port, command, directories)


def mongodb_uri(port: int) -> str:
    """Return the URI of the server that `start_mongodb` starts."""
    return f"mongodb://{LOCALHOST}:{port}/{DATABASE}"


def with_database(uri: str) -> str:
    """Return the URI with the order history's database unless it names a database."""
    parts = urlsplit(uri)
    return uri if parts.path.strip("/") else parts._replace(path=f"/{DATABASE}").geturl()


def without_password(uri: str) -> str:
    """Return the URI without user and password."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def require_mongodb(uri: str) -> None:
    """Raise EmbeddedError, without the password, unless a MongoDB server answers at the URI."""
    try:
        with _mongodb(uri) as client:
            client.admin.command("ping")
    except (ConfigurationError, ValueError) as error:
        # The error's text may quote the URI.
        raise EmbeddedError(
            f"MONGODB_URI is not a valid URI ({type(error).__name__}). "
            "Example: mongodb://user:password@host:27017/order_history"
        ) from error
    except PyMongoError as error:
        raise EmbeddedError(
            f"MONGODB_URI: no MongoDB server accepts connections at {without_password(uri)} "
            f"({type(error).__name__})."
        ) from error


def drop_database(uri: str) -> None:
    """Delete the database that the URI names."""
    with _mongodb(uri) as client:
        client.drop_database(client.get_default_database().name)


def wait_until_ready(process: Process) -> None:
    """Wait until the emulator answers on its port. Raises: EmbeddedError with the end of its log."""
    answers = _ministack_answers if process.name == "MiniStack" else accepts_connections
    wait_until(lambda: answers(process.port) or not process.is_running(), READY_TIMEOUT_SECONDS)
    if not (process.is_running() and answers(process.port)):
        raise EmbeddedError(
            f"{process.name} did not start. The end of {process.log}:\n{process.log_tail()}"
        )


def _mongodb(uri: str) -> MongoClient[dict[str, object]]:
    return MongoClient(uri, serverSelectionTimeoutMS=MONGODB_TIMEOUT_MILLISECONDS)


def _ministack_answers(port: int) -> bool:
    try:
        url = f"http://{LOCALHOST}:{port}/_ministack/health"
        return httpx.get(url, trust_env=False, timeout=5).is_success
    except httpx.TransportError:
        return False


def _emulators_python() -> str:
    # The Makefile names the environment. Without it, it is the one beside this interpreter's.
    ours = Path(sys.prefix)
    default = ours.with_name(ours.name.replace(".venv", ".venv-emulators", 1))
    executable = Path(os.environ.get("EMULATORS_VENV", default)).absolute() / "bin/python"
    if not executable.exists():
        raise EmbeddedError(f"{executable} is not installed: run `make install`.")
    return str(executable)


def _spawn(
    name: str, port: int, command: list[str], directories: Directories, **settings: str
) -> Process:
    home, temporary = directories.data / "home", directories.data / "tmp"
    for directory in (home, temporary, directories.logs):
        directory.mkdir(parents=True, exist_ok=True)
    inherited = {key: os.environ[key] for key in INHERITED_VARIABLES if key in os.environ}
    # Workers unpack code and layers in TMPDIR and do not delete them.
    environment = {**inherited, "HOME": str(home), "TMPDIR": str(temporary), **settings}
    log = directories.logs / f"{name.lower()}.log"
    return spawn(name, command, log, environment, directory=home, port=port)
