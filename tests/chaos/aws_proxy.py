"""An HTTP proxy between the functions and the emulator of AWS that injects faults."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from infra.local.processes import LOCALHOST
from tests.chaos.event_loop import EventLoop
from tests.chaos.http import Request, Response

Forward = Callable[[Request], Awaitable[Response]]
Effect = Callable[[Request, Forward], Awaitable[Response | None]]
"""Returns the response to a request, or None to close the connection without one."""


@dataclass(eq=False)
class Fault:
    """An effect on a share of the requests for one operation, at most `limit` times."""

    operation: str
    effect: Effect
    share: float = 1.0
    limit: float = float("inf")
    concerns: Callable[[Request], bool] = lambda _: True
    struck: int = 0
    """Number of requests that were affected."""
    dice: random.Random = field(default_factory=lambda: random.Random(2026))

    def strikes(self, request: Request) -> bool:
        """Return whether the fault affects this request, and count it."""
        strikes = (
            request.operation == self.operation
            and self.struck < self.limit
            and self.concerns(request)
            and self.dice.random() < self.share
        )
        self.struck += strikes
        return strikes


class AwsProxy:
    """Forwards every request that no injected fault affects."""

    def __init__(self, loop: EventLoop, target_port: int) -> None:
        self._target_port = target_port
        self._faults: list[Fault] = []
        # asyncio keeps only weak references to the tasks of closed connections.
        self._serving: set[asyncio.Task[None] | None] = set()
        server = loop.run(asyncio.start_server(self._serve, LOCALHOST, 0))
        self.url = f"http://{LOCALHOST}:{server.sockets[0].getsockname()[1]}"

    @contextmanager
    def inject(self, *faults: Fault) -> Iterator[None]:
        """Inject the faults during the block. The first that affects a request decides its response.

        Blocks of several threads may overlap.
        """
        self._faults.extend(faults)
        try:
            yield
        finally:
            for fault in faults:
                self._faults.remove(fault)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = Upstream(self._target_port)
        self._serving.add(task := asyncio.current_task())
        # The end of the loop cancels the tasks.
        with suppress(OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            while (
                response := await self._answer(await Request.read(reader), upstream)
            ) is not None:
                writer.write(response.to_bytes())
                await writer.drain()
        upstream.close()
        writer.close()
        self._serving.discard(task)

    async def _answer(self, request: Request, upstream: Upstream) -> Response | None:
        for fault in tuple(self._faults):
            if fault.strikes(request):
                return await fault.effect(request, upstream.forward)
        return await upstream.forward(request)


class Upstream:
    """A connection to the emulator, for one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def forward(self, request: Request) -> Response:
        """Return the emulator's response. Raises: OSError or EOFError if the connection fails."""
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection(LOCALHOST, self._port)
        reader, writer = self._streams
        writer.write(request.to_bytes())
        await writer.drain()
        return await Response.read(reader)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
