"""Run MiniStack behind a guard against web pages. Runs in the emulators' environment, which lacks this project's packages.

A web page in the developer's browser can send requests to loopback. MiniStack accepts well-known keys, so such a page
could create a function and run code here. The guard refuses requests of other origins and, against DNS rebinding,
requests to other host names. MiniStack also accepts any 12-digit key as root, so a random root key would not help.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# Containers of `sam local` use the last one.
HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]", "host.docker.internal"})
API_PREFIX = "/_aws/execute-api/"
# Maximum number of concurrent requests per route of the API. The others wait. A cold stack would otherwise start one
# worker process (55 MB, 0.6 s of CPU) for each concurrent request.
MAX_CONCURRENT_REQUESTS = max(8, 2 * (os.cpu_count() or 1))


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


def guarded(app: App) -> App:
    """Wrap an ASGI application in the guard and in the limit of concurrent requests."""
    limits: dict[str, asyncio.Semaphore] = defaultdict(
        lambda: asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
    )

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            return await app(scope, receive, send)
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        path = scope["path"]
        if reason := refusal(scope.get("method", "GET"), path, headers):
            return await refuse(scope, send, reason)
        async with limits[route(path)] if path.startswith(API_PREFIX) else nullcontext():
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

    ministack.app = guarded(ministack.app)
    ministack.main()
