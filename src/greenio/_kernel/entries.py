"""What stands in a run queue to raise an exception in somebody, or to call a function.

The run queue switches to whatever stands in it. Most of that is greenlets; the rest has
a `switch` method and is false, which sends it to the loop greenlet (see `run_queue`).
"""

from __future__ import annotations

from asyncio import _set_running_loop
from collections.abc import Callable
from types import TracebackType
from typing import Any

from greenlet import greenlet

from .._loop.interrupted import is_finalizing
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
    target: Any,
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
    # It may stand on the run queue still: see `RunQueue.switch`.
    target.was_interrupted = True
    target.throw(_Delivery, error, traceback)


# How many seconds pass between two looks whether a finalizer that waits has returned.
_POLL = 0.005


def waits_in_finalizer(target: greenlet) -> bool:
    """Whether what is raised in a parked greenlet would be printed, and forgotten."""
    return is_finalizing(target.gr_frame)


def put_off(target: greenlet, again: Callable[[], object]) -> Any:
    """Have an exception raised later, if its receiver waits in a finalizer now.

    Args:
        target: The receiver.
        again: What raises it, or puts it off once more.

    Returns:
        The timer that calls `again`; None if the exception is to be raised now.
    """
    if not waits_in_finalizer(target):
        return None
    hub = getattr(target, "_hub", None) or getattr(target, "parking_hub", None)
    if hub is None or hub.closed:
        # On a loop that is closed, the finalizer has to end as well.
        return None
    # Some serve one caller after the other.
    caller = _served_by(target)

    def unless_done() -> None:
        if _served_by(target) is caller:
            again()

    return hub.call_later(_POLL, unless_done)


def _served_by(target: greenlet) -> Any:
    # Asked of the class: not what a user has put there.
    serves = getattr(type(target), "serves", None)
    return None if serves is None else serves.__get__(target)


class Throw(NotSwitchedTo):
    """A run-queue entry that raises an exception in a greenlet.

    It is false, so only the loop greenlet runs it.
    """

    __slots__ = ("_args", "_greenlet", "pending")

    # Whether a finalizer that waits is let return first.
    spares_finalizers = True

    def __init__(self, target: greenlet, args: tuple[Any, ...]) -> None:
        # Whether it is still to come, also if an interrupt kept it from that.
        self.pending = True
        self._greenlet = target
        self._args = args

    def switch(self) -> None:
        target = self._greenlet
        if target:
            if self.spares_finalizers and put_off(target, self.switch) is not None:
                return
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


class ThrowAtOnce(Throw):
    """One that ends what a finalizer waits for, too, where its time is up."""

    __slots__ = ()

    spares_finalizers = False


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


class Call(NotSwitchedTo):
    """A run-queue entry that calls a function; false, as others.

    Args:
        function: What may be called once too often, after an interrupt.
    """

    __slots__ = ("switch",)

    pending = True

    def __init__(self, function: Callable[[], object]) -> None:
        self.switch = function
