"""Run MiniStack behind a guard, and with whole logs. Runs in the emulators' environment, which lacks this project's packages.

A web page in the developer's browser can send requests to loopback. MiniStack accepts well-known keys, so such a page
could create a function and run code here. The guard refuses requests of other origins and, against DNS rebinding,
requests to other host names. MiniStack also accepts any 12-digit key as root, so a random root key would not help.
"""

# ruff: noqa: SLF001, MiniStack has no public interface for logs

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from queue import Empty
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
# Ends the log of an invocation.
END_OF_LOG = "\0end of log"
# Maximum number of seconds that MiniStack waits for the next line of a log.
LOG_SECONDS = 10
# The end of the program that MiniStack runs for a Python function: it sends the answer of an invocation.
SEND_ANSWER = "        _real_stdout.flush()\n\nrun()\n"
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


def keep_logs_whole(runtime: Any) -> None:
    """Make the workers of Python functions end each log with a mark, and MiniStack read up to it.

    MiniStack reads what arrives within 50 ms of the answer, and has no setting for this. On a busy machine a later line
    would be in the log of the function's next invocation.
    """
    script = runtime._PYTHON_WORKER_SCRIPT
    assert script.endswith(SEND_ANSWER), "another version of MiniStack"
    write_end = f"        print({END_OF_LOG!r}, file=sys.__stderr__, flush=True)\n"
    runtime._PYTHON_WORKER_SCRIPT = script.removesuffix(SEND_ANSWER) + write_end + SEND_ANSWER
    runtime.Worker._read_stderr = receive_lines
    runtime.Worker._drain_stderr_bounded = read_log
    runtime.Worker._drain_stderr = read_log  # after a timeout


def receive_lines(worker: Any) -> None:
    """Put the lines of the worker's process into its queue. A process that ends, ends its log."""
    lines = worker._stderr_queue  # before the worker has the queue of its next process
    with suppress(OSError, ValueError):
        for line in worker._proc.stderr:
            lines.put(line.rstrip("\n"))
    lines.put(END_OF_LOG)


def read_log(worker: Any, **_waits: float) -> str:
    """Return the lines of the invocation."""
    lines, ended = [], False
    with suppress(Empty):
        while not ended:
            line = worker._stderr_queue.get(timeout=LOG_SECONDS)
            ended = line.endswith(END_OF_LOG)  # an unfinished line may be before it
            lines.append(line.removesuffix(END_OF_LOG))
    return "\n".join(filter(None, lines))


if __name__ == "__main__":
    from ministack import app as ministack  # type: ignore[import-not-found]
    from ministack.core import lambda_runtime  # type: ignore[import-not-found]

    keep_logs_whole(lambda_runtime)
    ministack.app = guarded(ministack.app)
    ministack.main()
