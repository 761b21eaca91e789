"""An HTTP proxy between the functions and the emulator of AWS, in which requests can be made to fail."""

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
"""What becomes of a request: its answer, or None for a connection that is closed without one."""

BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


def any_request(_: Request) -> bool:
    return True


@dataclass
class Fault:
    """What happens to a share of the requests for one operation, at most `limit` times."""

    operation: str
    effect: Effect
    share: float = 1.0
    limit: float = float("inf")
    concerns: Callable[[Request], bool] = any_request
    struck: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(2026))

    def strikes(self, request: Request) -> bool:
        """Whether it is this request's turn. Counts it, if so."""
        strikes = (
            request.operation == self.operation
            and self.struck < self.limit
            and self.concerns(request)
            and self.dice.random() < self.share
        )
        self.struck += strikes
        return strikes


class AwsProxy:
    """Passes everything on, but for what the faults of the moment strike."""

    def __init__(self, loop: EventLoop, target_port: int) -> None:
        self._loop = loop
        self._target_port = target_port
        self._faults: tuple[Fault, ...] = ()
        # asyncio itself remembers only weakly what serves a connection whose other end is gone.
        self._serving: set[asyncio.Task[None] | None] = set()
        self._server = loop.run(asyncio.start_server(self._serve, LOCALHOST, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://{LOCALHOST}:{self.port}"

    @contextmanager
    def inject(self, *faults: Fault) -> Iterator[None]:
        """The faults strike inside the block. The first that strikes a request decides what becomes of it."""
        self._faults = faults
        try:
            yield
        finally:
            self._faults = ()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = Upstream(self._target_port)
        self._serving.add(task := asyncio.current_task())
        # Cancelled at the end of it all, of which asyncio would complain.
        with suppress(*BROKEN, asyncio.CancelledError):
            while (
                response := await self._answer(await Request.read(reader), upstream)
            ) is not None:
                writer.write(response.to_bytes())
                await writer.drain()
        upstream.close()
        writer.close()
        self._serving.discard(task)

    async def _answer(self, request: Request, upstream: Upstream) -> Response | None:
        for fault in self._faults:
            if fault.strikes(request):
                return await fault.effect(request, upstream.forward)
        return await upstream.forward(request)


class Upstream:
    """One connection to the emulator, for one request at a time. The proxy has one for each of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def forward(self, request: Request) -> Response:
        """The emulator's answer. Raises: one of BROKEN if there is none."""
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(LOCALHOST, self._port)
        self._writer.write(request.to_bytes())
        await self._writer.drain()
        return await Response.read(self._reader)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
