"""`Timeout`: an exception that the current green thread gets after some seconds.

A Timeout belongs to the greenlet that started it and to no block: the ``with`` statement only
calls it off. What follows from that:

* It arrives where its green thread waits at that time, never between two lines that do not
  wait. Code that only computes is not interrupted.
* Whether it was *this* one is told by identity (``except Timeout as t: t is mine``), since an
  outer one may arrive inside an inner block. `__exit__` swallows itself alone, and only if it
  is silent.
* It arrives at most once. Whoever has been woken in the turn in which the time is up gets the
  exception, if that comes first in the run queue; what he was woken with is passed on by
  whatever he waited in (see `_kernel.waiters`).
* A time limit of 0 or less stands in the run queue from its start, in turn with what is ready.
* The hub counts it as a timer from `start` until it fires or is called off. The loop's handle
  refers to it by a list, which is empty once it has fired: a handle that the loop keeps for a
  while keeps no Timeout, and with it no traceback and no frames.
* A portal can be interrupted like a green thread. The loop greenlet cannot: to start one there
  is an error.

States: created → pending → expired or canceled, and from these to pending again by `start`;
without limit, if there is nothing to count.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from greenlet import getcurrent, greenlet

from .._kernel.current import cannot_wait, get_hub
from .._kernel.entries import deliver, put_off
from .._kernel.hub import Hub
from .._loop.reraise import exception_from
from .._reactor.calls import DeferredCall
from .arguments import check_callable, check_throwable, checked_seconds
from .coroutines import finished

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
E = TypeVar("E", bound=type)


class _State(enum.Enum):
    """The life of a Timeout."""

    CREATED = "created"
    PENDING = "pending"
    EXPIRED = "expired"
    CANCELED = "canceled"
    UNLIMITED = "without limit"


class Timeout(BaseException):
    """Raise an exception in the current green thread after some seconds.

    Use it as a context manager, or call `cancel` in a ``finally`` block::

        with Timeout(10):
            data = sock.recv(1024)

        with Timeout(10, False):  # silent: go on after the block
            data = sock.recv(1024)

    It starts when it is made. It is a BaseException so that ``except Exception`` in the
    code that it interrupts does not swallow it. Timeouts nest: each knows itself, so
    ``except Timeout as t: if t is not mine: raise``.

    Args:
        seconds: When to raise; None never does, 0 or less does as soon as others run.
        exception: What to raise instead of the Timeout itself: an exception, a class of
            exceptions, or False to end the ``with`` block silently.

    Raises:
        TypeError: `seconds` is not a number, or `exception` cannot be raised.
        RuntimeError: Started in the loop greenlet, where it could not interrupt
            anything; in a coroutine use ``async with asyncio.timeout(seconds)``.
    """

    def __init__(
        self,
        seconds: float | None = None,
        exception: BaseException | type[BaseException] | bool | None = None,
    ) -> None:
        if exception is not None and not isinstance(exception, bool):
            check_throwable(exception, "Timeout")
        self.seconds = seconds
        self.exception = exception
        self._state = _State.CREATED
        self._timer: asyncio.TimerHandle | DeferredCall | None = None
        self._hub: Hub | None = None
        self._greenlet: greenlet | None = None
        self.start()

    @classmethod
    def start_new(
        cls,
        timeout: Timeout | float | None = None,
        exception: BaseException | type[BaseException] | bool | None = None,
    ) -> Timeout:
        """Return a started Timeout.

        Args:
            timeout: Seconds, None, or a Timeout, which is started if it is not pending
                and returned itself.
            exception: As for the constructor.
        """
        if isinstance(timeout, Timeout):
            if not timeout.pending:
                timeout.start()
            return timeout
        return cls(timeout, exception)

    def start(self) -> Timeout:
        """Begin to count, again if it has ended.

        Returns:
            The Timeout itself.

        Raises:
            AssertionError: It is pending already; cancel() it first.
        """
        if self._state is _State.PENDING:
            raise AssertionError(
                f"{self!r} is started already; cancel() it before starting it again"
            )
        # Whether it is not to be raised any more, should that still be to come.
        self.called_off: bool = False
        if self.seconds is None:
            self._state = _State.UNLIMITED
            return self
        seconds = checked_seconds(self.seconds, "Timeout")
        if seconds == math.inf:
            self._state = _State.UNLIMITED
            return self
        if cannot_wait():
            raise RuntimeError(
                f"Timeout({seconds!r}) cannot interrupt anything here: it was started in "
                "the greenlet that runs the event loop, directly from a coroutine or a "
                "loop callback. In a coroutine use `async with "
                f"asyncio.timeout({seconds!r})`, or call blocking code by `await "
                "greenio.run_green(func, ...)` and use it there."
            )
        hub = get_hub()
        self._hub = hub
        self._greenlet = getcurrent()
        self._timer = hub.call_later(seconds, _expire, [self])
        hub.timers += 1
        self._state = _State.PENDING
        return self

    @property
    def pending(self) -> bool:
        """Whether the exception is still to come."""
        return self._state is _State.PENDING

    @property
    def timer(self) -> Any:
        """What ends the wait when the time is up; None if nothing is to come."""
        return self._timer

    @property
    def is_timeout(self) -> bool:
        """True: this is how `is_timeout` tells a timeout from other exceptions."""
        return True

    def cancel(self) -> None:
        """Call the exception off, if it is still to come."""
        self.called_off = True
        if self._state is _State.PENDING:
            self._leave(_State.CANCELED)

    def _leave(self, state: _State) -> None:
        self._state = state
        if self._timer is not None and self._hub is not None:
            self._timer.cancel()
            self._hub.timers -= 1
        self._timer = self._hub = self._greenlet = None

    def __enter__(self) -> Timeout:
        if self._state in (_State.EXPIRED, _State.CANCELED):
            self.start()
        return self

    def __exit__(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        self.cancel()
        return value is self and self.exception is False

    def __repr__(self) -> str:
        what = "" if self.exception is None else f", exception={self.exception!r}"
        return (
            f"<{type(self).__name__} at {id(self):#x}, seconds={self.seconds}{what}, "
            f"{self._state.value}>"
        )

    def __str__(self) -> str:
        if self.seconds is None:
            return ""
        suffix = "" if self.seconds == 1 else "s"
        if self.exception is None or self.exception is True:
            return f"{self.seconds} second{suffix}"
        if self.exception is False:
            return f"{self.seconds} second{suffix} (silent)"
        return f"{self.seconds} second{suffix} ({self.exception})"


def _expire(content: list[Any]) -> None:
    """Raise, in the loop greenlet; the loop's handle holds the list with the Timeout."""
    if not content:
        # Called again, after an interrupt.
        return
    timeout: Timeout = content[0]
    if timeout._state is not _State.PENDING:
        # Interrupted when it was being started: nobody has it.
        return
    target, hub = timeout._greenlet, timeout._hub
    assert target is not None
    assert hub is not None
    later = put_off(target, partial(_expire, content))
    if later is not None:
        timeout._timer = later
        return
    content.clear()
    timeout._leave(_State.EXPIRED)
    if target is hub.loop_greenlet or target is getcurrent():
        hub.report(
            f"{timeout!r} expired, but it was started in the greenlet that runs the "
            "loop, where nothing can be interrupted; in a coroutine use "
            "`async with asyncio.timeout(seconds)`",
            None,
        )
    elif target:
        exception = timeout.exception
        if exception is None or isinstance(exception, bool):
            content.append(timeout)
        else:
            content.append(exception_from((exception,)))
        del timeout, exception
        deliver(target, content)


