"""A MongoDB server for the tests, and a database of its own for each."""

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

from order_history.connection import ViewConnection
from order_history.view import OrderHistoryView
from tests.template import ROOT

START_TIMEOUT_SECONDS = 30


@contextmanager
def start(directory: Path) -> Iterator[str]:
    """The URI of a server that keeps its data in the directory. It ends with the context, or with this process."""
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
    # The shell waits for the end of its input, which comes when we close it, and when we are killed.
    supervised = ["sh", "-c", '"$@" & read -r _; kill $!; wait $!', "sh", *command]
    with subprocess.Popen(
        supervised,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield f"mongodb://127.0.0.1:{_port(log)}"


def _port(log: Path) -> int:
    """The port that the server has chosen."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if log.exists() and (found := re.search(r"Listening on .*:(\d+)", log.read_text())):
            return int(found[1])
        time.sleep(0.02)
    raise TimeoutError("nx-27017 does not start; `make install` installs it")


@contextmanager
def fresh_view(uri: str, **options: Any) -> Iterator[OrderHistoryView]:
    """An empty view in a database that is gone afterwards."""
    parts = urlsplit(uri)
    query = parts.query
    if parts.username and "authSource" not in query:  # else it would be the new database
        query = f"{query}&authSource={parts.path.strip('/') or 'admin'}".strip("&")
    name = f"tests_{uuid.uuid4().hex}"
    view = OrderHistoryView(
        ViewConnection(urlunsplit(parts._replace(path=f"/{name}", query=query)), **options)
    )
    view.ensure_indexes()
    client = view._database.client
    try:
        yield view
    finally:
        client.drop_database(name)
        client.close()


def unreachable_view() -> OrderHistoryView:
    """A view whose database does not answer, and does not take long over it."""
    connection = ViewConnection("mongodb://127.0.0.1:1/nowhere")
    connection.database.client.close()
    return OrderHistoryView(connection)
