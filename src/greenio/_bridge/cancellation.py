"""A coroutine's cancellation, on its way into the function that the coroutine waits for."""

from __future__ import annotations

import asyncio

from greenlet import GreenletExit, greenlet

from .._greenthread.thread import GreenThread
from .._kernel.entries import deliver, put_off


class State:
    """What a cancellation has in common with the exceptions that it raises."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = False


class Cancellation:
    """A run-queue entry that raises a caller's cancellation in what he waits for.

    It is false, so only the loop greenlet runs it.

    Args:
        thread: Where the function runs.
        error: What the caller has got.
        state: What it has in common with what was raised before.
    """

    __slots__ = ("_args", "_state", "_thread")

    def __init__(
        self, thread: greenlet, error: BaseException, state: State | None = None
    ) -> None:
        self._thread = thread
        self._args = error.args
        self._state = state or State()

    def __bool__(self) -> bool:
        return False

    @property
    def seen(self) -> bool:
        """Whether the function has got it."""
        return self._state.seen

    @seen.setter
    def seen(self, value: bool) -> None:
        self._state.seen = value

    def switch(self) -> None:
        thread = self._thread
        if thread and not thread.dead and not self.seen:
            if put_off(thread, self.switch) is not None:
                return
            self.seen = True
            error: list[BaseException] = [self.error()]
            error[0]._greenio_cancellation = self._state  # type: ignore[attr-defined]
            deliver(thread, error)

    def take(self) -> asyncio.CancelledError | None:
        """Return what would be raised, if it has not been, and do not raise it any more."""
        if self.seen:
            return None
        self.seen = True
        return self.error()

    def error(self) -> asyncio.CancelledError:
        """Return what is to be raised, which nobody else knows."""
        return asyncio.CancelledError(*self._args)


def name_failure(thread: GreenThread, error: asyncio.CancelledError) -> None:
    """A green thread has ended, and its caller raises a cancellation instead."""
    failure = thread._error
    if failure is not None and not isinstance(
        failure, (GreenletExit, asyncio.CancelledError)
    ):
        error.__cause__ = failure
    report = thread._unretrieved
    if report is not None:
        report.make(thread)
