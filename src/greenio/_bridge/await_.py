"""From green to async and back, in one loop.

`await_` lets a green thread wait for anything awaitable; `run_green` lets a coroutine
wait for a blocking-style function. Both keep the caller's contextvars context (the same
Context object, so changes are seen on both sides), and both pass cancellation on and
wait until it is finished.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import sys
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from types import CoroutineType, FunctionType
from typing import Any, ParamSpec, TypeVar

from greenlet import getcurrent

from .._greenthread.arguments import check_callable
from .._greenthread.thread import PENDING, GreenThread, kill
from .._kernel.current import get_hub, hub_to_park_in
from .._kernel.hub import Hub
from .._std.errors import BlockingInLoopError
from .inline_thread import InlineThread, finish, start_inline
from .portal import Portal

P = ParamSpec("P")
T = TypeVar("T")


def await_(awaitable: Awaitable[T] | concurrent.futures.Future[T]) -> T:
    """Wait for something awaitable, in a green thread.

    A coroutine runs in the caller's context, as a Task of its own, or as a part of the
    Task that the caller is called by: in a portal, and in what `run_green` called. If the
    caller is killed or times out meanwhile, what it waits for is cancelled, and the
    exception goes on when that cancellation is finished.

    Args:
        awaitable: A coroutine, a Task or Future of the caller's loop, a
            `concurrent.futures.Future`, a GreenThread, or anything with ``__await__``.
            A GreenThread is killed if the caller is ended; its `wait` only looks.

    Returns:
        Its result; at once, without a switch, if that is there already.

    Raises:
        BaseException: Whatever it raises; `asyncio.CancelledError` if it is cancelled.
        BlockingInLoopError: Called in the loop greenlet: a coroutine just awaits.
        RuntimeError: It belongs to another loop.
        TypeError: It is not awaitable.
    """
    current: Any = getcurrent()
    kind = type(current)
    if kind is InlineThread:
        if type(awaitable) is CoroutineType and current.gr_context is current.context:
            return current.delegate_await(awaitable)  # type: ignore[no-any-return]
    elif kind is Portal:
        if type(awaitable) is not CoroutineType:
            if isinstance(awaitable, concurrent.futures.Future):
                awaitable = asyncio.wrap_future(awaitable)
            elif asyncio.isfuture(awaitable) and awaitable.done():
                return awaitable.result()  # type: ignore[no-any-return]
        return current.await_(awaitable)  # type: ignore[no-any-return]
    thread = awaitable if isinstance(awaitable, GreenThread) else None
    if thread is not None:
        if thread.dead or thread is current:
            return thread.wait()  # type: ignore[no-any-return]
        awaitable = thread.wait_async()
    if asyncio.isfuture(awaitable) and awaitable.done():
        return awaitable.result()  # type: ignore[no-any-return]
    if isinstance(awaitable, concurrent.futures.Future) and awaitable.done():
        return awaitable.result()
    try:
        hub = hub_to_park_in("await_()") or get_hub()
    except BlockingInLoopError:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise BlockingInLoopError("await_()") from None
    if (
        kind is InlineThread
        and thread is None
        and current.gr_context is current.context
    ):
        return current.delegate_await(_checked(awaitable, hub))  # type: ignore[no-any-return]
    future, after = _future_of(awaitable, hub)
    # The loop calls this in the loop greenlet, so it may switch at once; the future
    # passed along tells this resume from any other.
    future.add_done_callback(current.switch, context=hub.context)
    try:
        while hub.park() is not future:
            pass
    except BaseException:
        _cancel_and_wait(future, hub)
        raise
    finally:
        if after is not None:
            after()
    if thread is not None and future.cancelled():
        return thread.outcome()  # type: ignore[no-any-return]
    return future.result()  # type: ignore[no-any-return]


def _checked(awaitable: Any, hub: Hub) -> Any:
    """Return what a coroutine of the loop can await, or raise."""
    if asyncio.isfuture(awaitable):
        if awaitable.get_loop() is not hub.loop:
            raise RuntimeError(
                f"{awaitable!r} belongs to another event loop than the caller; wait "
                "for it there, or pass a concurrent.futures.Future from loop to loop "
                "(asyncio.run_coroutine_threadsafe)"
            )
    elif isinstance(awaitable, concurrent.futures.Future):
        return asyncio.wrap_future(awaitable, loop=hub.loop)
    elif not isinstance(awaitable, Awaitable):
        raise TypeError(
            "await_() takes a coroutine, a Future or another awaitable, not "
            f"{awaitable!r}; a blocking function is just called"
        )
    return awaitable


def _future_of(
    awaitable: Any, hub: Hub
) -> tuple[asyncio.Future[Any], Callable[[], None] | None]:
    if not inspect.iscoroutine(awaitable):
        awaitable = _checked(awaitable, hub)
        if asyncio.isfuture(awaitable):
            return awaitable, None
        awaitable = _await(awaitable)
    return _task(awaitable, hub.loop)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


if sys.version_info >= (3, 11):

    def _task(
        coroutine: Any, loop: asyncio.AbstractEventLoop
    ) -> tuple[asyncio.Future[Any], Callable[[], None] | None]:
        context = getcurrent().gr_context
        if context is not None and not _entered(context):
            return asyncio.Task(coroutine, loop=loop, context=context), None
        return _task_in_copy(coroutine, loop)

else:  # pragma: no cover - 3.10

    def _task(
        coroutine: Any, loop: asyncio.AbstractEventLoop
    ) -> tuple[asyncio.Future[Any], Callable[[], None] | None]:
        return _task_in_copy(coroutine, loop)


def _entered(context: Context) -> bool:
    """Whether the context is inside a `Context.run`, where no Task can enter it."""
    try:
        context.run(_nothing)
    except RuntimeError:
        return True
    return False


def _nothing() -> None:
    pass


def _task_in_copy(
    coroutine: Any, loop: asyncio.AbstractEventLoop
) -> tuple[asyncio.Future[Any], Callable[[], None]]:
    """Run a coroutine in a copy of the context, and carry the changes back after it."""
    contexts: list[Context] = []

    async def carried() -> Any:
        try:
            return await coroutine
        finally:
            contexts.append(copy_context())

    def carry_back() -> None:
        # Cancelled before its first step, the Task never came to the coroutine.
        coroutine.close()
        for context in contexts:
            adopt_changes(context)

    return asyncio.Task(carried(), loop=loop), carry_back


def adopt_changes(context: Context) -> None:
    """Give the current context the values that a copy of it has got meanwhile."""
    for variable, value in context.items():
        if variable.get(_nothing) is not value:
            variable.set(value)


def _cancel_and_wait(future: asyncio.Future[Any], hub: Hub) -> None:
    future.cancel()
    while not future.done():
        try:
            hub.park()
        except BaseException:
            # The first exception is the one that goes on; a cancellation that is under
            # way is not abandoned for a second one.
            future.cancel()
    future.remove_done_callback(getcurrent().switch)
    if not future.cancelled():
        future.exception()


def call_either(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a blocking-style function or a coroutine function, in a green thread."""
    if inspect.iscoroutinefunction(func):
        return await_(func(*args, **kwargs))
    return func(*args, **kwargs)


