"""Where the results of green threads are fetched: a queue of the green threads."""

from __future__ import annotations

from collections import deque

from .._kernel.waiters import TaskWaiter, WaitQueue, drop, hold, mutex, new_waiter
from .thread import GreenThread


class Arrivals:
    """Green threads that have arrived, and who waits for one: a queue without frills.

    A taker may be woken with None instead, which says: look whether there is anything
    left to wait for.
    """

    __slots__ = ("takers", "threads")

    def __init__(self) -> None:
        self.threads: deque[GreenThread] = deque()
        self.takers = WaitQueue()

    def put(self, thread: GreenThread) -> None:
        """Add a green thread."""
        thread.has_taker = True
        try:
            hold()
            while self.takers:
                if self.takers.wake_one(thread):
                    return
            self.threads.append(thread)
        finally:
            drop()

    def put_back(self, thread: GreenThread) -> None:
        """Put one back that is still the first."""
        with mutex:
            self._give_back(thread)

    def _give_back(self, thread: GreenThread | None) -> None:
        if self.takers and self.takers.wake_one(thread):
            return
        if thread is not None:
            self.threads.appendleft(thread)

    def get(self) -> GreenThread | None:
        """Take the first one, waiting for it; None says to look again."""
        try:
            hold()
            if self.threads:
                return self.threads.popleft()
            waiter = new_waiter("waiting for a result")
            if self.threads:
                return self.threads.popleft()
            self.takers.append(waiter)
        finally:
            drop()
        thread: GreenThread | None = self.takers.wait(waiter, None, self._give_back)
        return thread

    async def get_async(self) -> GreenThread | None:
        """Take the first one, awaiting it; see `get`."""
        with mutex:
            if self.threads:
                return self.threads.popleft()
            waiter = TaskWaiter()
            if self.threads:
                return self.threads.popleft()
            self.takers.append(waiter)
        thread: GreenThread | None = await self.takers.wait_async(
            waiter, None, self._give_back
        )
        return thread

    def look_again(self) -> None:
        """Wake everybody who waits, with None."""
        with mutex:
            self.takers.wake_all(None)
