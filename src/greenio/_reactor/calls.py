"""Calls that the loop makes later, and then from the run queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from greenlet import greenlet

from .moments import Moment, join_moment
from .scheduler import NotSwitchedTo, Scheduler


def is_past(handle: asyncio.TimerHandle | None, now: float) -> bool:
    """Whether the time of a loop's timer has come, or it has been dropped already."""
    # For what is due at once, uvloop makes no timer.
    when = getattr(handle, "when", None)
    return when is None or when() <= now


def is_lost(handle: Any, loop: Any, now: float) -> bool:
    """Whether the standard loop has forgotten a call of greenio's that was due.

    It may also be one that has been made: those can be made twice.
    """
    try:
        callback = handle._callback
        owner = getattr(callback, "__self__", None)
        module = str(getattr(callback, "__module__", ""))
        return bool(
            handle._loop is loop
            and not (handle._cancelled or handle._scheduled)
            and handle.when() <= now
            and (isinstance(owner, greenlet) or module.startswith("greenio."))
            and handle not in loop._ready
        )
    except AttributeError:
        # Another kind of loop, or an interrupt came when it was being made.
        return False


class LostCall(NotSwitchedTo):
    """A run-queue entry for a call that the loop has forgotten; false, as others."""

    __slots__ = ("_handle", "pending")

    def __init__(self, handle: Any) -> None:
        self.pending = True
        self._handle = handle

    def switch(self) -> None:
        self.pending = False
        handle = self._handle
        if not handle._cancelled:
            handle._callback(*handle._args)


class DeferredCall(NotSwitchedTo):
    """A call that is due later and is then made from the run queue; see `_kernel.run_queue`.

    It is false, so only the loop greenlet makes it.
    """

    __slots__ = ("_call", "_hub", "_moment")

    def __init__(
        self,
        hub: Scheduler,
        seconds: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self._hub = hub
        self._call: tuple[Callable[..., Any], tuple[Any, ...]] | None = (callback, args)
        self._moment: Moment | None = None
        if seconds > 0:
            self._moment = join_moment(hub, seconds, self)
        else:
            hub.wake(self)

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None

    def when(self) -> float:
        """When it is due, by the clock of the loop."""
        return 0.0 if self._moment is None else self._moment.when()

    def cancel(self) -> None:
        """Do not make the call, if it is still to come."""
        self._call = None
        moment, self._moment = self._moment, None
        if moment is not None:
            moment.leave(self)

    def switch(self) -> None:
        call = self._call
        if call is not None:
            self._call = self._moment = None
            callback, args = call
            callback(*args)
