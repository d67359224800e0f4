"""`Event`: one result, or one failure, that any number of waiters get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, overload

from .._kernel.current import cannot_wait
from .._kernel.waiters import (
    TIMED_OUT,
    Waiter,
    WaitQueue,
    checked_timeout,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._loop.reraise import exception_from, fresh
from .._std.errors import AlreadySentError
from .._std.type_variables import Item


@dataclass(frozen=True)
class EventStatistics:
    """What `Event.statistics` returns.

    Attributes:
        waiting: How many wait for the event.
    """

    waiting: int


class _NotUsed:
    """What an `Event` holds that was not sent, by eventlet's name for it."""

    def __repr__(self) -> str:
        return "NOT_USED"

    def __reduce__(self) -> str:
        # A copy of it is it.
        return "NOT_USED"


NOT_USED = _NotUsed()


class Event(Generic[Item]):
    """A result that is sent once, to everybody who waits and whoever asks later.

    Unlike `threading.Event` it carries a value or an exception, and it can be used
    again only after `reset`::

        event = Event()
        spawn(lambda: event.send(compute()))
        print(event.wait())

    Green threads and OS threads use `wait`, coroutines `wait_async`; `send` may be
    called from anywhere.
    """

    def __init__(self) -> None:
        # Both in one, so that looking at it needs no mutex.
        self._outcome: tuple[Item | None, BaseException | None] | None = None
        self._waiters: WaitQueue | None = None

    def __repr__(self) -> str:
        outcome = self._outcome
        if outcome is None:
            waiters = self._waiters
            state = f"{waiters.waiting if waiters else 0} waiting"
        else:
            result, error = outcome
            state = f"result={result!r}" if error is None else f"error={error!r}"
        return f"<{type(self).__name__} {state} at {id(self):#x}>"

    @property
    def _result(self) -> Any:
        outcome = self._outcome
        return NOT_USED if outcome is None else outcome[0]

    @property
    def _exc(self) -> BaseException | None:
        outcome = self._outcome
        return None if outcome is None else outcome[1]

    def ready(self) -> bool:
        """Whether a result or an exception was sent."""
        return self._outcome is not None

    def has_result(self) -> bool:
        """Whether a result was sent."""
        outcome = self._outcome
        return outcome is not None and outcome[1] is None

    def has_exception(self) -> bool:
        """Whether an exception was sent."""
        outcome = self._outcome
        return outcome is not None and outcome[1] is not None

    def poll(self, notready: Any = None) -> Any:
        """Return the result or raise the exception, or return `notready`.

        It never waits.
        """
        outcome = self._outcome
        return notready if outcome is None else _unpacked(outcome)

    def poll_result(self, notready: Any = None) -> Any:
        """Return the result if one was sent, else `notready`, also for a failure."""
        outcome = self._outcome
        return notready if outcome is None or outcome[1] is not None else outcome[0]

    def poll_exception(self, notready: Any = None) -> Any:
        """Raise the exception if one was sent, else return `notready`."""
        outcome = self._outcome
        if outcome is None or outcome[1] is None:
            return notready
        return _unpacked(outcome)

    def send(self, result: Item | None = None, exc: Any = None) -> None:
        """Give a result, or raise an exception, to everybody who waits.

        They continue in their next turn; the caller goes on at once.

        Args:
            result: What `wait` returns from now on.
            exc: What `wait` raises instead: an exception, a class of exceptions, or a
                tuple as for `greenlet.throw`.

        Raises:
            AlreadySentError: It was sent already.
        """
        error = None
        if exc is not None:
            error = exception_from(exc if isinstance(exc, tuple) else (exc,))
        outcome = (result, error)
        with mutex:
            if self._outcome is not None:
                raise AlreadySentError(repr(self))
            self._outcome = outcome
            waiters = self._waiters
            if waiters is not None:
                self._waiters = None
                waiters.wake_all(outcome)

    def send_exception(self, *args: Any) -> None:
        """Raise an exception in everybody who waits.

        Args:
            *args: As for `greenlet.throw`: an exception, or a class and its argument.

        Raises:
            AlreadySentError: It was sent already.
        """
        self.send(None, args)

    def reset(self) -> None:
        """Make the event usable again: nothing sent.

        Whoever was waiting for the previous result gets that one.

        Raises:
            AssertionError: Nothing was sent since the last reset.
        """
        with mutex:
            if self._outcome is None:
                raise AssertionError(
                    f"{self!r} was not sent yet, so there is nothing to reset"
                )
            self._outcome = None

    @overload
    def wait(self, timeout: None = None) -> Item: ...
    @overload
    def wait(self, timeout: float | None) -> Item | None: ...
    def wait(self, timeout: float | None = None) -> Item | None:
        """Wait until something is sent.

        Args:
            timeout: Seconds; 0 only looks, None waits for as long as it takes.

        Returns:
            The result, or None if the time was up first.

        Raises:
            BaseException: The exception that was sent.
            BlockingInLoopError: Called in the loop greenlet; use `wait_async` there.
        """
        if timeout is not None:
            timeout = checked_timeout(timeout, "Event.wait()")
        outcome: Any = self._outcome
        if outcome is None:
            if timeout == 0 and cannot_wait():
                # Else it lets the others run once, as eventlet's does: who polls waits for
                # them.
                return None
            waiter = new_waiter("Event.wait()")
            waiters = self._join(waiter)
            if waiters is not None:
                waiters.wait(waiter, timeout, None)
            outcome = waiter.value
            if outcome is TIMED_OUT:
                return None
            del waiter, waiters
        error = outcome[1]
        if error is None:
            return outcome[0]  # type: ignore[no-any-return]
        # The traceback keeps this frame.
        try:
            raise fresh(error)
        finally:
            del error, outcome, self

    @overload
    async def wait_async(self, timeout: None = None) -> Item: ...
    @overload
    async def wait_async(self, timeout: float | None) -> Item | None: ...
    async def wait_async(self, timeout: float | None = None) -> Item | None:
        """Wait as a coroutine; see `wait`."""
        if timeout is not None:
            timeout = checked_timeout(timeout, "Event.wait_async()")
        outcome: Any = self._outcome
        if outcome is None:
            if timeout == 0:
                return None
            waiter = new_task_waiter()
            waiters = self._join(waiter)
            if waiters is not None:
                if timeout is not None:
                    await waiters.wait_async(waiter, timeout, None)
                else:
                    # `wait_async` without a time limit, written out: it saves a tenth.
                    try:
                        await waiter.future
                    except BaseException:
                        waiters.leave(waiter, None)
                        raise
            outcome = waiter.value
            if outcome is TIMED_OUT:
                return None
            del waiter, waiters
        error = outcome[1]
        if error is None:
            return outcome[0]  # type: ignore[no-any-return]
        # The traceback keeps this frame.
        try:
            raise fresh(error)
        finally:
            del error, outcome, self

    def _join(self, waiter: Waiter) -> WaitQueue | None:
        """Queue a waiter, or give it the outcome that was sent meanwhile."""
        with mutex:
            waiters = self._waiters
            if waiters is None:
                waiters = self._waiters = WaitQueue()
            if self._outcome is not None:
                waiter.value = self._outcome
                return None
            waiters.append(waiter)
            return waiters

    def statistics(self) -> EventStatistics:
        """Return numbers about the current state."""
        waiters = self._waiters
        return EventStatistics(waiting=waiters.waiting if waiters else 0)


def _unpacked(outcome: tuple[Item | None, BaseException | None]) -> Item | None:
    result, error = outcome
    if error is None:
        return result
    try:
        raise fresh(error)
    finally:
        del error, outcome
