"""An asyncio event loop in a thread. The proxies run in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class EventLoop:
    """Runs coroutines for threads without a loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[EventLoop]:
        """Run the loop during the block. Cancel its tasks afterwards."""
        self = cls()
        thread = threading.Thread(target=self._loop.run_forever, name="proxies")
        thread.start()
        try:
            yield self
        finally:
            self.run(_cancel_all())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the coroutine and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
