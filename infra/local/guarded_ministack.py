"""Run MiniStack behind a guard against web pages. Runs in the emulators' environment, which lacks this project's packages.

A web page in the developer's browser can send requests to loopback. MiniStack accepts well-known keys, so such a page
could create a function and run code here. The guard refuses requests of other origins and, against DNS rebinding,
requests to other host names. MiniStack also accepts any 12-digit key as root, so a random root key would not help.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partialmethod
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# Containers of `sam local` use the last one.
HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]", "host.docker.internal"})
API_PREFIX = "/_aws/execute-api/"
# Maximum number of concurrent requests per route of the API. The others wait. A cold stack would otherwise start one
# worker process (55 MB, 0.4 s of CPU) for each concurrent request.
MAX_CONCURRENT_REQUESTS = max(8, 2 * (os.cpu_count() or 1))
# The same for requests that ask a function to wait. They are counted apart, so that they hold up only each other.
MAX_WAITING_REQUESTS = 2 * MAX_CONCURRENT_REQUESTS
# Maximum number of seconds from the end of an invocation until its first log line is read. MiniStack waits 50 ms. On a
# busy machine one line in 2,000 takes longer, and would be in the log of the function's next invocation.
LOG_SECONDS = 0.5
# Seconds between the starts of two workers for them, so that a burst leaves processor time for the saga.
WORKER_START_SECONDS = 0.6


def refusal(method: str, path: str, headers: dict[str, str]) -> str | None:
    """Return why the request is refused, or None if it is allowed."""
    host = headers.get("host", "").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in HOSTS and not name.endswith(".localhost"):
        return "Host is not this machine"
    origin = headers.get("origin")
    if origin is not None and origin.lower().partition("://")[2] != host:
        return "Origin is another site"
    # Requests of images, forms with GET and links have no Origin. Links to the API's pages are allowed.
    is_link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not (
        is_link and path.startswith(API_PREFIX)
    ):
        return "Sec-Fetch-Site is another site"
    return None


def route(path: str) -> str:
    """Return the path without its numbers: `/customers/5/orderhistory` and `/customers/6/orderhistory` are one route."""
    return "/".join(part for part in path.split("/") if not part.isdigit())


class WaitingRequests:
    """Admits the waiting requests of a route. One that needs another worker process starts after a pause."""

    def __init__(self) -> None:
        self._limit = asyncio.Semaphore(MAX_WAITING_REQUESTS)
        self._start = asyncio.Lock()
        self._running = self._workers = 0

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        async with self._limit:
            async with self._start:
                if self._running == self._workers:
                    await asyncio.sleep(WORKER_START_SECONDS if self._workers else 0)
                    self._workers = max(self._workers, self._running + 1)
                self._running += 1
            try:
                yield
            finally:
                self._running -= 1


def guarded(app: App) -> App:
    """Wrap an ASGI application in the guard and in the limit of concurrent requests."""
    limits: dict[str, asyncio.Semaphore] = defaultdict(
        lambda: asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
    )
    waiting: dict[str, WaitingRequests] = defaultdict(WaitingRequests)

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            return await app(scope, receive, send)
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        path = scope["path"]
        if reason := refusal(scope.get("method", "GET"), path, headers):
            return await refuse(scope, send, reason)
        if not path.startswith(API_PREFIX):
            return await app(scope, receive, send)
        waits = "prefer" in headers or b"minVersion" in scope["query_string"]
        async with waiting[route(path)].admit() if waits else limits[route(path)]:
            return await app(scope, receive, send)

    return guard


async def refuse(scope: Message, send: Send, reason: str) -> None:
    """Answer 403, or close the web socket."""
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008})
    text = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 403, "headers": text})
    body = f"Refused: {reason}. The local stack answers only its own pages and tools.\n"
    return await send({"type": "http.response.body", "body": body.encode()})


if __name__ == "__main__":
    from ministack import app as ministack  # type: ignore[import-not-found]
    from ministack.core.lambda_runtime import Worker  # type: ignore[import-not-found]

    # MiniStack has no setting for this.
    read_log = partialmethod(
        Worker._drain_stderr_bounded,  # noqa: SLF001
        first_line_wait=LOG_SECONDS,
        hard_cap=2 * LOG_SECONDS,
    )
    Worker._drain_stderr_bounded = read_log  # noqa: SLF001
    ministack.app = guarded(ministack.app)
    ministack.main()
