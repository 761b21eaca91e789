"""The lab's server: passes requests on to the API and the console, and adds the panel with its files and actions."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from infra.local.guarded_ministack import refusal
from infra.local.processes import LOCALHOST, EmbeddedError
from infra.ops.target import OperateError
from tests.chaos.lab.lab import Lab
from tests.chaos.system import System

FILES = Path(__file__).parent
TYPES = {"lab.js": "text/javascript; charset=utf-8", "lab.css": "text/css; charset=utf-8"}
PASSED_ON = {"accept", "authorization", "content-type", "idempotency-key", "prefer"}
PASSED_ON |= {"x-correlation-id"}
NOT_PASSED_BACK = {"connection", "content-encoding", "content-length", "date", "server"}
NOT_PASSED_BACK |= {"keep-alive", "transfer-encoding"}
MAIN = '<main id="main"'
TIMEOUT_SECONDS = 60.0


class Server(ThreadingHTTPServer):
    """Listens on loopback. Raises: EmbeddedError if the port cannot be used."""

    daemon_threads = True
    lab: Lab
    api: httpx.Client

    def __init__(self, port: int) -> None:
        try:
            super().__init__((LOCALHOST, port), Handler)
        except OSError as error:
            raise EmbeddedError(
                f"Port {port}: {error.strerror}. Choose another: make lab LAB_PORT={port + 10}"
            ) from error
        self.url = f"http://{LOCALHOST}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that the browser closed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Refuses requests of other sites: they could kill functions and create orders."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if reason := refusal(self.command, self.path, headers):
            self._send(403, f"Refused: {reason}. The lab answers only its own page.\n")
        elif self.path.startswith("/lab/"):
            self._answer(self.path.split("/")[2:])
        else:
            self._pass_on(headers, body)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def _answer(self, path: list[str]) -> None:
        lab = self.server.lab
        try:
            match self.command, path:
                case "GET", ["state"]:
                    self._send(200, json.dumps(lab.state(), default=str), "application/json")
                case "GET", [name] if name in TYPES:
                    self._send(200, (FILES / name).read_text(), TYPES[name])
                case "POST", [action]:
                    self._send(202 if lab.press(action) else 409, "")
                case "POST", ["redrive" | "discard" as action, queue, message_id]:
                    getattr(lab, action)(queue, message_id)
                    self._send(202, "")
                case _:
                    self._send(404, "")
        except OperateError as error:
            self._send(409, str(error))

    def _pass_on(self, headers: Mapping[str, str], body: bytes) -> None:
        """Answer as the API does. Remember what it confirms, and add the panel to the console."""
        lab, is_change = self.server.lab, self.command == "POST"
        sent = {name: value for name, value in headers.items() if name in PASSED_ON}
        try:
            with lab.change() if is_change else nullcontext():
                answer = self.server.api.request(
                    self.command, self.path, headers=sent, content=body
                )
                if is_change and answer.status_code == 200:
                    key = headers.get("idempotency-key")
                    path = self.path.partition("?")[0]
                    lab.confirm(path, key, json.loads(body or b"null"), answer.json())
        except httpx.TransportError as error:
            problem = {"title": "Bad Gateway", "detail": repr(error)}
            self._send(502, json.dumps(problem), "application/problem+json")
            return
        text = answer.text
        if self.path == "/":
            text = text.replace(MAIN, (FILES / "panel.html").read_text() + MAIN, 1)
        more = {k: v for k, v in answer.headers.items() if k not in NOT_PASSED_BACK}
        self._send(answer.status_code, text, more.pop("content-type", ""), more)

    def _send(
        self, status: int, text: str, content_type: str = "text/plain", more: Mapping[str, str] = {}
    ) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {"cache-control": "no-store", **more}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@contextmanager
def serving(directory: Path, port: int = 0) -> Iterator[str]:
    """Run the lab during the block, which gets its address. Port 0 chooses a free port.

    Raises: EmbeddedError if the port is taken, or the stack cannot start.
    """
    with ExitStack() as contexts:
        server = contexts.enter_context(Server(port))
        system = contexts.enter_context(System.start(directory))
        server.lab = Lab(system, server.url)
        client = httpx.Client(
            base_url=system.stack.base_url, timeout=TIMEOUT_SECONDS, trust_env=False
        )
        server.api = contexts.enter_context(client)
        threading.Thread(target=server.serve_forever).start()
        contexts.callback(server.shutdown)
        contexts.enter_context(server.lab.running())
        yield server.url