async def run_green(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking-style function in a green thread, and wait for it.

    It runs in the caller's context, and starts at once, as an awaited coroutine does.
    Cancelling the wait raises `CancelledError` inside the function, where it waits, as it
    would in a coroutine.

    Args:
        func: The function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        What the function returned.

    Raises:
        BaseException: Whatever it raised.
        TypeError: `func` is a coroutine function, or cannot be called.
    """
    # A plain function says so itself; all else takes ten times as long to look at.
    if (
        type(func) is not FunctionType
        or func.__code__.co_flags & inspect.CO_COROUTINE
        or func.__dict__
    ):
        _check_blocking(func)
    thread: Any = start_inline(func, args, kwargs)
    if thread is not None:
        if thread._state is PENDING:
            await thread.serve_until_done()
        return finish(thread)  # type: ignore[no-any-return]
    thread = start_here(func, *args, **kwargs)
    await _wait_or_cancel(thread)
    return thread.outcome_async()  # type: ignore[no-any-return]


def _check_blocking(func: Any) -> None:
    check_callable(func, "run_green")
    if inspect.iscoroutinefunction(func):
        raise TypeError(
            f"run_green() takes a blocking-style function; {func!r} is a coroutine "
            "function, which is awaited: await func(...)"
        )


async def _wait_or_cancel(thread: GreenThread) -> None:
    """Wait until a green thread ends, and cancel it if this wait is cancelled."""
    while not thread.dead:
        try:
            await thread.wait_end_async()
        except asyncio.CancelledError as cancellation:
            if not thread:
                # Never started: nothing of it is to run.
                kill(thread, cancellation)
                raise
            kill(thread, asyncio.CancelledError, *cancellation.args)


def start_here(
    func: Callable[P, Any], *args: P.args, **kwargs: P.kwargs
) -> GreenThread:
    """Start a green thread in the caller's context itself, where `spawn` copies it."""
    hub = get_hub()
    thread = GreenThread(hub, func, args, kwargs, getcurrent().gr_context)
    hub.wake(thread)
    return thread
