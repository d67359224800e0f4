"""Where results are fetched: a queue of the green threads, or calls, that have them."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from .._kernel.waiters import WaitQueue, drop, hold, mutex, new_task_waiter, new_waiter

Arrival = TypeVar("Arrival")


class Arrivals(Generic[Arrival]):
    """What has arrived, and who waits for it: a queue without frills.

    A taker may be woken with None instead, which says: look whether there is anything
    left to wait for.
    """

    __slots__ = ("arrived", "looks", "takers")

    def __init__(self) -> None:
        self.arrived: deque[Arrival] = deque()
        self.takers: WaitQueue = WaitQueue()
        # How often takers were told to look again. Who was told so between his look and
        # his wait, by what has interrupted him, does not wait.
        self.looks: int = 0

    def put(self, arrival: Arrival) -> None:
        """Add one."""
        try:
            hold()
            while self.takers:
                if self.takers.wake_one(arrival):
                    return
            self.arrived.append(arrival)
        finally:
            drop()

    def hand_on(self) -> None:
        """Give what has arrived to those who wait; the mutex is held."""
        while self.takers and self.arrived:
            arrival = self.arrived[0]
            given = self.takers.wake_one(arrival)
            if given and self.arrived and self.arrived[0] is arrival:
                del self.arrived[0]

    def put_back(self, arrival: Arrival) -> None:
        """Put one back that is still the first."""
        with mutex:
            self._give_back(arrival)

    def _give_back(self, arrival: Arrival | None) -> None:
        if self.takers and self.takers.wake_one(arrival):
            return
        if arrival is not None:
            self.arrived.appendleft(arrival)

    def get(self, looks: int) -> Arrival | None:
        """Take the first one, waiting for it; None says to look again.

        Args:
            looks: What `looks` was before the caller looked whether there is anything
                to wait for.
        """
        try:
            hold()
            if self.arrived:
                return self.arrived.popleft()
            waiter = new_waiter("waiting for a result")
            if self.arrived:
                return self.arrived.popleft()
            if self.looks != looks:
                return None
            self.takers.append(waiter)
        finally:
            drop()
        arrival: Arrival | None = self.takers.wait(waiter, None, self._give_back)
        return arrival

    async def get_async(self, looks: int) -> Arrival | None:
        """Take the first one, awaiting it; see `get`."""
        with mutex:
            if self.arrived:
                return self.arrived.popleft()
            waiter = new_task_waiter()
            if self.arrived:
                return self.arrived.popleft()
            if self.looks != looks:
                return None
            self.takers.append(waiter)
        arrival: Arrival | None = await self.takers.wait_async(
            waiter, None, self._give_back
        )
        return arrival

    def look_again(self) -> None:
        """Wake everybody who waits, with None."""
        with mutex:
            self.looks += 1
            self.takers.wake_all(None)
