"""The green thread behind `run_green`, which begins in the middle of its caller's step.

A function that a coroutine calls by `run_green` often ends without waiting, or only
awaits something. Neither needs the loop:

* An `InlineThread` is switched to in the caller's step, so it runs at once; parking
  leads to the loop greenlet as ever, and that is in that step. From then on it is a
  green thread like any other, and its caller waits until it ends.
* What an inline thread awaits, its caller's Task awaits for it (`delegate_await`). If
  the caller is in that step, this costs two switches; if it waits, a turn of the loop,
  too.

Meanwhile the Task is not the current one: `asyncio.current_task()` is None in green
threads. And the caller is to be in the loop greenlet, where parking leads; elsewhere (in
a portal, say) the function starts from the run queue.

An inline thread whose function has returned may serve another one; see `greenlet_cache`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable
from contextvars import Context
from typing import Any

from greenlet import getcurrent, greenlet

from .._greenthread.thread import PENDING, GreenThread, body, kill
from .._kernel.current import hub_to_start_inline
from .._kernel.hub import Hub
from .._kernel.waiters import TaskWaiter
from .._std.errors import HubClosedError
from .greenlet_cache import cache_of, keep

_switch = greenlet.switch

# No context that anything runs in.
_NOWHERE = Context()


class _Progress(enum.Enum):
    """What has become of what a thread asked for."""

    TAKEN = "the caller awaits it"
    RETURNED = "its result is in `answer`"
    RAISED = "its exception is in `answer`"


# Looked up in a class, each would cost more than all that is done with it.
_TAKEN, _RETURNED, _RAISED = _Progress


class InlineThread(GreenThread):
    """A green thread whose caller awaits for it what it is to await."""

    __slots__ = ("_progress", "answer", "caller_waiter", "context", "request", "task")

    def __init__(
        self,
        hub: Hub,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Context | None = None,
    ) -> None:
        super().__init__(hub, func, args, kwargs, context)
        self.run = _serve
        # Who calls it, and his context, or `_NOWHERE` when he is gone.
        self.task: asyncio.Task[Any] | None = None
        self.context: Context = _NOWHERE
        # What the caller is to await; None as soon as he does.
        self.request: Any = None
        self.answer: Any = None
        self._progress: _Progress | None = None
        # Wakes the caller, if he waits.
        self.caller_waiter: TaskWaiter | None = None

    # -- called by the thread -------------------------------------------------------

    def delegate_await(self, awaitable: Any) -> Any:
        """Have the caller await something.

        Only where the current context is `context`. Whatever ends this wait from outside
        cancels the awaitable, and goes on when that is finished.
        """
        self.request = awaitable
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
                progress = self._progress
                if progress is _RETURNED:
                    return self.answer
                if progress is _RAISED:
                    raise self.answer
        except BaseException:
            self._withdraw()
            raise
        finally:
            self._progress = self.answer = None

    def _withdraw(self) -> None:
        request = self.request
        if request is not None:
            self.request = None
            if asyncio.iscoroutine(request):
                request.close()
        task = self.task
        cancellations = 0
        while self._progress is _TAKEN and task is not None:
            # The first exception is the one that goes on; a cancellation that is under
            # way is not abandoned for a second one.
            task.cancel()
            cancellations += 1
            with contextlib.suppress(BaseException):
                while self._progress is _TAKEN:
                    self._hub.park()
        if task is not None and sys.version_info >= (3, 11):
            for _ in range(cancellations):
                task.uncancel()

    # -- called by the coroutine -----------------------------------------------------

    async def serve_until_done(self) -> None:
        """Wait until it ends, awaiting for it what it asks for."""
        hub = self._hub
        loop = hub.loop
        task = self.task
        assert task is not None
        while self._state is PENDING:
            request = self.request
            if request is None:
                try:
                    await self._wait_for_thread()
                except asyncio.CancelledError as cancellation:
                    kill(self, asyncio.CancelledError, *cancellation.args)
                continue
            self.request = None
            self._progress = _TAKEN
            try:
                self.answer = await request
                self._progress = _RETURNED
            except GeneratorExit:
                # Somebody closes the caller, who can await nothing any more.
                self._abandon()
                raise
            except BaseException as exc:
                # In the traceback stands the thread's frame instead of this one.
                if exc.__traceback__ is not None:
                    exc.__traceback__ = exc.__traceback__.tb_next
                self.answer = exc
                self._progress = _RAISED
            if getcurrent() is hub.loop_greenlet:
                # `run_in_step`, written out.
                _leave_task(loop, task)
                try:
                    _switch(self)
                finally:
                    _enter_task(loop, task)
            else:
                # The caller has got a portal meanwhile.
                hub.wake(self)

    async def _wait_for_thread(self) -> None:
        """Wait until it ends or asks for something."""
        self.caller_waiter = waiter = TaskWaiter()
        if self._watchers is None:
            self._watchers = []
        self._watchers.append(waiter)
        try:
            await waiter.future
        finally:
            self.caller_waiter = None
            self._forget(waiter)

    def detach_caller(self) -> None:
        """There is no caller any more; it waits by itself from now on."""
        self.task = self.caller_waiter = None
        self.context = _NOWHERE

    def _abandon(self) -> None:
        self.detach_caller()
        self.answer = asyncio.CancelledError()
        self._progress = _RAISED
        with contextlib.suppress(HubClosedError):
            self._hub.wake(self)


def _serve() -> None:
    """The body of an inline thread: one function after the other.

    As in `body`, nothing in this frame refers to the thread.
    """
    while getcurrent()._call is not None:  # type: ignore[attr-defined]
        body()
        getcurrent()._hub.park()  # type: ignore[attr-defined]


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
    hub = hub_to_start_inline(current)
    if hub is None:
        return None
    task = asyncio.current_task(hub.loop)
    context = current.gr_context
    if task is None or context is None:
        return None
    idle = cache_of(hub).inline_threads
    thread: InlineThread
    if idle:
        thread = idle.pop()
        thread._call = (func, args, kwargs)
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
    return thread.outcome_async()
