"""Child processes that outlive the command that started them, so that a later command can find and stop them."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import psutil

LOCALHOST = "127.0.0.1"
STOP_GRACE_SECONDS = 1.0
INTERRUPTS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Keeps the children's Popen objects from being collected while they run.
_children: list[subprocess.Popen[bytes]] = []


class EmbeddedError(click.ClickException):
    """An error that the user can act on. Click prints its text, which is the whole message."""


@dataclass(frozen=True)
class Process:
    """A process that leads its own group. A reused pid is recognised by its command line."""

    name: str
    pid: int
    command: Sequence[str]
    log: str
    port: int = 0

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        try:
            return psutil.Process(self.pid).cmdline()[1:] == list(self.command)[1:]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its output, indented."""
        printed = Path(self.log).read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in printed[-lines:])


def spawn(
    name: str,
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    directory: Path,
    port: int = 0,
) -> Process:
    """Start the command in a new session, which a Ctrl-C in this terminal does not reach."""
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
    return Process(name, child.pid, list(command), str(log), port)


def stop(processes: Iterable[Process]) -> None:
    """Stop the processes and all their children. After the grace period, kill them."""
    running = [process for process in processes if process.is_running()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            # macOS answers "not permitted" for a group whose members are all zombies.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        wait_until(lambda: not any(p.is_running() for p in running), STOP_GRACE_SECONDS)


def run_to_end(
    command: Sequence[str], log: Path, environment: Mapping[str, str], directory: Path
) -> None:
    """Run the command and write its output to the log.

    Raises: EmbeddedError with the end of the log if the command fails.
    """
    with uninterrupted():
        process = spawn(command[0], command, log, environment, directory=directory)
        child = _children[-1]
    try:
        exit_code = child.wait()
    finally:
        stop([process])
    if exit_code != 0:
        raise EmbeddedError(f"`{' '.join(command[1:4])}` failed:\n{process.log_tail(30)}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C, SIGTERM and SIGHUP until the block ends, so that no started process stays unrecorded."""
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


def handle_interrupts() -> None:
    """Raise KeyboardInterrupt for SIGINT, SIGTERM and SIGHUP, also where a shell has set SIGINT to be ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    for number in INTERRUPTS:
        signal.signal(number, interrupt)


def require_free(port: int, variable: str) -> None:
    """Raise EmbeddedError, which names the variable to set, if the port cannot be used."""
    reason = "Address already in use" if accepts_connections(port) else None
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOCALHOST, port))
        except OSError as error:
            reason = error.strerror
    if reason:
        raise EmbeddedError(
            f"Port {port}: {reason}. Choose another, such as {variable}={port + 10}"
        )


def free_port() -> int:
    """Return a port on which no program listens.

    It is below the range from which Linux takes the ports of outgoing connections: one of those may be in use before the
    caller has started its server.
    """
    while True:
        port = random.randrange(20_000, 32_768)
        with socket.socket() as server, suppress(OSError):
            server.bind((LOCALHOST, port))
            return port


def accepts_connections(port: int) -> bool:
    """Return whether a program listens on the port."""
    with socket.socket() as client:
        return client.connect_ex((LOCALHOST, port)) == 0


def wait_until(condition: Callable[[], bool], timeout: float, interval: float = 0.05) -> bool:
    """Poll the condition every `interval` seconds. Return False if it is not met within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
