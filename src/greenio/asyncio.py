"""eventlet's names for coroutines in green code.

A green thread is awaitable, so the other direction needs no function:
``await green_thread``, ``asyncio.ensure_future(green_thread)``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Awaitable
from typing import Any, TypeVar

from ._bridge.await_ import await_
from ._greenthread.spawning import spawn
from ._greenthread.thread import GreenThread
from .event import Event as Event
from .hubs import Hub as AsyncioHub
from .hubs import get_hub as get_hub

__all__ = ["AsyncioHub", "Event", "get_hub", "spawn_for_awaitable"]

T = TypeVar("T")


def spawn_for_awaitable(
    coroutine: Awaitable[T] | concurrent.futures.Future[T],
) -> GreenThread[T]:
    """Run a coroutine, or wait for anything awaitable, in a green thread of its own.

    Killing the green thread cancels what it waits for. `greenio.await_` waits without
    a green thread in between.

    Args:
        coroutine: A coroutine, a Task or Future of the caller's loop, or another
            awaitable.

    Returns:
        The green thread: its `wait()` returns the result, or raises the exception.

    Raises:
        TypeError: It is not awaitable.
    """
    if not inspect.isawaitable(coroutine) and not isinstance(
        coroutine, concurrent.futures.Future
    ):
        raise TypeError(
            "spawn_for_awaitable() takes a coroutine, a Future or another awaitable, "
            f"not {coroutine!r}; a function is started with spawn()"
        )
    thread = spawn(await_, coroutine)
    thread.link(_abandon, coroutine)
    return thread


def _abandon(thread: GreenThread, awaitable: Any) -> None:
    """End what a green thread that was killed before it started would have ended."""
    if inspect.iscoroutine(awaitable):
        if inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
            awaitable.close()
    elif isinstance(awaitable, concurrent.futures.Future) or (
        asyncio.isfuture(awaitable) and awaitable.get_loop() is thread._hub.loop
    ):
        awaitable.cancel()
