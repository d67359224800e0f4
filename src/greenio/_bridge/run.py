"""Starting a program on a loop of its own, and reaching a hub from another OS thread."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from .._greenthread.arguments import check_callable
from .._greenthread.thread import GreenThread, kill
from .._kernel.current import existing_hub, get_hub
from .._kernel.hidden_loop import running_loop
from .._kernel.hub import Hub, all_hubs
from .._kernel.loops import HubSpec, LoopFactory, loop_factory
from .._kernel.waiters import mutex, new_waiter
from .._std.errors import HubClosedError, HubError
from .._std.originals import current_task, get_ident
from .await_ import call_either, run_green

T = TypeVar("T")

_log = logging.getLogger("greenio")


def run(
    func: Callable[..., Any],
    *args: Any,
    hub: HubSpec = None,
    debug: bool | None = None,
) -> Any:
    """Run a function as the whole program, on a new event loop.

    When it returns, what it left behind is ended as under `asyncio.run`: green threads
    get GreenletExit, tasks are cancelled, asynchronous generators are closed, executors
    are shut down, then the loop is closed.

    Args:
        func: A blocking-style function, which runs in a green thread, or a coroutine
            function.
        *args: Its arguments.
        hub: ``"asyncio"``, ``"uvloop"`` or a function that returns a new event loop; by
            default what the environment variable GREENIO_HUB says, else ``"asyncio"``.
        debug: Whether the loop is in debug mode; None for asyncio's default. In debug
            mode, green threads and tasks left behind are logged.

    Returns:
        What the function returned.

    Raises:
        RuntimeError: A loop runs in this thread already.
        BaseException: Whatever the function raised.
    """
    check_callable(func, "run")
    if running_loop() is not None:
        raise RuntimeError(
            "greenio.run() makes a loop of its own, and one is running in this thread "
            "already; use `await greenio.run_green(func, ...)` in a coroutine, or call "
            "the function in a green thread"
        )
    return _run(_main(func, args), loop_factory(hub), debug)


async def _main(func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        if inspect.iscoroutinefunction(func):
            return await func(*args)
        return await run_green(func, *args)
    finally:
        loop = asyncio.get_running_loop()
        if loop.get_debug():
            _log_left_behind(loop)


def _log_left_behind(loop: asyncio.AbstractEventLoop) -> None:
    hub = get_hub()
    threads = hub.green_threads()
    ours = {current_task(), hub._supervisor}
    tasks = [task for task in asyncio.all_tasks(loop) if task not in ours]
    for left in (*threads, *tasks):
        _log.warning("left behind at the end of greenio.run(): %r", left)


if sys.version_info >= (3, 11):

    def _run(main: Any, factory: LoopFactory, debug: bool | None) -> Any:
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            return runner.run(main)

else:  # pragma: no cover - 3.10

    def _run(main: Any, factory: LoopFactory, debug: bool | None) -> Any:
        loop = factory()
        try:
            asyncio.set_event_loop(loop)
            if debug is not None:
                loop.set_debug(debug)
            return loop.run_until_complete(main)
        finally:
            try:
                _cancel_all(loop)
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                asyncio.set_event_loop(None)
                loop.close()

    def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                loop.call_exception_handler(
                    {
                        "message": "unhandled exception while the loop shut down",
                        "exception": task.exception(),
                        "task": task,
                    }
                )


def from_thread(
    func: Callable[..., T] | Callable[..., Awaitable[T]],
    *args: Any,
    hub: Hub | None = None,
) -> T:
    """Run something on a hub, called from another OS thread, and wait for it.

    Args:
        func: A blocking-style function, which runs in a green thread of that hub, or a
            coroutine function, which runs in a Task of its loop.
        *args: Its arguments.
        hub: Which hub; not needed if there is just one besides the caller's own.

    Returns:
        What the function returned.

    Raises:
        BaseException: Whatever the function raised.
        HubError: There is no hub, or more than one, to choose from.
        HubClosedError: The hub's loop is closed.
        RuntimeError: Called in the hub's own thread.
    """
    check_callable(func, "from_thread")
    target = hub if hub is not None else _only_hub()
    if get_ident() == target.thread_id:
        raise RuntimeError(
            "from_thread() is for other OS threads than the hub's own; here, call the "
            "function in a green thread, or await it in a coroutine"
        )
    waiter = new_waiter("from_thread()")
    thread: GreenThread | None = None

    def finished(_: GreenThread) -> None:
        with mutex:
            if not waiter.done:
                waiter.wake()

    def start() -> None:
        nonlocal thread
        thread = GreenThread(target, call_either, (func, args, {}), {})
        thread.has_taker = True
        thread.link(finished)
        target.wake(thread)

    if not target.call_threadsafe(start):
        raise HubClosedError(repr(target))
    try:
        waiter.block()
    except BaseException:
        with mutex:
            waiter.done = True
        if thread is not None:
            kill(thread)
        raise
    assert thread is not None
    return cast("T", thread.wait())


def _only_hub() -> Hub:
    mine = existing_hub()
    candidates = [
        hub
        for hub in tuple(all_hubs)
        if hub not in (mine, mine and mine.twin)
        and not hub.closed
        and hub.loop.is_running()
    ]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise HubError(
            "from_thread() found no running hub in another thread; start one there "
            "with greenio.run(), asyncio.run() or spawn()"
        )
    raise HubError(
        f"from_thread() found {len(candidates)} running hubs; say which one with "
        "hub=..., which greenio.hubs.get_hub() returns in the hub's own thread"
    )
