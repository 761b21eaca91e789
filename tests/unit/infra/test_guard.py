"""The guard in front of MiniStack: web pages of other sites are refused, tools and the console are not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from queue import Queue
from threading import Thread
from typing import Any
from unittest.mock import Mock

import pytest

from infra.local import guarded_ministack
from infra.local.guarded_ministack import (
    API_PREFIX,
    END_OF_LOG,
    MAX_CONCURRENT_REQUESTS,
    MAX_WAITING_REQUESTS,
    Message,
    Send,
    guarded,
    read_log,
    receive_lines,
    refusal,
)

HOST = "127.0.0.1:4566"
PAGE = f"{API_PREFIX}api/v1/"


def test_tools_and_the_console_are_answered() -> None:
    for headers in (
        {"host": HOST},
        {"host": "localhost:4566"},
        {"host": "[::1]:4566"},
        {"host": "bucket.s3.localhost:4566"},
        {"host": "host.docker.internal:4566"},
        {"host": HOST, "origin": f"http://{HOST}", "sec-fetch-site": "same-origin"},
        {"host": HOST, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    ):
        assert refusal("POST", "/", headers) is None, headers


def test_other_hosts_and_origins_are_refused() -> None:
    for headers in (
        {},
        {"host": "evil.example"},
        {"host": "evil.example:4566"},
        {"host": "127.0.0.1.evil.example:4566"},
        {"host": "localhost.evil.example"},
        {"host": "evil.example:4566", "origin": "http://evil.example:4566"},
        {"host": HOST, "origin": "http://evil.example"},
        {"host": HOST, "origin": "http://127.0.0.1:8080"},
        {"host": HOST, "origin": "null"},
        {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"host": HOST, "sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"},
    ):
        for method, path in (("POST", "/_ministack/reset"), ("GET", "/?Action=CreateRole")):
            assert refusal(method, path, headers), headers


def test_links_of_other_sites_lead_to_the_apis_pages_only() -> None:
    link = {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}

    assert refusal("GET", PAGE, link) is None
    assert refusal("POST", PAGE, link)
    assert refusal("GET", "/?Action=CreateRole", link)


class Emulator:
    """Counts the requests that reach it, and holds them until `release`."""

    def __init__(self) -> None:
        self.running = self.total = 0
        self.release = asyncio.Event()

    async def __call__(self, _scope: Message, _receive: object, send: Send) -> None:
        self.running += 1
        self.total += 1
        await self.release.wait()
        self.running -= 1
        await send({"type": "http.response.start", "status": 200})


async def request(app: Any, path: str, *, kind: str = "http", **headers: str) -> Message:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    encoded = [(k.encode(), v.encode()) for k, v in ({"host": HOST} | headers).items()]
    asked = {"type": kind, "method": "POST", "path": path, "query_string": b"", "headers": encoded}
    await app(asked, None, send)
    return sent[0]


def test_refused_requests_do_not_reach_the_emulator() -> None:
    async def check() -> None:
        emulator = Emulator()
        app = guarded(emulator)
        answer = await request(app, "/", origin="http://evil.example")
        closed = await request(app, "/", kind="websocket", origin="http://evil.example")
        assert answer["status"] == 403
        assert closed == {"type": "websocket.close", "code": 1008}
        assert emulator.total == 0

    asyncio.run(check())


def test_concurrent_requests_of_a_route_wait_and_other_routes_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def check() -> None:
        emulator = Emulator()
        app = guarded(emulator)
        paths = [f"{PAGE}orders/{number}" for number in range(3 * MAX_CONCURRENT_REQUESTS)]
        tasks = [asyncio.create_task(request(app, path)) for path in paths]
        await asyncio.sleep(0.05)
        assert emulator.running == MAX_CONCURRENT_REQUESTS
        tasks.append(asyncio.create_task(request(app, f"{PAGE}customers")))
        await asyncio.sleep(0.05)
        assert emulator.running == MAX_CONCURRENT_REQUESTS + 1
        waiting = [request(app, path, prefer="wait=5") for path in paths]
        tasks += map(asyncio.create_task, waiting)
        await asyncio.sleep(0.05)
        assert emulator.running == MAX_CONCURRENT_REQUESTS + 2, "workers start one by one"
        monkeypatch.setattr(guarded_ministack, "WORKER_START_SECONDS", 0)
        async with asyncio.timeout(30):
            while emulator.running < MAX_CONCURRENT_REQUESTS + 1 + MAX_WAITING_REQUESTS:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert emulator.running == MAX_CONCURRENT_REQUESTS + 1 + MAX_WAITING_REQUESTS
        emulator.release.set()
        assert {answer["status"] for answer in await asyncio.gather(*tasks)} == {200}

    asyncio.run(check())


def test_log_is_read_to_its_end_however_late_its_lines_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lines() -> Iterator[str]:
        yield "first\n"
        time.sleep(0.3)
        yield f"second{END_OF_LOG}\n"
        yield "of the next invocation\n"

    worker = Mock(_stderr_queue=Queue(), _proc=Mock(stderr=lines()))
    Thread(target=receive_lines, args=[worker]).start()

    assert read_log(worker) == "first\nsecond"
    assert read_log(worker) == "of the next invocation", "a log ends with its process"
    monkeypatch.setattr(guarded_ministack, "LOG_SECONDS", 0.01)
    assert read_log(worker) == ""
