"""`await_` for who has no Task to await for him: the awaitable gets one of its own.

A green thread hands a coroutine to a new Task, in his own context, and parks until it is
done; a Future he just waits for. Two rules hold whatever ends the wait from outside (a
kill, a time limit):

* What is waited for is cancelled, and the exception goes on when that is finished, so
  that clean-up has happened when the caller's ``except`` and ``finally`` run. If that
  failed, the failure goes on instead, as from a ``finally`` of the caller's.
* It is cancelled once. A Task that is being cancelled already, as every one is when
  ``asyncio.run`` ends, is in its own ``finally`` blocks, which a second CancelledError
  would break off. What else is sent to the caller meanwhile reaches him after that.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import sys
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent

from .._greenthread.thread import GreenThread
from .._kernel.current import get_hub, hub_to_park_in, runs_here
from .._kernel.hub import Hub
from .._loop.interrupted_waits import look_again
from .._std.errors import BlockingInLoopError
from .send_again import put_by, send_again

T = TypeVar("T")


def await_in_task(awaitable: Any) -> Any:
    """Wait for something awaitable; see `await_`."""
    try:
        hub = hub_to_park_in("await_()") or get_hub()
    except BlockingInLoopError:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise BlockingInLoopError("await_()") from None
    future, after = _future_of(awaitable, hub)
    try:
        return _wait(future, after, hub).result()
    finally:
        # What is raised keeps this frame, and the future keeps what is raised.
        del future, after, awaitable


def await_green_thread(thread: GreenThread) -> Any:
    """Wait for a green thread, and kill it if the caller is ended meanwhile."""
    if thread.dead or thread is getcurrent():
        return thread.wait()
    try:
        hub = hub_to_park_in("await_()") or get_hub()
    except BlockingInLoopError:
        raise BlockingInLoopError("await_()") from None
    future, after = task_of(thread.wait_async(), hub.loop)
    try:
        if _wait(future, after, hub).cancelled():
            return thread.outcome()
        return future.result()
    finally:
        del future, after, thread


def _wait(future: Any, after: Callable[[], None] | None, hub: Hub) -> Any:
    """Park until a future is done."""
    switch: Any = getcurrent().switch
    before = cancelling(future)
    # The loop calls this in the loop greenlet, so it may switch at once; the future
    # passed along tells this resume from any other.
    future.add_done_callback(switch, context=hub.context)
    try:
        resumed = hub.park()
        if resumed is not future:
            _look_again(future, hub, resumed)
    except BaseException as interruption:
        ours = cancelling(future) <= before and future.cancel()
        try:
            _wait_for_the_end(future, hub)
            raise_failure(_failure_of(future), interruption, ours)
        finally:
            del future
        raise
    finally:
        if after is not None:
            after()
    return future


def _look_again(future: Any, hub: Hub, resumed: Any) -> None:
    """Wait on for a future, having been resumed for something else."""
    # A wait that has interrupted this one may have got what the future has passed.
    if not future.done():
        look_again(hub, hub.park, future.done, resumed)
    future.remove_done_callback(getcurrent().switch)


def _wait_for_the_end(future: asyncio.Future[Any], hub: Hub) -> None:
    """Park until a future is done that calls the caller's `switch`."""
    later: list[BaseException] = []
    while not future.done():
        try:
            hub.park()
        except BaseException as exc:
            # The first exception is the one that goes on.
            put_by(later, exc)
    future.remove_done_callback(getcurrent().switch)
    send_again(hub, getcurrent(), later)


def wait_for_task(task: asyncio.Future[Any], hub: Hub) -> None:
    """Let nothing end the wait for a Task; raise what it has failed with, if it has."""
    if not task.done():
        switch: Any = getcurrent().switch
        task.add_done_callback(switch, context=hub.context)
        _wait_for_the_end(task, hub)
    error = _failure_of(task)
    try:
        if error is not None:
            raise error
    finally:
        del error, task


def _failure_of(future: asyncio.Future[Any]) -> BaseException | None:
    error = None if future.cancelled() else future.exception()
    return None if isinstance(error, GreenletExit) else error


def raise_failure(
    failure: BaseException | None, interruption: BaseException, cancelled: bool
) -> None:
    """Raise what was waited for has failed with, in the handler of what ended the wait.

    Only if it failed in its clean-up, having been cancelled because of that. What has
    failed by itself is known to the interruption, which goes on: it must not be taken for,
    say, a time limit that was over in the same turn.
    """
    try:
        if failure is None:
            return
        if cancelled:
            raise failure
        if interruption.__context__ is None and failure is not interruption:
            interruption.__context__ = failure
    finally:
        del failure, interruption


