"""As much of HTTP/1.1 as AWS's SDK and its emulator speak with each other."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Message:
    """A request or a response: the head as it came, with its empty line, and the body without any encoding."""

    head: bytes
    body: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Self:
        """The next message. Raises: asyncio.IncompleteReadError if the connection ends before it does."""
        head = await reader.readuntil(END_OF_HEAD)
        headers = _headers(head)
        if "chunked" in headers.get("transfer-encoding", ""):
            return cls(head, await _read_chunks(reader)).with_body_as_it_is()
        return cls(head, await reader.readexactly(int(headers.get("content-length", "0"))))

    @cached_property
    def headers(self) -> dict[str, str]:
        """By their names in lower case."""
        return _headers(self.head)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    def with_body_as_it_is(self) -> Self:
        """The same message, its head telling the body's length, and not its encoding."""
        first, *lines = self.head.removesuffix(END_OF_HEAD).split(b"\r\n")
        told_anew = (b"content-length:", b"transfer-encoding:")
        kept = [line for line in lines if not line.lower().startswith(told_anew)]
        length = b"Content-Length: %d" % len(self.body)
        return type(self)(b"\r\n".join([first, *kept, length]) + END_OF_HEAD, self.body)

    def to_bytes(self) -> bytes:
        return self.head + self.body


class Request(Message):
    @cached_property
    def operation(self) -> str:
        """`PutEvents`, `TransactWriteItems`, ...; empty where AWS's protocol does not name it in a header."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]


class Response(Message):
    @classmethod
    def error(cls, status: int, code: str, **more: Any) -> Response:
        """An error as services with the JSON protocol answer it."""
        body = json.dumps({"__type": code, "message": code, **more}).encode()
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/x-amz-json-1.1\r\n\r\n"
        return cls(head.encode(), body).with_body_as_it_is()

    @classmethod
    def ok(cls, body: dict[str, Any]) -> Response:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n\r\n"
        return cls(head, json.dumps(body).encode()).with_body_as_it_is()


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass  # trailers
    return b"".join(chunks)
