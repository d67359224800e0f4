"""Waiting for several green threads at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from ._greenthread import GreenThread
from ._originals import monotonic
from ._waiters import TIMED_OUT, TaskWaiter, WaitQueue, checked_timeout, mutex
from ._waiters import new_waiter as _new_waiter


class _Finishers(Iterator[GreenThread], AsyncIterator[GreenThread]):
    """Yields green threads as they end.

    It is linked to all of them, and takes its links back when it is closed: at the end,
    when the time is up, or when an exception comes.
    """

    def __init__(
        self,
        threads: Iterable[GreenThread],
        timeout: float | None,
        count: int | None,
        what: str,
    ) -> None:
        checked_timeout(timeout, what)
        self._what = what
        self._deadline = None if timeout is None else monotonic() + timeout
        # In the order given, each once.
        self._pending = dict.fromkeys(_checked(threads, what))
        total = len(self._pending)
        self._left = total if count is None else min(count, total)
        self._ended: list[GreenThread] = []
        self._taker = WaitQueue()
        self._linked = False

    def _link(self) -> None:
        if not self._linked:
            self._linked = True
            for thread in self._pending:
                thread.link(self._arrive)

    def _arrive(self, thread: GreenThread) -> None:
        with mutex:
            if not (self._taker and self._taker.wake_one(thread)):
                self._ended.append(thread)

    def _give_back(self, thread: GreenThread) -> None:
        self._ended.insert(0, thread)

    def close(self) -> None:
        """Take the links back."""
        self._left = 0
        for thread in self._pending:
            thread.unlink(self._arrive)
        self._pending.clear()

    def _remaining(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - monotonic())

    def _take(self, thread: GreenThread) -> GreenThread:
        self._pending.pop(thread, None)
        self._left -= 1
        if not self._left:
            self.close()
        return thread

    def __iter__(self) -> _Finishers:
        return self

    def __next__(self) -> GreenThread:
        if not self._left:
            raise StopIteration
        try:
            self._link()
            with mutex:
                if self._ended:
                    return self._take(self._ended.pop(0))
                timeout = self._remaining()
                if timeout == 0:
                    outcome: Any = TIMED_OUT
                else:
                    waiter = _new_waiter(self._what)
                    self._taker.append(waiter)
                    outcome = None
            if outcome is not TIMED_OUT:
                outcome = self._taker.wait(waiter, timeout, self._give_back)
        except BaseException:
            self.close()
            raise
        if outcome is TIMED_OUT:
            self.close()
            raise StopIteration
        return self._take(outcome)

    def __aiter__(self) -> _Finishers:
        return self

    async def __anext__(self) -> GreenThread:
        if not self._left:
            raise StopAsyncIteration
        try:
            self._link()
            with mutex:
                if self._ended:
                    return self._take(self._ended.pop(0))
                timeout = self._remaining()
                if timeout == 0:
                    outcome: Any = TIMED_OUT
                else:
                    waiter = TaskWaiter()
                    self._taker.append(waiter)
                    outcome = None
            if outcome is not TIMED_OUT:
                outcome = await self._taker.wait_async(waiter, timeout, self._give_back)
        except BaseException:
            self.close()
            raise
        if outcome is TIMED_OUT:
            self.close()
            raise StopAsyncIteration
        return self._take(outcome)


def _checked(threads: Iterable[GreenThread], what: str) -> list[GreenThread]:
    checked = list(threads)
    for thread in checked:
        if not isinstance(thread, GreenThread):
            raise TypeError(
                f"{what}() takes green threads, as spawn() returns them, not {thread!r}"
            )
    return checked


def iwait(
    threads: Iterable[GreenThread],
    timeout: float | None = None,
    count: int | None = None,
) -> _Finishers:
    """Yield green threads as they end.

    Args:
        threads: The green threads.
        timeout: Seconds for all of it together; the iterator then just ends.
        count: How many to yield at most; None for all.

    Returns:
        An iterator, for ``for`` and for ``async for``.

    Raises:
        TypeError: Something among them is no green thread.
        ValueError: `timeout` is negative.
    """
    return _Finishers(threads, timeout, count, "iwait")


iwait_async = iwait


def wait(
    threads: Iterable[GreenThread],
    timeout: float | None = None,
    count: int | None = None,
) -> list[GreenThread]:
    """Wait until green threads have ended.

    Args:
        threads: The green threads.
        timeout: Seconds to wait at most.
        count: How many have to end; None for all.

    Returns:
        Those that have ended, in the order in which they did.
    """
    return list(_Finishers(threads, timeout, count, "wait"))


async def wait_async(
    threads: Iterable[GreenThread],
    timeout: float | None = None,
    count: int | None = None,
) -> list[GreenThread]:
    """Wait until green threads have ended, as a coroutine; see `wait`."""
    return [t async for t in _Finishers(threads, timeout, count, "wait_async")]


def joinall(
    threads: Iterable[GreenThread],
    timeout: float | None = None,
    count: int | None = None,
    raise_error: bool = False,
) -> list[GreenThread]:
    """Wait until green threads have ended, and take an interest in how.

    Args:
        threads: The green threads.
        timeout: Seconds to wait at most.
        count: How many have to end; None for all.
        raise_error: Whether to raise the first failure as soon as it happens. Without
            this, failures are left to whoever calls `GreenThread.wait`.

    Returns:
        Those that have ended, in the order in which they did.
    """
    ended = []
    for thread in _Finishers(threads, timeout, count, "joinall"):
        if raise_error:
            thread.outcome()
        ended.append(thread)
    return ended


async def joinall_async(
    threads: Iterable[GreenThread],
    timeout: float | None = None,
    count: int | None = None,
    raise_error: bool = False,
) -> list[GreenThread]:
    """Wait until green threads have ended, as a coroutine; see `joinall`."""
    ended = []
    async for thread in _Finishers(threads, timeout, count, "joinall_async"):
        if raise_error:
            thread.outcome()
        ended.append(thread)
    return ended
