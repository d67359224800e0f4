"""The slots of a `GreenPool`: so many green threads at once, and who waits for one.

A green thread that holds a slot is a `GreenThread` that gives it back when it ends, so
a spawn in a slot costs hardly more than a spawn.

* A slot that becomes free while somebody waits is handed to whoever has waited longest;
  so nobody waits while a slot is free, and nobody who comes later can snatch it.
* A slot that was handed to somebody who is killed, times out or is cancelled before
  using it goes to the next one (`Slots.give_back`).
* A green thread that holds a slot never waits for another: all of them might, and none
  would ever end. `Slots.take` tells it so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from .._kernel.current import hub_to_spawn_on
from .._kernel.hub import Hub
from .._kernel.waiters import TaskWaiter, WaitQueue, drop, hold, mutex, new_waiter
from .thread import GreenThread


class SlotThread(GreenThread):
    """A green thread that holds a slot."""

    __slots__ = ("_slots",)

    _slots: Slots

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        slots = self._slots
        try:
            hold()
            running = slots.running
            running.discard(self)
            slots.give_back()
            # Whoever was just handed the slot comes before these, and fills it.
            if slots.idle and not running:
                slots.idle.wake_all()
        finally:
            drop()
        GreenThread._end(self, state, result, error)


class Slots:
    """The slots of a pool, and the green threads in them; see `GreenPool.sem`."""

    __slots__ = ("free", "idle", "running", "size", "waiters")

    def __init__(self, size: int) -> None:
        self.size = size
        # Negative for a while after `resize` to less than are running.
        self.free = size
        self.running: set[GreenThread] = set()
        self.waiters = WaitQueue()
        # Who waits until nothing is running.
        self.idle = WaitQueue()

    @property
    def counter(self) -> int:
        """How many slots are free."""
        return self.free

    @property
    def balance(self) -> int:
        """How many slots are free; if negative, how many more would be needed now."""
        with mutex:
            return self.free - self.waiters.waiting

    def locked(self) -> bool:
        """Whether `GreenPool.spawn` would have to wait now."""
        return self.free <= 0

    def resize(self, new_size: int) -> None:
        """Have more or less of them; see `GreenPool.resize`."""
        with mutex:
            self.free += new_size - self.size
            self.size = new_size
            waiters = self.waiters
            while self.free > 0 and waiters and waiters.wake_one():
                self.free -= 1

    def take(self) -> bool:
        """Take a slot, waiting for it.

        Returns:
            False if there is none and the caller is in one.
        """
        try:
            hold()
            if self.free > 0:
                self.free -= 1
                return True
            if getcurrent() in self.running:
                return False
            waiter = new_waiter("spawning on a full GreenPool")
            waiters = self.waiters
            if self.free > 0:
                # Freed by who interrupted us in between.
                self.free -= 1
                return True
            waiters.append(waiter)
        finally:
            drop()
        waiters.wait(waiter, None, self.give_back)
        return True

    async def take_async(self) -> None:
        """Take a slot as a coroutine, waiting for it."""
        with mutex:
            if self.free > 0:
                self.free -= 1
                return
            waiter = TaskWaiter()
            waiters = self.waiters
            if self.free > 0:
                self.free -= 1
                return
            waiters.append(waiter)
        await waiters.wait_async(waiter, None, self.give_back)

    def give_back(self, _value: object = None) -> None:
        """Take a slot back, or hand it on; the mutex is held."""
        waiters = self.waiters
        while self.free >= 0 and waiters:
            if waiters.wake_one():
                return
        self.free += 1

    def start(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> GreenThread:
        """Start a function in a slot that the caller has taken."""
        thread: SlotThread | None = None
        try:
            hub: Hub = getattr(getcurrent(), "_hub", None) or hub_to_spawn_on("spawn")
            thread = SlotThread(hub, func, args, kwargs)
            thread._slots = self
            self.running.add(thread)
            hub.wake(thread)
        except BaseException:
            with mutex:
                if thread is not None:
                    self.running.discard(thread)
                self.give_back()
            raise
        return thread
