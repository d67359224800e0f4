"""`Queue`: a queue that knows which of its items are dealt with."""

from __future__ import annotations

from .._kernel.waiters import (
    TIMED_OUT,
    WaitQueue,
    checked_timeout,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._std.type_variables import Item
from .light_queue import LightQueue


class Queue(LightQueue[Item]):
    """A first-in, first-out queue that knows which of its items are dealt with.

    See `LightQueue`. Whoever is done with an item calls `task_done`; `join` waits until
    that was called for every item.
    """

    def __init__(self, maxsize: int | None = None) -> None:
        super().__init__(maxsize)
        self._joiners = WaitQueue()
        self._tasks_done = 0

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put for which nobody called `task_done` yet."""
        return self._puts - self._tasks_done

    def _uncount(self) -> None:
        super()._uncount()
        if self._puts <= self._tasks_done:
            self._joiners.wake_all()

    def _put_bookkeeping(self) -> None:
        """Nothing: a `_put` of a program's own calls it with eventlet, where it counts."""

    def task_done(self) -> None:
        """Say that an item is dealt with.

        Raises:
            ValueError: Called more often than there were items.
        """
        with mutex:
            done = self._tasks_done + 1
            if done > self._puts:
                raise ValueError("task_done() called too many times")
            self._tasks_done = done
            if done == self._puts:
                self._joiners.wake_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every item is dealt with.

        Args:
            timeout: Seconds; None waits for as long as it takes.

        Returns:
            False if the time was up first.

        Raises:
            BlockingInLoopError: Called in the loop greenlet; use `join_async` there.
        """
        if timeout is not None:
            timeout = checked_timeout(timeout, "join()")
        with mutex:
            if self._puts <= self._tasks_done:
                return True
            if timeout == 0:
                return False
            waiter = new_waiter("join()")
            if self._puts <= self._tasks_done:
                return True
            self._joiners.append(waiter)
        return self._joiners.wait(waiter, timeout, None) is not TIMED_OUT

    async def join_async(self, timeout: float | None = None) -> bool:
        """Wait as a coroutine until every item is dealt with; see `join`."""
        if timeout is not None:
            timeout = checked_timeout(timeout, "join_async()")
        with mutex:
            if self._puts <= self._tasks_done:
                return True
            if timeout == 0:
                return False
            waiter = new_task_waiter()
            if self._puts <= self._tasks_done:
                return True
            self._joiners.append(waiter)
        return await self._joiners.wait_async(waiter, timeout, None) is not TIMED_OUT
