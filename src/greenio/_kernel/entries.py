"""What stands in a run queue to raise an exception in somebody.

The run queue switches to whatever stands in it. Most of that is greenlets; the rest has
a `switch` method and is false, which sends it to the loop greenlet (see `run_queue`).
"""

from __future__ import annotations

from asyncio import _set_running_loop
from types import TracebackType
from typing import Any

from greenlet import greenlet

from .._loop.reraise import exception_from
from .._reactor.scheduler import NotSwitchedTo


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
    """Raise an exception in a parked greenlet; it sees its loop, or not, as ever.

    Args:
        target: The greenlet.
        args: As for `greenlet.throw`; the traceback that the exception has is kept if
            it is among them.
    """
    deliver(target, [exception_from(args)], _traceback_of(args))


def _traceback_of(args: tuple[Any, ...]) -> TracebackType | None:
    return args[2] if len(args) > 2 else None


def deliver(
    target: greenlet,
    error: list[BaseException],
    traceback: TracebackType | None = None,
) -> None:
    """Raise the one exception in a list, which nobody else refers to meanwhile.

    Like `throw_into`.

    Args:
        target: The greenlet.
        error: The list.
        traceback: The exception's, if that is to be kept; the caller then refers to its
            frames until the target parks.
    """
    hub = getattr(target, "_hub", None)
    if hub is not None and hub.twin is not None:
        _set_running_loop(None if hub.hides else hub.loop)
    target.throw(_Delivery, error, traceback)


class Throw(NotSwitchedTo):
    """A run-queue entry that raises an exception in a greenlet.

    It is false, so only the loop greenlet runs it.
    """

    __slots__ = ("_args", "_greenlet", "pending")

    def __init__(self, target: greenlet, args: tuple[Any, ...]) -> None:
        # Whether it is still to come, also if an interrupt kept it from that.
        self.pending = True
        self._greenlet = target
        self._args = args

    def switch(self) -> None:
        target = self._greenlet
        if target:
            error = [exception_from(self._args)]
            traceback = _traceback_of(self._args)
            self._args = ()
            self.pending = False
            try:
                deliver(target, error, traceback)
            except BaseException:
                if error:
                    self._args = (error.pop(), None, traceback)
                    self.pending = True
                raise
        elif not target.dead:
            kill_unstarted = getattr(target, "_kill_unstarted", None)
            if kill_unstarted is not None:
                kill_unstarted(self._args)


class Raise(NotSwitchedTo):
    """A run-queue entry that raises an exception in the main program.

    It is false, so only the loop greenlet runs it, and passes on what that raises.
    """

    __slots__ = ("_error", "pending")

    def __init__(self, error: BaseException) -> None:
        self._error: BaseException | None = error
        self.pending = True

    def switch(self) -> None:
        error, self._error, self.pending = self._error, None, False
        if error is not None:
            try:
                raise error
            finally:
                del error