def checked(awaitable: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """Return what a coroutine of the loop can await, or raise."""
    if asyncio.isfuture(awaitable):
        owner = awaitable.get_loop()
        if owner is not loop:
            if runs_here(owner, loop):
                return _mirrored(awaitable, loop)
            raise RuntimeError(
                f"{awaitable!r} belongs to another event loop than the caller; wait "
                "for it there, or pass a concurrent.futures.Future from loop to loop "
                "(asyncio.run_coroutine_threadsafe)"
            )
    elif isinstance(awaitable, concurrent.futures.Future):
        return asyncio.wrap_future(awaitable, loop=loop)
    elif not isinstance(awaitable, Awaitable):
        raise TypeError(
            "await_() takes a coroutine, a Future or another awaitable, not "
            f"{awaitable!r}; a blocking function is just called"
        )
    return awaitable


def _mirrored(
    future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop
) -> asyncio.Future[Any]:
    """Return a future of a loop that ends as one of another loop does."""
    mirror = loop.create_future()

    def settle(_: asyncio.Future[Any]) -> None:
        if mirror.done():
            return
        if future.cancelled():
            mirror.cancel()
            return
        error = future.exception()
        if error is None:
            mirror.set_result(future.result())
        else:
            mirror.set_exception(error)

    def pass_on(_: asyncio.Future[Any]) -> None:
        future.remove_done_callback(settle)
        if mirror.cancelled():
            future.cancel()

    future.add_done_callback(settle)
    mirror.add_done_callback(pass_on)
    return mirror


def _future_of(
    awaitable: Any, hub: Hub
) -> tuple[asyncio.Future[Any], Callable[[], None] | None]:
    if not inspect.iscoroutine(awaitable):
        awaitable = checked(awaitable, hub.loop)
        if asyncio.isfuture(awaitable):
            return awaitable, None
        awaitable = _await(awaitable)
    return task_of(awaitable, hub.loop)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


if sys.version_info >= (3, 11):

    def task_of(
        coroutine: Any, loop: asyncio.AbstractEventLoop, lent: bool = False
    ) -> tuple[asyncio.Future[Any], Callable[[], None] | None]:
        """Make a Task in the caller's context, or in a copy.

        Args:
            coroutine: What it runs.
            loop: Its loop.
            lent: The context is that of a Task that will have left it when this one is
                stepped.

        Returns:
            The Task; and if it runs in a copy, what carries the changes back at its end.
        """
        context = getcurrent().gr_context
        if context is not None and (lent or not _entered(context)):
            return asyncio.Task(coroutine, loop=loop, context=context), None
        carried, carry_back = _in_copy(coroutine)
        return asyncio.Task(carried, loop=loop), carry_back

    def cancelling(future: Any) -> int:
        """How many cancellations a Task has been sent; it counts them itself."""
        count = getattr(future, "cancelling", None)
        return 0 if count is None else count()

else:  # pragma: no cover - 3.10

    class _CountingTask(asyncio.Task[Any]):
        """A Task that counts the cancellations that it has been sent."""

        cancellations = 0

        def cancel(self, msg: Any = None) -> bool:
            self.cancellations += 1
            return super().cancel(msg)

    def task_of(
        coroutine: Any, loop: asyncio.AbstractEventLoop, _lent: bool = False
    ) -> tuple[asyncio.Future[Any], Callable[[], None] | None]:
        carried, carry_back = _in_copy(coroutine)
        return _CountingTask(carried, loop=loop), carry_back

    def cancelling(future: Any) -> int:
        return getattr(future, "cancellations", 0)


def _entered(context: Context) -> bool:
    """Whether the context is inside a `Context.run`, where no Task can enter it."""
    try:
        context.run(_nothing)
    except RuntimeError:
        return True
    return False


def _nothing() -> None:
    pass


def _in_copy(coroutine: Any) -> tuple[Any, Callable[[], None]]:
    """Have a coroutine run in a copy of the context, whose changes are carried back."""
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

    return carried(), carry_back


def adopt_changes(context: Context) -> dict[ContextVar[Any], Token[Any]]:
    """Give the current context the values that a copy of it has got meanwhile.

    Returns:
        What takes back those that had none before.
    """
    new = {}
    for variable, value in context.items():
        before = variable.get(_nothing)
        if before is not value:
            token = variable.set(value)
            if before is _nothing:
                new[variable] = token
    return new
