"""Structured concurrency: green threads that end before the block that started them.

The rules are those of `asyncio.TaskGroup`:

* The block is left when every child has ended.
* The first child that fails has the others killed and the body interrupted. So has the
  body, by failing.
* GreenletExit and CancelledError in a child are its end and no failure.
* Failures leave the block together, in an ExceptionGroup. KeyboardInterrupt and
  SystemExit leave it alone; so does what ends the body from outside (a kill, a time
  limit, a cancellation), unless something failed.

The parent is a greenlet (`with`) or a Task (`async with`). Both are interrupted from
the run queue, so never in the middle of what they do, and only while the body runs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from greenlet import GreenletExit, getcurrent, greenlet

from .._greenthread.arguments import check_callable
from .._greenthread.thread import GreenThread
from .._greenthread.timeout import Timeout
from .._kernel.current import get_hub, hub_to_park_in
from .._kernel.entries import Throw, put_off, throw_into
from .._kernel.hub import Hub
from .._kernel.waiters import Waiter, mutex, new_task_waiter, new_waiter
from .._std.originals import current_task, get_ident
from .await_ import call_either

if sys.version_info < (3, 11):  # pragma: no cover - 3.10
    from exceptiongroup import BaseExceptionGroup

P = ParamSpec("P")
T = TypeVar("T")


class _State(Enum):
    NEW = "not entered"
    OPEN = "open"
    JOINING = "waiting for its children"
    ABANDONED = "abandoned"
    FINISHED = "finished"


# What ends a child without being a failure of it.
_ENDED = (GreenletExit, asyncio.CancelledError)
# What ends the body from outside.
_OUTSIDE = (*_ENDED, Timeout, GeneratorExit)
_FATAL = (KeyboardInterrupt, SystemExit)


@dataclass(frozen=True)
class GreenGroupStatistics:
    """What `GreenGroup.statistics` returns.

    Attributes:
        state: Where it is in its life: ``"not entered"``, ``"open"``, ``"waiting for its
            children"``, ``"abandoned"`` or ``"finished"``.
        running: How many children have not ended.
        failed: How many failures, of children or of the body, its block is to raise.
    """

    state: str
    running: int
    failed: int


class GreenGroup:
    """Green threads that have all ended when the block that started them is left.

    In a green thread or portal it is used with ``with``, in a coroutine with
    ``async with``. If a child fails, the other children and the body get GreenletExit
    (the body of an ``async with`` gets CancelledError), and the block raises an
    ExceptionGroup with every failure when all have ended.
    """

    __slots__ = (
        "__weakref__",
        "_aborting",
        "_children",
        "_errors",
        "_fatal",
        "_hub",
        "_interrupted",
        "_interruption",
        "_outside",
        "_parent",
        "_state",
        "_waiter",
    )

    def __init__(self) -> None:
        self._state = _State.NEW
        self._aborting = False
        self._children: set[GreenThread] = set()
        self._errors: list[BaseException] = []
        self._fatal: BaseException | None = None
        # What ended the body, or its waiting for the children, from outside.
        self._outside: BaseException | None = None
        # What interrupts the body when a child failed, and whether it has.
        self._interruption: BaseException | None = None
        self._interrupted = False
        self._parent: greenlet | asyncio.Task[Any] | None = None
        self._waiter: Waiter | None = None
        self._hub: Hub

    def __repr__(self) -> str:
        state = self._state.value
        if self._aborting and self._state in (_State.OPEN, _State.JOINING):
            state += ", shutting down"
        children = f", {len(self._children)} running" if self._children else ""
        return f"<GreenGroup {state}{children} at {id(self):#x}>"

    def statistics(self) -> GreenGroupStatistics:
        """Return numbers about the current state."""
        failed = len(self._errors) + (self._fatal is not None)
        return GreenGroupStatistics(self._state.value, len(self._children), failed)

    @overload
    def spawn(
        self,
        func: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
    @overload
    def spawn(
        self,
        func: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
    def spawn(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread:
        """Run a function in a green thread that belongs to the group.

        Args:
            func: A blocking-style function, or a coroutine function: that runs in a
                Task, which the green thread waits for, and which is cancelled when the
                green thread is killed.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The green thread. Its result is there when the block has been left.

        Raises:
            RuntimeError: The group is finished, is shutting down after a failure, has
                not been entered, or belongs to another OS thread.
            TypeError: `func` cannot be called.
        """
        check_callable(func, "GreenGroup.spawn")
        self._check_open()
        thread = GreenThread(self._hub, call_either, (func, args, kwargs), {})
        self._children.add(thread)
        thread.link(self._ended)
        self._hub.wake(thread)
        return thread

    def _check_open(self) -> None:
        state = self._state
        if state is _State.NEW:
            raise RuntimeError(
                f"{self!r} takes no green threads before it is entered: "
                "`with GreenGroup() as group: group.spawn(...)`"
            )
        if state is _State.JOINING and not self._children:
            state = _State.FINISHED
        if state in (_State.FINISHED, _State.ABANDONED):
            raise RuntimeError(
                f"{self!r} is finished: its block has been left; spawn inside the "
                "block, or use greenio.spawn() for what outlives it"
            )
        if self._aborting:
            raise RuntimeError(
                f"{self!r} is shutting down, because a child or the block failed"
            )
        if get_ident() != self._hub.thread_id:
            raise RuntimeError(
                f"{self!r} belongs to another OS thread; spawn there, by "
                "hub.call_threadsafe(group.spawn, func)"
            )

    # -- the children ----------------------------------------------------------------

    def _ended(self, child: GreenThread) -> None:
        self._children.discard(child)
        if self._state is _State.ABANDONED:
            # Nobody waits: its failure is reported like any other's.
            return
        error = child.failure()
        if error is not None and not isinstance(error, _ENDED):
            self._fail(error)
            if isinstance(error, _FATAL):
                # It goes where the parent's exceptions go.
                child.passed_on = True
            self._abort()
            if self._state is _State.OPEN and self._interruption is None:
                self._interruption = GreenletExit(f"a child of {self!r} failed")
                self._hub.wake(_Interrupt(self))
        if not self._children:
            with mutex:
                waiter = self._waiter
                if waiter is not None and not waiter.done:
                    waiter.wake()

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, _FATAL):
            if self._fatal is None:
                self._fatal = error
        elif not any(error is known for known in self._errors):
            self._errors.append(error)

    def _abort(self) -> None:
        """Have the children killed; those that have not started never will be."""
        if self._aborting:
            return
        self._aborting = True
        for child in tuple(self._children):
            if child:
                self._hub.wake(Throw(child, (GreenletExit,)))
            else:
                child._kill_unstarted(())

    # -- the block -------------------------------------------------------------------

    def _enter(self, parent: greenlet | asyncio.Task[Any]) -> GreenGroup:
        if self._state is not _State.NEW:
            raise RuntimeError(
                f"{self!r} has been entered before; make a GreenGroup for each block"
            )
        self._hub = get_hub()
        self._parent = parent
        self._state = _State.OPEN
        return self

    def _interrupt(self) -> None:
        """Interrupt the body; called in the loop greenlet."""
        if self._state is not _State.OPEN:
            # It has ended meanwhile.
            return
        parent = self._parent
        if isinstance(parent, asyncio.Task):
            self._interrupted = True
            parent.cancel()
            return
        assert parent is not None
        assert self._interruption is not None
        if put_off(parent, self._interrupt) is None:
            self._interrupted = True
            throw_into(parent, (self._interruption,))

    def _take(self, error: BaseException) -> None:
        """Take note of what ended the body or its waiting, and end the children."""
        if error is self._interruption:
            return
        if not isinstance(error, _OUTSIDE):
            self._fail(error)
        elif self._outside is None:
            self._outside = error
        self._abort()

    def _finish(self) -> BaseException | None:
        """Return what the block is to raise; drop what would make cycles."""
        error = self._fatal
        if error is None:
            if self._errors:
                error = BaseExceptionGroup("errors in a GreenGroup", self._errors)
            else:
                error = self._outside
        self._state = _State.FINISHED
        self._errors = []
        self._parent = self._fatal = self._outside = self._interruption = None
        return error

    def __enter__(self) -> GreenGroup:
        """Open the group.

        Raises:
            BlockingInLoopError: The caller is a coroutine or a callback of the loop,
                which cannot wait; a coroutine uses ``async with``.
            RuntimeError: The group was entered before.
        """
        hub_to_park_in(
            "`with GreenGroup()` (for coroutines there is `async with GreenGroup()`)"
        )
        return self._enter(getcurrent())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Wait until every child has ended.

        Raises:
            BaseExceptionGroup: With the failures of children and body; an
                ExceptionGroup if all of them are Exceptions.
            BaseException: What ended the body from outside, if nothing failed.
        """
        self._state = _State.JOINING
        if error is not None:
            self._take(error)
        while self._children:
            waiter = self._waiter = new_waiter("with GreenGroup()")
            try:
                # The last one may have ended in somebody who interrupted us.
                if self._children:
                    waiter.block()
            except BaseException as exc:
                waiter.done = True
                self._take(exc)
        self._waiter = None
        return self._leave(error)

    def _leave(self, error: BaseException | None) -> bool | None:
        outcome = self._finish()
        if outcome is None:
            return error is not None
        if outcome is error:
            return False
        try:
            raise outcome from None
        finally:
            del outcome, error

    async def __aenter__(self) -> GreenGroup:
        """Open the group.

        Raises:
            RuntimeError: The group was entered before, or no Task runs the caller.
        """
        task = current_task()
        if task is None:
            raise RuntimeError("`async with GreenGroup()` needs a Task to run it")
        return self._enter(task)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Wait until every child has ended; see `__exit__`."""
        self._state = _State.JOINING
        task = self._parent
        assert isinstance(task, asyncio.Task)
        if isinstance(error, GeneratorExit):
            # The coroutine is being closed, and must not wait any more.
            self._abandon()
            return False
        if error is not None and not self._is_ours(error, task):
            self._take(error)
        while self._children:
            waiter = self._waiter = new_task_waiter()
            try:
                if self._children:
                    await waiter.future
            except BaseException as exc:
                waiter.done = True
                if isinstance(exc, GeneratorExit):
                    self._abandon()
                    raise
                self._take(exc)
        self._waiter = None
        if self._errors:
            _cancel_again(task)
        return self._leave(error)

    def _is_ours(self, error: BaseException, task: asyncio.Task[Any]) -> bool:
        """Whether the body ended because the group, and nobody else, cancelled it."""
        if not self._interrupted:
            return False
        return not _uncancel(task) and isinstance(error, asyncio.CancelledError)

    def _abandon(self) -> None:
        self._abort()
        self._state = _State.ABANDONED
        self._parent = None


def _uncancel(task: Any) -> int:
    """Take back a cancellation; return how many are left, as far as that is known."""
    # Python 3.10 does not count.
    return task.uncancel() if hasattr(task, "uncancel") else 0


def _cancel_again(task: Any) -> None:
    """Let a cancellation that gave way to failures come at the next `await`."""
    if hasattr(task, "uncancel") and task.cancelling():
        task.uncancel()
        task.cancel()


class _Interrupt:
    """The entry in the run queue that interrupts a body.

    It is false, so only the loop greenlet runs it.
    """

    __slots__ = ("_group",)

    def __init__(self, group: GreenGroup) -> None:
        self._group = group

    def __bool__(self) -> bool:
        return False

    def switch(self) -> None:
        self._group._interrupt()
