"""A MongoDB server for the tests, and a database of its own for each test."""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pymongo.database import Database
from pymongo.monitoring import CommandListener, CommandStartedEvent

from order_history.connection import Document, ViewConnection
from order_history.projection import CUSTOMERS, ERASED, NAMES, ORDERS, TERMS
from order_history.view import OrderHistoryView
from tests.template import ROOT

START_TIMEOUT_SECONDS = 30


@contextmanager
def start(directory: Path) -> Iterator[str]:
    """Start a server on the directory and return its URI. It ends with the context, or with this process."""
    environment = ROOT / os.environ.get("EMULATORS_VENV", ".venv-emulators")
    log = directory / "log"
    command = [
        str(environment / "bin/nx-27017"),
        # A data directory, not a single file: with a file, all databases share their collections.
        *("--data-dir", str(directory / "data")),
        *("--port", "0"),
        *("--log-file", str(log)),
        *("--pid-file", str(directory / "pid")),
    ]
    # The shell waits for the end of its input: this process closes it, or is killed. SIGTERM may not end the server.
    supervised = ["sh", "-c", '"$@" & read -r _; kill -9 $!; wait $!', "sh", *command]
    with subprocess.Popen(
        supervised,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield f"mongodb://127.0.0.1:{_port(log)}"


def _port(log: Path) -> int:
    """Return the port that the server has chosen."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if log.exists() and (found := re.search(r"Listening on .*:(\d+)", log.read_text())):
            return int(found[1])
        time.sleep(0.02)
    raise TimeoutError("nx-27017 does not start; `make install` installs it")


@contextmanager
def fresh_database(uri: str, **options: Any) -> Iterator[Database[Document]]:
    """Create a database and drop it afterwards."""
    parts = urlsplit(uri)
    query = parts.query
    if parts.username and "authSource" not in query:  # else it would be the new database
        query = f"{query}&authSource={parts.path.strip('/') or 'admin'}".strip("&")
    name = f"tests_{uuid.uuid4().hex}"
    view_uri = urlunsplit(parts._replace(path=f"/{name}", query=query))
    database = ViewConnection(view_uri, **options).database
    try:
        yield database
    finally:
        database.client.drop_database(name)
        database.client.close()


class Recorder(CommandListener):
    """The commands that the driver sends."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


class _Connected(ViewConnection):
    """A connection to a given database."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self._find_uri = None


def connected(database: Any) -> ViewConnection:
    """Return a connection to the database, which may also be a stand-in."""
    return _Connected(database)


@contextmanager
def fresh_view(uri: str, **options: Any) -> Iterator[OrderHistoryView]:
    """Create an empty view and drop it afterwards."""
    with fresh_database(uri, **options) as database:
        view = OrderHistoryView(connected(database))
        view.ensure_indexes()
        yield view


def documents(view: OrderHistoryView) -> dict[str, list[Document]]:
    """Return the documents of the view, without the times and numbers of deliveries."""
    found = {}
    for name in (CUSTOMERS, ORDERS, NAMES, ERASED, TERMS):
        found[name] = sorted(view._database[name].find(), key=lambda document: document["_id"])
        for document in found[name]:
            for entry in document.get("events", {}).values():
                entry.pop("deliveries", None)
                entry.pop("rebuiltAt", None)
    return found
