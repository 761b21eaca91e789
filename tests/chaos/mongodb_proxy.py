"""A TCP proxy in front of MongoDB, which can be slow, or down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from infra.local.processes import LOCALHOST
from tests.chaos.event_loop import EventLoop

CHUNK_BYTES = 65_536
# Longer than any client waits.
SILENT_SECONDS = 60.0


class MongoDbProxy:
    """Passes everything on."""

    def __init__(self, loop: EventLoop, target_port: int) -> None:
        self._loop = loop
        self._target_port = target_port
        self._connections: set[asyncio.StreamWriter] = set()
        self._delay_seconds = 0.0
        self.cut = 0
        """Connections that were cut, ever."""
        self.delayed = 0
        """Chunks that were delayed, ever."""
        self._server = loop.run(self._listen(0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    @contextmanager
    def down(self) -> Iterator[None]:
        """Inside the block nothing listens on the port; connections that there were are cut."""
        self._loop.run(self._shut())
        try:
            yield
        finally:
            self._server = self._loop.run(self._listen(self.port))

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Inside the block nothing passes, and nobody is told; connections that met this are cut after it."""
        with self.slow(SILENT_SECONDS):
            yield
        self._loop.run(self._cut())

    @contextmanager
    def slow(self, delay_seconds: float) -> Iterator[None]:
        """Inside the block every chunk takes so long, in either direction."""
        self._delay_seconds = delay_seconds
        try:
            yield
        finally:
            self._delay_seconds = 0

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, LOCALHOST, port)

    async def _shut(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        self.cut += len(self._connections)
        for writer in self._connections:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(LOCALHOST, self._target_port)
        except OSError:
            writer.close()
            return
        both = {writer, back}
        self._connections |= both
        with suppress(asyncio.CancelledError):  # the end of it all, of which asyncio would complain
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        self._connections -= both

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # as good as an end
            while data := await reader.read(CHUNK_BYTES):
                if self._delay_seconds:
                    self.delayed += 1
                    await asyncio.sleep(self._delay_seconds)
                writer.write(data)
                await writer.drain()
        writer.close()
