"""A TCP proxy in front of MongoDB that can be slow, silent or down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from infra.local.processes import LOCALHOST
from tests.chaos.event_loop import EventLoop

CHUNK_BYTES = 65_536
SILENT_SECONDS = 60.0
"""Longer than the functions' timeouts of MongoDB."""


class MongoDbProxy:
    """Forwards every connection to the target port."""

    def __init__(self, loop: EventLoop, target_port: int) -> None:
        self._loop = loop
        self._target_port = target_port
        self._connections: set[asyncio.StreamWriter] = set()
        self._delay_seconds = 0.0
        self.struck = 0
        """Number of aborted connections and of delayed chunks."""
        self._server = loop.run(self._listen(0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    @contextmanager
    def down(self) -> Iterator[None]:
        """Abort the connections and refuse new ones during the block."""
        self._loop.run(self._abort(close=True))
        try:
            yield
        finally:
            self._server = self._loop.run(self._listen(self.port))

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Forward nothing during the block. Abort the connections afterwards."""
        with self.slow(SILENT_SECONDS):
            yield
        self._loop.run(self._abort())

    @contextmanager
    def slow(self, delay_seconds: float) -> Iterator[None]:
        """Delay each chunk, in both directions, during the block."""
        self._delay_seconds = delay_seconds
        try:
            yield
        finally:
            self._delay_seconds = 0

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, LOCALHOST, port)

    async def _abort(self, *, close: bool = False) -> None:
        if close:
            self._server.close()
        self.struck += len(self._connections)
        for writer in self._connections:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, target = await asyncio.open_connection(LOCALHOST, self._target_port)
        except OSError:
            writer.close()
            return
        self._connections |= {writer, target}
        with suppress(asyncio.CancelledError):  # the end of the loop cancels the tasks
            await asyncio.gather(self._copy(reader, target), self._copy(upstream, writer))
        self._connections -= {writer, target}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._delay_seconds:
                    self.struck += 1
                    await asyncio.sleep(self._delay_seconds)
                writer.write(data)
                await writer.drain()
        writer.close()
