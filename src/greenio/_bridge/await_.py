"""From green to async and back, in one loop: `await_` and `run_green`.

Both keep the caller's contextvars context (the same Context object, so changes are seen
on both sides), both pass cancellation on, and both wait until it is finished.

`await_` has three kinds of callers. A portal awaits as a part of its Task. An inline thread
(below) has its caller await for it. Others start a Task; see `await_in_task`.

Inline threads
==============

A function that a coroutine calls by `run_green` often ends without waiting, or only
awaits something. Neither needs the loop:

* An `InlineThread` is switched to in the caller's step, so it runs at once; parking
  leads to the loop greenlet as ever, and that is in that step. From then on it is a
  green thread like any other, and its caller waits until it ends.
* What an inline thread awaits, its caller's Task awaits for it. If the caller is in
  that step, this costs two switches; if it waits, a turn of the loop, too.

Meanwhile the Task is not the current one: `asyncio.current_task()` is None in green
threads. And the caller is to be in the loop greenlet, where parking leads; elsewhere (in
a portal, say) the function starts from the run queue.

An inline thread whose function has returned may serve another one: `greenlet_cache`.

The handshake
-------------

Thread and caller share one `_Exchange`, with one `value`. Left is what the thread does
in `delegate_await`, right what the caller does in `serve_until_done`::

                  await_(thing)                the caller takes it up
      NOTHING ───────────────────▶ ASKED ───────────────────▶ AWAITED
       ▲ ▲ ▲                         │                         │   │
       │ │ └─── ended from outside ──┘                  result │   │ exception
       │ │        (`thing` is closed)                          ▼   ▼
       │ └────────── await_() returns ────────────────── RETURNED  │
       └──────────── await_() raises ────────────────────────── RAISED

Ended from outside while AWAITED, the thread has the caller's Task cancelled, stays until
that has come back as RETURNED or RAISED, and then goes on with what ended it. If the
caller himself is closed meanwhile, it comes back as RAISED, with CancelledError.

`caller_waiter` says where the caller is: None if he is in his step and will look at the
exchange when the thread parks; otherwise he waits, and it wakes him.

Cancellation
------------

Each one that the caller gets is raised once: in the function if it waits or will wait again,
in the caller if it has ended by then. The result is dropped there, as asyncio does when a
Task is cancelled as its future is completed; a failure is the CancelledError's cause, and
reported.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import enum
import inspect
import sys
from asyncio import _get_running_loop
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable
from contextvars import Context
from operator import attrgetter
from types import CoroutineType, FunctionType
from typing import Any, ParamSpec, TypeVar

from greenlet import getcurrent, greenlet

from .._greenthread import coroutines
from .._greenthread.arguments import check_callable, name_of
from .._greenthread.killing import kill
from .._greenthread.thread import GreenThread, body
from .._greenthread.thread_names import PENDING
from .._kernel import current as _current
from .._kernel.current import get_hub
from .._kernel.hub import Hub
from .._kernel.waiters import TaskWaiter, new_task_waiter
from .._std.errors import HubClosedError
from .await_in_task import (
    await_green_thread,
    await_in_task,
    checked,
    raise_failure,
)
from .cancellation import Cancellation, name_failure
from .greenlet_cache import cache_of, keep
from .portal import Portal
from .send_again import put_by, send_again

P = ParamSpec("P")
T = TypeVar("T")

_switch = greenlet.switch
_throw = greenlet.throw

# Whether Tasks count their cancellations.
_TASKS_COUNT = sys.version_info >= (3, 11)

# No context that anything runs in.
_NOWHERE = Context()


class _Exchange(enum.Enum):
    """What is between an inline thread and its caller; see above."""

    NOTHING = "the thread asks for nothing"
    ASKED = "`value` is what the caller is to await"
    AWAITED = "the caller awaits it"
    RETURNED = "`value` is its result"
    RAISED = "`value` is its exception"


# Looked up in a class, each would cost more than all that is done with it.
_NOTHING, _ASKED, _AWAITED, _RETURNED, _RAISED = _Exchange


def await_(awaitable: Awaitable[T] | concurrent.futures.Future[T]) -> T:
    """Wait for something awaitable, in a green thread.

    A coroutine runs in the caller's context, as a Task of its own, or as a part of the
    Task that the caller is called by: in a portal, and in what `run_green` called. If the
    caller is killed or times out meanwhile, what it waits for is cancelled, and the
    exception goes on when that cancellation is finished. If the clean-up fails, that
    is raised, with the exception as its context.

    Args:
        awaitable: A coroutine, a Task or Future of the caller's loop, or of another one
            that green code runs in this OS thread, a `concurrent.futures.Future`, a
            GreenThread, or anything with ``__await__``.
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
    if type(awaitable) is CoroutineType:
        if kind is InlineThread:
            if current.gr_context is current.context:
                return current.delegate_await(awaitable)  # type: ignore[no-any-return]
        elif kind is Portal:
            return current.await_(awaitable)  # type: ignore[no-any-return]
        return await_in_task(awaitable)  # type: ignore[no-any-return]
    if (
        asyncio.isfuture(awaitable) or isinstance(awaitable, concurrent.futures.Future)
    ) and awaitable.done():
        return awaitable.result()
    if kind is Portal:
        loop = current.parking_hub.loop
        return current.await_(checked(awaitable, loop))  # type: ignore[no-any-return]
    if isinstance(awaitable, GreenThread):
        return await_green_thread(awaitable)  # type: ignore[no-any-return]
    if kind is InlineThread and current.gr_context is current.context:
        return current.delegate_await(checked(awaitable, current._hub.loop))  # type: ignore[no-any-return]
    return await_in_task(awaitable)  # type: ignore[no-any-return]


