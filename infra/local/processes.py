"""Child processes that outlive the command which started them, and that a later command can find and stop."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

LOCALHOST = "127.0.0.1"
STOP_GRACE_SECONDS = 3.0
INTERRUPTS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The children of this very process: kept so that they are reaped, and not waited for when forgotten.
_children: list[subprocess.Popen[bytes]] = []


class EmbeddedError(Exception):
    """Something the user can act on; its text is all there is to say."""


@dataclass(frozen=True)
class Process:
    """A process in a group of its own. Pids are used again; a pid with its start time is not."""

    name: str
    pid: int
    start_time: str
    log: str
    port: int = 0

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return start_time_of(self.pid) == self.start_time

    def log_tail(self, lines: int = 15) -> str:
        """The end of what it printed."""
        return tail(Path(self.log), lines)


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path,
    port: int = 0,
) -> Process:
    """The command runs in a session of its own, where a Ctrl-C meant for us does not reach it."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    # A child that has ended already has no start time, which reads as "not running", as it should.
    return Process(name, child.pid, start_time_of(child.pid) or "", str(log), port)


def stop(processes: Iterable[Process], grace: float = STOP_GRACE_SECONDS) -> None:
    """None of the processes runs any more, nor anything they started. `grace` is in seconds."""
    running = [process for process in processes if process.is_running()]
    for process in running:
        _signal_group(process, signal.SIGTERM)
    wait_until(lambda: not any(process.is_running() for process in running), grace)
    for process in running:
        _signal_group(process, signal.SIGKILL)
    wait_until(lambda: not any(process.is_running() for process in running), grace)


def run_to_end(
    command: Sequence[str], log: Path, environment: Mapping[str, str], directory: Path
) -> None:
    """The command succeeded; its output is in the log.

    Raises: EmbeddedError with the end of the log if it failed.
    """
    with uninterrupted():
        process = spawn(
            Path(command[0]).name,
            command,
            log=log,
            environment=environment,
            directory=directory,
        )
        child = _children[-1]
    try:
        exit_code = child.wait()
    finally:
        stop([process])
    if exit_code != 0:
        raise EmbeddedError(f"`{' '.join(map(str, command[:2]))}` failed:\n{process.log_tail(30)}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A Ctrl-C or SIGTERM that comes in here takes effect on leaving.

    Nothing is started without being remembered, and stopping is not left halfway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, remember) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in received[:1]:
            signal.raise_signal(number)


def start_time_of(pid: int) -> str | None:
    """When the process was started, in whatever unit the system has; None if it has ended."""
    for child in _children:
        child.poll()
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The second field is the command, in brackets and with any character in it.
        state, *fields = stat.rpartition(")")[2].split()
        return None if state == "Z" else fields[18]
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return None if not listed or listed[0].startswith("Z") else listed[1].strip()


def require_free(port: int, variable: str) -> None:
    """Nothing listens on the port. Raises EmbeddedError, naming the variable that chooses another."""
    with socket.socket() as client:
        taken = client.connect_ex((LOCALHOST, port)) == 0
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOCALHOST, port))
        except PermissionError as error:
            raise EmbeddedError(
                f"Port {port} is not allowed: {error.strerror}. Set {variable}."
            ) from error
        except OSError:
            taken = True
    if taken:
        raise EmbeddedError(
            f"Port {port} is taken by another program. Stop that program, or choose another port, "
            f"as in: make up {variable}={port + 10}"
        )


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as server:
        server.bind((LOCALHOST, 0))
        return int(server.getsockname()[1])


def accepts_connections(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as client:
        return client.connect_ex((LOCALHOST, port)) == 0


def wait_until(condition: Callable[[], bool], timeout: float, interval: float = 0.05) -> bool:
    """Whether the condition came true within `timeout` seconds; it is looked at every `interval` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def tail(file: Path, lines: int) -> str:
    """The last lines of the file, indented; nothing if there is no such file."""
    if not file.exists():
        return ""
    with file.open(errors="replace") as text:
        return "".join(f"  {line}" for line in deque(text, lines)).rstrip()


def _signal_group(process: Process, number: signal.Signals) -> None:
    if start_time_of(process.pid) in (process.start_time, None):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            # The group is gone; macOS answers "not permitted" for one whose members are all zombies.
            return
