"""The subset of HTTP/1.1 that the AWS SDK and the emulator use."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Message:
    """A request or a response: the head with its empty line, and the body without transfer encoding."""

    head: bytes
    body: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Self:
        """Read the next message. Raises: asyncio.IncompleteReadError if the connection ends."""
        head = await reader.readuntil(END_OF_HEAD)
        headers = _headers(head)
        if "chunked" not in headers.get("transfer-encoding", ""):
            return cls(head, await reader.readexactly(int(headers.get("content-length", "0"))))
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        while (await reader.readline()).strip():
            pass  # trailers
        first, *lines = head.removesuffix(END_OF_HEAD).split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(b"transfer-encoding:")]
        length = b"Content-Length: %d" % len(body)
        return cls(b"\r\n".join([first, *kept, length]) + END_OF_HEAD, body)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    def to_bytes(self) -> bytes:
        return self.head + self.body


class Request(Message):
    @cached_property
    def operation(self) -> str:
        """The AWS operation, such as `PutEvents`. Empty if the protocol does not name it in a header."""
        return _headers(self.head).get("x-amz-target", "").rpartition(".")[2]


class Response(Message):
    @classmethod
    def error(cls, status: int, code: str, **more: Any) -> Response:
        """Return an error of a service with the JSON protocol."""
        return cls.ok({"__type": code, "message": code, **more}, status)

    @classmethod
    def ok(cls, body: dict[str, Any], status: int = 200) -> Response:
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/x-amz-json-1.1\r\n"
        return cls(f"{head}Content-Length: {len(content)}\r\n\r\n".encode(), content)


def _headers(head: bytes) -> dict[str, str]:
    """Return the headers by their names in lower case."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
