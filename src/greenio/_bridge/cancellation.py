"""A coroutine's cancellation, on its way into the function that the coroutine waits for."""

from __future__ import annotations

import asyncio

from greenlet import GreenletExit, greenlet

from .._greenthread.thread import GreenThread
from .._kernel.entries import deliver, put_off


class Cancellation:
    """A run-queue entry that raises a caller's cancellation in what he waits for.

    It is false, so only the loop greenlet runs it.
    """

    __slots__ = ("_args", "_thread", "seen")

    def __init__(self, thread: greenlet, error: asyncio.CancelledError) -> None:
        self._thread = thread
        self._args = error.args
        # Whether the function has got it.
        self.seen = False

    def __bool__(self) -> bool:
        return False

    def switch(self) -> None:
        thread = self._thread
        if thread and not thread.dead and not self.seen:
            if put_off(thread, self.switch) is not None:
                return
            self.seen = True
            deliver(thread, [self.error()])

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
