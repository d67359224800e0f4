"""Executors that coroutines make, use and end.

As asyncio's documentation shows it::

    with ThreadPoolExecutor() as pool:
        await loop.run_in_executor(pool, work)

At the end of the block the pool's threads are joined, and a coroutine cannot wait for a
green thread. The threads of a `ThreadPoolExecutor` that have nothing left to do need not
be waited for: they end when the loop goes on, and nobody sees the difference. The thread
that manages a `ProcessPoolExecutor` is a real one if a coroutine starts it: see
`threads`.
"""

from __future__ import annotations

import importlib
from functools import wraps
from typing import Any

from .._kernel.current import cannot_wait


def let_coroutines_end_executors() -> None:
    """Let `ThreadPoolExecutor.shutdown` return in a coroutine when all work is done."""
    executor: Any = importlib.import_module("concurrent.futures.thread")
    cls = executor.ThreadPoolExecutor
    shutdown = cls.shutdown

    @wraps(shutdown)
    def green(self: Any, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if wait and self._threads and cannot_wait():
            shutdown(self, wait=False, cancel_futures=cancel_futures)
            wait = self._idle_semaphore._value < len(self._threads)
            if not wait:
                return
        shutdown(self, wait=wait, cancel_futures=cancel_futures)

    cls.shutdown = green