coroutines.await_coroutine = await_


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

    What it calls must be green, or it holds up the loop: greenio's own calls, or after
    `monkey_patch` the standard library's. Unpatched, `requests.get` blocks in here too.

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
        try:
            return finish(thread)  # type: ignore[no-any-return]
        finally:
            # What is raised keeps this frame.
            del thread
    thread = start_here(func, *args, **kwargs)
    await _wait_or_cancel(thread)
    try:
        return thread.outcome_async()  # type: ignore[no-any-return]
    finally:
        del thread


def _check_blocking(func: Any) -> None:
    check_callable(func, "run_green")
    if inspect.iscoroutinefunction(func):
        raise TypeError(
            f"run_green() takes a blocking-style function; {func!r} is a coroutine "
            "function, which is awaited: await func(...)"
        )


# -- inline threads ---------------------------------------------------------------------


class InlineThread(GreenThread):
    """A green thread whose caller awaits for it what it is to await."""

    __slots__ = (
        "_cancellations",
        "_exchange",
        "_owed",
        "caller_waiter",
        "context",
        "task",
        "value",
    )

    # For whom it runs now; see `_kernel.entries.put_off`.
    serves = property(attrgetter("task"))

    def __init__(
        self,
        hub: Hub,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Context | None = None,
    ) -> None:
        super().__init__(hub, func, args, kwargs, context)
        hub.keep_track(self)
        self.run = _serve
        # The caller, also where he is in his step and waits for nothing yet.
        self.has_taker = True
        # Who calls it, and his context, or `_NOWHERE` when he is gone.
        self.task: asyncio.Task[Any] | None = None
        self.context: Context = _NOWHERE
        self._exchange = _NOTHING
        self.value: Any = None
        # Wakes the caller, if he waits.
        self.caller_waiter: TaskWaiter | None = None
        # How many cancellations of the Task have been raised by now.
        self._cancellations = 0
        # The last cancellation of the caller's that is to be raised in the function.
        self._owed: Cancellation | None = None

    def throw(self, *args: Any) -> Any:
        """Raise an exception where the function waits, if it has not ended."""
        if self._state is PENDING:
            return _throw(self, *args)
        return None

    # -- called by the thread --------------------------------------------------------

    def delegate_await(self, awaitable: Any) -> Any:
        """Have the caller await something.

        Only where the current context is `context`. Whatever ends this wait from outside
        cancels the awaitable, and goes on when that is finished.
        """
        self.value = awaitable
        self._exchange = _ASKED
        hub = self._hub
        waiter = self.caller_waiter
        if waiter is None and not hub.hides:
            # Inside the caller's step there is no batch.
            wait = hub.loop_switch
        else:
            wait = hub.park
            if waiter is not None:
                waiter.wake()
        try:
            while True:
                wait()
                exchange = self._exchange
                if exchange is _RETURNED:
                    return self.value
                if exchange is _RAISED:
                    raise self.value
        except BaseException as interruption:
            self._withdraw(interruption)
            raise
        finally:
            self._exchange = _NOTHING
            self.value = None

    def _withdraw(self, interruption: BaseException) -> None:
        """Something ends `delegate_await` from outside: end what it asked for."""
        if self._exchange is _ASKED:
            if asyncio.iscoroutine(self.value):
                self.value.close()
            return
        task: Any = self.task
        if self._exchange is not _AWAITED or task is None:
            return
        before = self._cancellations
        # A Task that is being cancelled is in its clean-up, and not cancelled again.
        ours = _cancellations_of(task) <= before
        if ours:
            task.cancel()
        later: list[BaseException] = []
        while self._exchange is _AWAITED:
            try:
                self._hub.park()
            except BaseException as exc:
                # The first exception is the one that goes on.
                put_by(later, exc)
        if ours and _TASKS_COUNT:
            task.uncancel()
        self._cancellations = _cancellations_of(task)
        cancelled = isinstance(self.value, asyncio.CancelledError)
        if self._cancellations > before and (ours or cancelled):
            # The caller was cancelled, too, and only what he awaited has seen it.
            self._owe(asyncio.CancelledError())
        send_again(self._hub, self, later)
        if self._exchange is _RAISED and not cancelled:
            raise_failure(self.value, interruption, ours)

    # -- called by the coroutine -----------------------------------------------------

    async def serve_until_done(self) -> None:
        """Wait until it ends, awaiting for it what it asks for."""
        hub = self._hub
        task: Any = self.task
        if _TASKS_COUNT:
            self._cancellations = task.cancelling()
        while self._state is PENDING:
            if self._exchange is not _ASKED:
                try:
                    await self._wait_for_thread()
                except asyncio.CancelledError as error:
                    self._cancellations = _cancellations_of(task)
                    if self._state is PENDING:
                        self._owe(error)
                    else:
                        self._part_with(error)
                        raise
                continue
            self._exchange = _AWAITED
            try:
                self.value = await self.value
                self._exchange = _RETURNED
            except GeneratorExit:
                # Somebody closes the caller, who can await nothing any more.
                self._abandon()
                raise
            except BaseException as exc:
                self._take_failure(exc)
            if getcurrent() is hub.loop_greenlet:
                run_in_step(self)
            else:
                # The caller has got a portal meanwhile.
                hub.wake(self)
        owed = self._owed
        if owed is not None:
            self._owed = None
            if not owed.seen:
                unseen = owed.error()
                self._part_with(unseen)
                try:
                    raise unseen
                finally:
                    del unseen
        # Since 3.13 the frame of what was awaited keeps this one, by `f_back`.
        del self

    def _take_failure(self, error: BaseException) -> None:
        """What was awaited has failed: the function is to see that."""
        # In the traceback stands the thread's frame instead of the caller's.
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next
        if isinstance(error, asyncio.CancelledError):
            self._cancellations = _cancellations_of(self.task)
        self.value = error
        self._exchange = _RAISED

    async def _wait_for_thread(self) -> None:
        """Wait until it ends or asks for something."""
        self.caller_waiter = waiter = new_task_waiter()
        self.watch(waiter)
        try:
            await waiter.future
        finally:
            self.caller_waiter = None
            self.unwatch(waiter)

    def _owe(self, error: asyncio.CancelledError) -> None:
        """Have a cancellation of the caller's raised in the function."""
        owed = self._owed
        # As in a Task, one that has not been seen stands for the next one, too.
        if owed is None or owed.seen:
            self._owed = owed = Cancellation(self, error)
            self._hub.wake(owed)

    def _part_with(self, error: asyncio.CancelledError) -> None:
        """It has ended, and the caller takes a cancellation instead of its outcome."""
        name_failure(self, error)
        self.detach_caller()
        if self:
            self._hub.wake(self)

    def detach_caller(self) -> None:
        """There is no caller any more; it waits by itself from now on."""
        self.task = self.caller_waiter = self._owed = None
        self.context = _NOWHERE

    def _abandon(self) -> None:
        self.detach_caller()
        self.has_taker = False
        self.value = asyncio.CancelledError()
        self._exchange = _RAISED
        with contextlib.suppress(HubClosedError):
            self._hub.wake(self)


