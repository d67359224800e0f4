"""Whole functions, iterators and context managers carried to the other side.

`as_async` and its kind let coroutines use blocking-style things; `as_sync` and its kind
let green threads use asynchronous ones. They are for moving a program over one function
at a time: the callers stay as they are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from greenlet import getcurrent

from .._greenthread.arguments import check_callable
from .await_ import await_, run_green
from .portal import Portal
from .scope import Scope, leave

P = ParamSpec("P")
T = TypeVar("T")


def as_async(func: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a coroutine function of a blocking-style one; also a decorator.

    Each call runs in a green thread, as with `run_green`.

    Args:
        func: A function or method that may wait.

    Returns:
        A coroutine function with the same arguments and result.

    Raises:
        TypeError: `func` is a coroutine function already, or cannot be called.
    """
    check_callable(func, "as_async")
    if inspect.iscoroutinefunction(func):
        raise TypeError(
            f"as_async() takes a blocking-style function; {func!r} is a coroutine "
            "function already"
        )

    @functools.wraps(func)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return await run_green(func, *args, **kwargs)

    return wrapper


def as_sync(func: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Make a blocking-style function of a coroutine function; also a decorator.

    It is for green threads and portals, as `await_` is.

    Args:
        func: A function that returns something awaitable.

    Returns:
        A function with the same arguments, which waits for the result.

    Raises:
        TypeError: `func` cannot be called.
    """
    check_callable(func, "as_sync")

    @functools.wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return await_(func(*args, **kwargs))

    # functools.wraps copies what says "coroutine function" on some versions.
    wrapper.__dict__.pop("_is_coroutine", None)
    wrapper.__dict__.pop("_is_coroutine_marker", None)
    return wrapper


_END: Any = object()


class async_iter(AsyncIterator[T]):  # noqa: N801 - used like a function
    """Iterate with ``async for`` over something whose ``next()`` may wait.

    Each item is fetched in a green thread.

    Args:
        iterable: An iterable or generator in blocking style.
    """

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterable: Iterable[T] | None = iterable
        self._iterator: Iterator[T] | None = None

    async def __anext__(self) -> T:
        item = await run_green(self._next)
        if item is _END:
            raise StopAsyncIteration
        return item

    def _next(self) -> T:
        if self._iterator is None:
            assert self._iterable is not None
            self._iterator = iter(self._iterable)
            self._iterable = None
        return next(self._iterator, _END)

    async def aclose(self) -> None:
        """Close the generator, where it is one, running its ``finally`` blocks."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            await run_green(close)


class sync_iter(Iterator[T]):  # noqa: N801 - used like a function
    """Iterate with ``for`` over something asynchronous, in a green thread or portal.

    Args:
        iterable: An asynchronous iterable or generator.
    """

    def __init__(self, iterable: AsyncIterable[T]) -> None:
        self._iterator = iterable.__aiter__()

    def __next__(self) -> T:
        item = await_(self._next())
        if item is _END:
            raise StopIteration
        return item

    async def _next(self) -> T:
        # StopAsyncIteration cannot leave a Task as such.
        try:
            return await self._iterator.__anext__()
        except StopAsyncIteration:
            end: T = _END
            return end

    def close(self) -> None:
        """Close the asynchronous generator, running its ``finally`` blocks."""
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            await_(aclose())


class async_context(AbstractAsyncContextManager[T], Generic[T]):  # noqa: N801
    """Use a context manager in blocking style with ``async with``.

    Args:
        manager: The context manager; entering and leaving it may wait.
    """

    def __init__(self, manager: AbstractContextManager[T]) -> None:
        self._manager = manager

    async def __aenter__(self) -> T:
        return await run_green(self._manager.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await run_green(self._manager.__exit__, kind, value, traceback)


class _EnteredByTheTask(AbstractAsyncContextManager[T], Generic[T]):
    """A context manager that does not wait, and belongs to the Task that enters it."""

    def __init__(self, manager: AbstractContextManager[T]) -> None:
        self._manager = manager

    async def __aenter__(self) -> T:
        return self._manager.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._manager.__exit__(kind, value, traceback)


def _asynchronous(manager: Any) -> Any:
    kind = type(manager)
    if hasattr(kind, "__aenter__"):
        return manager
    if hasattr(kind, "__enter__"):
        return _EnteredByTheTask(manager)
    raise TypeError(
        "sync_context() takes an asynchronous context manager, as in "
        f"sync_context(asyncio.timeout(1)), not {manager!r}"
    )


class sync_context(AbstractContextManager[T], Generic[T]):  # noqa: N801
    """Use an asynchronous context manager with ``with``, in a green thread or portal.

    One Task enters and leaves it, so `asyncio.timeout`, `asyncio.TaskGroup` and anyio's
    scopes work: they end the block with CancelledError where it waits.

    Args:
        manager: The asynchronous context manager; or one that is entered with ``with``, but
            belongs to the Task that enters it, such as `anyio.move_on_after`.

    Raises:
        TypeError: It is neither.
    """

    def __init__(
        self, manager: AbstractAsyncContextManager[T] | AbstractContextManager[T]
    ) -> None:
        self._manager: AbstractAsyncContextManager[T] = _asynchronous(manager)
        self._scope: Scope | None = None

    def __enter__(self) -> T:
        if type(getcurrent()) is Portal:
            return await_(self._manager.__aenter__())
        self._scope = scope = Scope(self._manager)
        return scope.enter()  # type: ignore[no-any-return]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        scope, self._scope = self._scope, None
        if scope is not None:
            try:
                return scope.leave(value)  # type: ignore[no-any-return]
            finally:
                del value
        try:
            return await_(leave(self._manager, value))  # type: ignore[no-any-return]
        finally:
            del value
