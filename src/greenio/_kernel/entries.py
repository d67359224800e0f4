"""What stands in a run queue, and what these entries and others ask of its hub.

The run queue switches to whatever stands in it. Most of that is greenlets; the rest has
a `switch` method and is false, which sends it to the loop greenlet (see `run_queue`).

`Scheduler` is all that timers and descriptors know of a hub, so they stand below it.
"""

from __future__ import annotations

import asyncio
from asyncio import _set_running_loop
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

from greenlet import greenlet

from .._loop.reraise import exception_from


class Switchable(Protocol):
    """What stands in a run queue: a greenlet, or a `Throw`."""

    def switch(self) -> Any: ...

    def __bool__(self) -> bool: ...


class Scheduler(Protocol):
    """A hub, to those who have something done on its loop."""

    loop: asyncio.AbstractEventLoop
    context: Context
    # Whether what calls back from the loop goes by way of the run queue.
    defers: bool
    # How many timers of greenio's are pending.
    timers: int

    thread_id: int

    def wake(self, target: Switchable) -> None:
        """Resume a greenlet when its turn comes."""

    def park(self) -> Any:
        """Stop the current greenlet until somebody resumes it."""

    def call_threadsafe(self, func: Callable[..., Any], *args: Any) -> bool:
        """Call a function in the loop greenlet, from any OS thread."""

    def call_later(
        self, seconds: float, callback: Callable[..., Any], *args: Any
    ) -> asyncio.TimerHandle | DeferredCall:
        """Call a function in the loop greenlet after some seconds."""

    def report(self, message: str, error: BaseException | None, **more: Any) -> None:
        """Hand an error that nobody waits for to the loop's exception handler."""


class _AnyException(type):
    def __subclasscheck__(cls, other: type) -> bool:
        return True


class _Delivery(BaseException, metaclass=_AnyException):
    """Thrown with a list, it is the exception in that list, which is then empty.

    Whoever calls `greenlet.throw` holds the arguments until the target parks or ends.
    What the target catches is to go when it has been handled, with the frames of its
    traceback, and in the target's context: a generator that is waiting in one of them is
    closed there. So nobody outside may hold the exception.

    The interpreter makes the exception of the class and the list by calling the class.
    It then takes the instance's class for the right one, if that is a subclass, and
    before 3.12 calls again if it is none.
    """

    def __new__(cls, content: Any) -> Any:
        return content if isinstance(content, BaseException) else content.pop()


def throw_into(target: greenlet, args: tuple[Any, ...]) -> None:
    """Raise an exception in a parked greenlet; it sees its loop, or not, as ever."""
    deliver(target, [exception_from(args)])


def deliver(target: greenlet, error: list[BaseException]) -> None:
    """Raise the one exception in a list, which nobody else refers to meanwhile.

    Like `throw_into`.
    """
    hub = getattr(target, "_hub", None)
    if hub is not None and hub.twin is not None:
        _set_running_loop(None if hub.hides else hub.loop)
    target.throw(_Delivery, error)


class Throw:
    """A run-queue entry that raises an exception in a greenlet.

    It is false, so only the loop greenlet runs it.
    """

    __slots__ = ("_args", "_greenlet", "pending")

    def __init__(self, target: greenlet, args: tuple[Any, ...]) -> None:
        # Whether it is still to come, also if an interrupt kept it from that.
        self.pending = True
        self._greenlet = target
        self._args = args

    def __bool__(self) -> bool:
        return False

    def switch(self) -> None:
        target = self._greenlet
        if target:
            error = [exception_from(self._args)]
            self._args = ()
            self.pending = False
            try:
                deliver(target, error)
            except BaseException:
                if error:
                    self._args = (error.pop(),)
                    self.pending = True
                raise
        elif not target.dead:
            kill_unstarted = getattr(target, "_kill_unstarted", None)
            if kill_unstarted is not None:
                kill_unstarted(self._args)


class Raise:
    """A run-queue entry that raises an exception in the main program.

    It is false, so only the loop greenlet runs it, and passes on what that raises.
    """

    __slots__ = ("_error", "pending")

    def __init__(self, error: BaseException) -> None:
        self._error: BaseException | None = error
        self.pending = True

    def __bool__(self) -> bool:
        return False

    def switch(self) -> None:
        error, self._error, self.pending = self._error, None, False
        if error is not None:
            try:
                raise error
            finally:
                del error


def is_past(handle: asyncio.TimerHandle | None, now: float) -> bool:
    """Whether the time of a loop's timer has come, or it has been dropped already."""
    # For what is due at once, uvloop makes no timer.
    when = getattr(handle, "when", None)
    return when is None or when() <= now


class DeferredCall:
    """A call that is due later and is then made from the run queue; see `run_queue`.

    It is false, so only the loop greenlet makes it.
    """

    __slots__ = ("_call", "_handle", "_hub")

    def __init__(
        self,
        hub: Scheduler,
        seconds: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self._hub = hub
        self._call: tuple[Callable[..., Any], tuple[Any, ...]] | None = (callback, args)
        self._handle: asyncio.TimerHandle | None = None
        if seconds > 0:
            self._handle = hub.loop.call_later(seconds, self._due, context=hub.context)
        else:
            hub.wake(self)

    def __bool__(self) -> bool:
        return False

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None

    @property
    def waits_for_loop(self) -> bool:
        """Whether its time has not come yet."""
        return self._call is not None and self._handle is not None

    def when(self) -> float:
        """When it is due, by the clock of the loop."""
        return 0.0 if self._handle is None else self._handle.when()

    def schedule_again(self, hub: Scheduler, seconds: float) -> None:
        """Wait for it on the loop that the hub has now."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = hub.loop.call_later(
            max(0.0, seconds), self._due, context=hub.context
        )

    def cancel(self) -> None:
        """Do not make the call, if it is still to come."""
        self._call = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def is_overdue(self, hub: Scheduler, now: float) -> bool:
        """Whether the call should have been made on that hub's loop."""
        return (
            self.pending and self._hub.loop is hub.loop and is_past(self._handle, now)
        )

    def make_due(self) -> None:
        """Make the call when its turn comes."""
        self._due()

    def _due(self) -> None:
        # uvloop's handle keeps what it calls.
        self._handle = None
        if self._call is not None:
            self._hub.wake(self)

    def switch(self) -> None:
        call = self._call
        if call is not None:
            self._call = None
            callback, args = call
            callback(*args)