def _cancellations_of(task: Any) -> int:
    """How often a Task has been cancelled, as far as it counts."""
    return task.cancelling() if _TASKS_COUNT else 0


def _serve() -> None:
    """The body of an inline thread: one function after the other.

    As in `body`, nothing in this frame refers to the thread.
    """
    while getcurrent()._call is not None:  # type: ignore[attr-defined]
        body()
        getcurrent()._hub.loop_switch()  # type: ignore[attr-defined]


def run_in_step(thread: InlineThread) -> None:
    """Let an inline thread run in the current step, until it parks or ends."""
    loop = thread._hub.loop
    task = thread.task
    assert task is not None
    _leave_task(loop, task)
    try:
        _switch(thread)
    finally:
        _enter_task(loop, task)


def start_inline(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> InlineThread | None:
    """Call a function in an inline thread of the current Task.

    Returns:
        The thread, when it has parked or ended; None if there can be none here.
    """
    current = getcurrent()
    loop = _get_running_loop()
    if loop is None:
        return None
    hub = _current.attached_hubs.get(loop)
    if hub is None or hub._supervisor is None:
        hub = _current.supervised_hub_of(loop)
    if hub.loop_greenlet is not current or hub.batch or _current.hiding:
        return None
    # On uvloop a step must be one that the loop has scheduled, see `RunQueue`. An eager
    # one may be in the middle of another callback.
    if hub.defers and loop.get_task_factory() is not None:
        return None
    task = asyncio.current_task(loop)
    context = current.gr_context
    if task is None or context is None:
        return None
    idle = (hub.extension or cache_of(hub)).inline_threads
    thread: InlineThread
    if idle:
        thread = idle.pop()
        thread._call = (func, args, kwargs)
        thread._name = name_of(func)
        thread._state = PENDING
    else:
        thread = InlineThread(hub, func, args, kwargs, context)
    thread.task = task
    thread.gr_context = thread.context = context
    run_in_step(thread)
    return thread


def finish(thread: InlineThread) -> Any:
    """Return or raise what the function did, and keep the thread for another one.

    The caller has it in one local variable and nowhere else.
    """
    hub = thread._hub
    if thread._error is None:
        result = thread._result
        if keep(hub.extension.inline_threads, thread, 2):
            thread._result = thread.gr_context = None
            thread.detach_caller()
            return result
    # It ends for good, for whoever has it.
    thread.detach_caller()
    if thread:
        hub.wake(thread)
    try:
        return thread.outcome_async()
    finally:
        del thread


# -- where there can be no inline thread ------------------------------------------------


def start_here(
    func: Callable[P, Any], *args: P.args, **kwargs: P.kwargs
) -> GreenThread:
    """Start a green thread in the caller's context itself, where `spawn` copies it."""
    hub = get_hub()
    thread = GreenThread(hub, func, args, kwargs, getcurrent().gr_context)
    hub.wake(thread)
    return thread


async def _wait_or_cancel(thread: GreenThread) -> None:
    """Wait until a green thread ends, and cancel it if this wait is cancelled."""
    owed: Cancellation | None = None
    while not thread.dead:
        try:
            await thread.wait_end_async()
        except asyncio.CancelledError as error:
            if thread.dead:
                name_failure(thread, error)
                raise
            if not thread:
                # Never started: nothing of it is to run.
                kill(thread, error)
                raise
            if owed is None or owed.seen:
                owed = Cancellation(thread, error)
                thread._hub.wake(owed)
    if owed is not None and not owed.seen:
        unseen = owed.error()
        name_failure(thread, unseen)
        try:
            raise unseen
        finally:
            del unseen
