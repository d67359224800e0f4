"""Event loops for green code that wants one of its own.

A loop is already running in this OS thread, and there can be no second one: everybody
would stand still while it ran. So green code that makes an event loop gets a
`NestedLoop`, which runs nothing by itself. Its tasks, timers and descriptors are those
of the loop that runs, its `run_until_complete` waits like any other green call, and what
was made on it is ended by it, and by nobody else:

* Whatever runs on behalf of a nested loop has it in its context, the variable
  `nested_loop`; tasks that it starts inherit that. So the tasks of a nested loop are
  found among all tasks.
* An asynchronous generator is told of when it is first iterated, and belongs to the
  nested loop that the context then names.

Inside, `asyncio.get_running_loop()` is the loop that really runs.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextvars import Context, copy_context
from typing import Any

from greenlet import getcurrent, greenlet

from .._kernel.current import get_hub, nested_loop
from .._std.originals import all_tasks as _all_tasks
from .await_ import await_
from .portal import Portal

ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], Any]


def in_green_code() -> bool:
    """Whether the caller may wait while the loop runs: a green thread or portal.

    The main greenlet counts, while the hub that it owns runs.
    """
    current = getcurrent()
    return hasattr(current, "_hub") or type(current) is Portal


def current_nested_loop() -> NestedLoop | None:
    """Return the open nested loop that the caller runs on behalf of."""
    nested: NestedLoop | None = nested_loop.get()
    while nested is not None and nested.is_closed():
        nested = nested.host
    return nested


# Most methods come from `_delegate`, which type checkers do not see.
_Base: Any = asyncio.AbstractEventLoop


class NestedLoop(_Base):  # type: ignore[misc]
    """An event loop whose work is done by the loop that runs already.

    What is not defined here is the running loop's.
    """

    def __init__(self) -> None:
        self._outer = get_hub().loop
        self.host: NestedLoop | None = nested_loop.get()
        self._closed = False
        # Completed by stop(), while something runs.
        self._stop: asyncio.Future[None] | None = None
        # Who runs it, meanwhile.
        self.runner: greenlet | None = None
        self._stopping = False
        self._debug: bool | None = None
        self._task_factory: Any = None
        self._exception_handler: ExceptionHandler | None = None
        self._executor: Any = None
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()

    def __repr__(self) -> str:
        return (
            f"<NestedLoop running={self.is_running()} closed={self._closed} "
            f"of {self._outer!r}>"
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outer, name)

    # -- running -----------------------------------------------------------------

    def run_until_complete(self, future: Any) -> Any:
        """Wait until a coroutine or future is done.

        Args:
            future: A coroutine, which becomes a task of this loop, or a future.

        Returns:
            Its result.

        Raises:
            RuntimeError: The loop is closed, runs already or was stopped, or the
                caller is a coroutine.
            BaseException: Whatever `future` raised.
        """
        self._check_can_run()
        own = not asyncio.isfuture(future)
        if inspect.iscoroutine(future):
            future = self.create_task(future)
        elif inspect.isawaitable(future) and own:
            future = self.create_task(_await(future))
        elif own:
            raise TypeError(
                "An asyncio.Future, a coroutine or an awaitable is required"
            )
        self._run(future, own)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def run_forever(self) -> None:
        """Wait until `stop` is called."""
        self._check_can_run()
        self._run(None, own=False)

    def _check_can_run(self) -> None:
        self._check_open()
        if self._stop is not None:
            raise RuntimeError("This event loop is already running")
        if not in_green_code():
            raise RuntimeError(
                "Cannot run the event loop while another loop is running; await "
                "instead, or call this in a green thread: greenio.run_green(func, ...)"
            )

    def _run(self, future: asyncio.Future[Any] | None, own: bool) -> None:
        watch_generators()
        self._stop = stop = self._outer.create_future()
        self.runner = getcurrent()
        if self._stopping:
            self._stopping = False
            self._outer.call_soon(_complete, stop)
        try:
            await_(_first(stop, future, own))
        finally:
            self._stop = self.runner = None

    def stop(self) -> None:
        """Let `run_forever` or `run_until_complete` return."""
        if self._stop is None:
            self._stopping = True
        else:
            _complete(self._stop)

    def is_running(self) -> bool:
        """Whether somebody is inside `run_until_complete` or `run_forever`."""
        return self._stop is not None

    def is_closed(self) -> bool:
        """Whether `close` was called, or the loop behind it is closed."""
        return self._closed or self._outer.is_closed()

    def close(self) -> None:
        """Cancel what is left of the loop's tasks.

        Raises:
            RuntimeError: It is running.
        """
        if self._stop is not None:
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        tasks = set() if self._outer.is_closed() else self.tasks()
        self._closed = True
        for task in tasks:
            task.cancel()
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _check_open(self) -> None:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")

    # -- what is its own ---------------------------------------------------------

    def tasks(self) -> set[asyncio.Task[Any]]:
        """Its tasks that are not done."""
        return {task for task in _all_tasks(self._outer) if self._owns(task)}

    def _owns(self, task: asyncio.Task[Any]) -> bool:
        context = _context_of(task)
        nested = None if context is None else context.get(nested_loop)
        while nested is not None:
            if nested is self:
                return True
            nested = nested.host
        return False

    def _context(self, context: Context | None) -> Context:
        if context is None:
            context = copy_context()
        try:
            context.run(nested_loop.set, self)
        except RuntimeError:
            # It is in use: what runs in it belongs to whom it belonged to before.
            pass
        return context

    def create_task(self, coro: Any, **kwargs: Any) -> Any:
        """Make a task of this loop, which runs when its turn comes."""
        self._check_open()
        context = self._context(kwargs.pop("context", None))
        if self._task_factory is not None:
            if sys.version_info >= (3, 11):
                kwargs["context"] = context
            return context.run(self._task_factory, self._outer, coro, **kwargs)
        create_task: Any = self._outer.create_task
        if sys.version_info >= (3, 11):
            return create_task(coro, context=context, **kwargs)
        return context.run(create_task, coro, **kwargs)

    def call_soon(
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """Call a function in the loop's next turn."""
        self._check_open()
        return self._outer.call_soon(callback, *args, context=self._context(context))

    def call_soon_threadsafe(
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """Call a function in the loop's next turn, from any OS thread."""
        self._check_open()
        return self._outer.call_soon_threadsafe(
            callback, *args, context=self._context(context)
        )

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """Call a function after some seconds."""
        self._check_open()
        return self._outer.call_later(
            delay, callback, *args, context=self._context(context)
        )

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """Call a function at a time on the loop's clock."""
        self._check_open()
        return self._outer.call_at(
            when, callback, *args, context=self._context(context)
        )

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators that were begun on this loop."""
        generators = list(self._generators)
        self._generators.clear()
        results = await asyncio.gather(
            *(generator.aclose() for generator in generators), return_exceptions=True
        )
        for generator, result in zip(generators, results, strict=True):
            if isinstance(result, Exception):
                self.call_exception_handler(
                    {
                        "message": "an error occurred during closing of "
                        f"asynchronous generator {generator!r}",
                        "exception": result,
                        "asyncgen": generator,
                    }
                )

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> Any:
        """Call a function in a thread: of the executor given, or the default one."""
        return self._outer.run_in_executor(executor or self._executor, func, *args)

    def set_default_executor(self, executor: Any) -> None:
        """Set the executor for `run_in_executor`; the running loop keeps its own."""
        self._executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the executor that was set; the running loop's goes on."""
        executor, self._executor = self._executor, None
        if executor is not None:
            await self._outer.run_in_executor(None, executor.shutdown)

    def get_debug(self) -> bool:
        """Whether debug mode was set here; if nothing was, as the running loop."""
        return self._outer.get_debug() if self._debug is None else self._debug

    def set_debug(self, enabled: bool) -> None:
        """Remember the debug mode; the running loop keeps its own."""
        self._debug = enabled

    def get_task_factory(self) -> Any:
        """Return the factory for this loop's `create_task`."""
        return self._task_factory

    def set_task_factory(self, factory: Any) -> None:
        """Set the factory for this loop's `create_task`."""
        self._task_factory = factory

    def get_exception_handler(self) -> ExceptionHandler | None:
        """Return the handler for what is reported to this loop."""
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Set the handler for what is reported to this loop."""
        self._exception_handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error: to this loop's handler, or to the running loop's."""
        if self._exception_handler is None:
            self._outer.call_exception_handler(context)
        else:
            self._exception_handler(self, context)


def _delegate(name: str) -> Callable[..., Any]:
    def delegate(self: NestedLoop, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._outer, name)(*args, **kwargs)

    delegate.__name__ = name
    delegate.__qualname__ = f"NestedLoop.{name}"
    return delegate


# The base class defines everything, by raising NotImplementedError.
for _name in vars(asyncio.AbstractEventLoop):
    if not _name.startswith("__") and _name not in vars(NestedLoop):
        setattr(NestedLoop, _name, _delegate(_name))


def _complete(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _await(awaitable: Any) -> Any:
    return await awaitable


async def _first(
    stop: asyncio.Future[None], future: asyncio.Future[Any] | None, own: bool
) -> None:
    """Wait until one of both is done; if cancelled, until the caller's own task is."""
    both = {stop} if future is None else {stop, future}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        if own and future is not None and not future.done():
            future.cancel()
            await asyncio.wait({future})
        raise


def _context_of(task: asyncio.Task[Any]) -> Context | None:
    """The context that a task runs in."""
    context: Context | None
    if sys.version_info >= (3, 12):
        context = task.get_context()
    else:
        # The one written in C shows it to the garbage collector alone, and first.
        context = getattr(task, "_context", None) or next(
            (one for one in gc.get_referents(task) if type(one) is Context), None
        )
    return context


# -- asynchronous generators ------------------------------------------------------------


class _Watch:
    """The interpreter's hook for generators that are iterated for the first time."""

    __slots__ = ("_next",)

    def __init__(self, following: Any) -> None:
        self._next = following

    def __call__(self, generator: AsyncGenerator[Any, Any]) -> None:
        nested = current_nested_loop()
        if nested is not None:
            nested._generators.add(generator)
        if self._next is not None:
            self._next(generator)


def watch_generators() -> None:
    """Be told of asynchronous generators for as long as the running loop runs."""
    # The loop sets these hooks when it starts, and takes them back when it stops.
    firstiter = sys.get_asyncgen_hooks().firstiter
    if not isinstance(firstiter, _Watch):
        sys.set_asyncgen_hooks(firstiter=_Watch(firstiter))