_MISSING = object()


@overload
def with_timeout(
    seconds: float | None,
    function: Callable[..., Coroutine[Any, Any, T]],
    *args: Any,
    timeout_value: V,
    **kwds: Any,
) -> T | V: ...
@overload
def with_timeout(
    seconds: float | None,
    function: Callable[..., T],
    *args: Any,
    timeout_value: V,
    **kwds: Any,
) -> T | V: ...
@overload
def with_timeout(
    seconds: float | None,
    function: Callable[P, Coroutine[Any, Any, T]],
    *args: P.args,
    **kwds: P.kwargs,
) -> T: ...
@overload
def with_timeout(
    seconds: float | None,
    function: Callable[P, T],
    *args: P.args,
    **kwds: P.kwargs,
) -> T: ...
def with_timeout(
    seconds: float | None, function: Callable[..., Any], *args: Any, **kwds: Any
) -> Any:
    """Call a function, and give up on it after some seconds.

    Args:
        seconds: How long it may take; None for as long as it takes.
        function: What to call.
        *args: Its positional arguments.
        **kwds: Its keyword arguments, and ``timeout_value``: what to return instead of
            raising when the time is up.

    Returns:
        What the function returned, or ``timeout_value``.

    Raises:
        Timeout: The time was up, and no ``timeout_value`` was given.
    """
    check_callable(function, "with_timeout")
    timeout_value = kwds.pop("timeout_value", _MISSING)
    timeout = Timeout(seconds)
    try:
        return finished(function, function(*args, **kwds))
    except Timeout as expired:
        if expired is timeout and timeout_value is not _MISSING:
            return timeout_value
        raise
    finally:
        timeout.cancel()
        # The traceback of the Timeout keeps this frame.
        del timeout


def wrap_is_timeout(base: Any) -> Any:
    """Mark an exception class, one exception, or what a function returns as a timeout.

    Args:
        base: A class, which is returned with an ``is_timeout`` attribute, so this also works
            as a decorator; an exception, likewise; or a function that makes exceptions.
            Then one is returned that calls it and marks what it has made.
    """
    if isinstance(base, type):
        base.is_timeout = property(lambda _: True)  # type: ignore[attr-defined]
        return base
    if isinstance(base, BaseException) or not callable(base):
        base.is_timeout = True
        return base

    @wraps(base)
    def marking(*args: Any, **kwds: Any) -> Any:
        made = base(*args, **kwds)
        made.is_timeout = True
        return made

    return marking


def is_timeout(obj: Any) -> bool:
    """Whether an exception means that time was up, whichever library it comes from."""
    if isinstance(obj, TimeoutError):
        return True
    return bool(getattr(obj, "is_timeout", False))
