"""A stub of AWS that answers at once, so that only the function is measured."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from infra.local.processes import LOCALHOST

CUSTOMER = {
    "itemType": {"S": "Customer"},
    "name": {"S": "Jane Doe"},
    "creditLimitCents": {"N": "10000000000000"},
    "reservedCreditCents": {"N": "0"},
    "availableCents": {"N": "10000000000000"},
    "version": {"N": "1"},
}
ORDER = {
    "customerId": {"N": "237957120000291"},
    "orderTotalCents": {"N": "400"},
    "state": {"S": "PENDING"},
    "createdAt": {"S": "2026-11-04T09:30:10.000Z"},
    "version": {"N": "1"},
}


def answer(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """Answer as if every customer existed with full credit, every order were PENDING, and no reservation existed."""
    match operation:
        case "GetItem":
            return {"Item": {**request["Key"], **ORDER}}
        case "BatchGetItem":
            responses = {
                table: [item for key in wanted["Keys"] for item in _items(key)]
                for table, wanted in request["RequestItems"].items()
            }
            return {"Responses": responses, "UnprocessedKeys": {}}
        case "PutEvents":
            published = [{"EventId": "event"}] * len(request["Entries"])
            return {"FailedEntryCount": 0, "Entries": published}
    return {}


def _items(key: dict[str, Any]) -> list[dict[str, Any]]:
    if "orderId" in key:
        return [{**key, **ORDER}]
    if key["sk"]["S"] == "CUSTOMER":
        return [{**key, "listedCustomerId": key["customerId"], **CUSTOMER}]
    return []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        content = json.dumps(answer(operation, json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


class StubOfAws(ThreadingHTTPServer):
    daemon_threads = True

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[StubOfAws]:
        self = cls((LOCALHOST, 0), _Handler)
        thread = threading.Thread(target=self.serve_forever, name="stub of AWS")
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    @property
    def url(self) -> str:
        return f"http://{LOCALHOST}:{self.server_address[1]}"
