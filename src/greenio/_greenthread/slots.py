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
from contextvars import Context
from typing import Any, Protocol
from weakref import WeakSet

from greenlet import getcurrent

from .._kernel.current import hub_to_spawn_on
from .._kernel.hub import Hub
from .._kernel.waiters import (
    TIMED_OUT,
    WaitQueue,
    acquire_timeout,
    drop,
    hold,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .thread import GreenThread


class SlotThread(GreenThread):
    """A green thread that holds a slot."""

    __slots__ = ("_slots",)

    _slots: Slots

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        self._slots.leave(self)
        GreenThread._end(self, state, result, error)


class MakesCalls(Protocol):
    """What makes calls in slots; see `calls`."""

    def start_all(self) -> None:
        """Give each call that has a slot a green thread, if it has none yet."""


class Slots:
    """The slots of a pool, and the green threads in them; see `GreenPool.sem`."""

    __slots__ = ("feeds", "free", "idle", "running", "size", "unstarted", "waiters")

    def __init__(self, size: int) -> None:
        self.size: int = size
        # Negative for a while after `resize` to less than are running.
        self.free: int = size
        self.running: set[GreenThread] = set()
        self.waiters: WaitQueue = WaitQueue()
        # Who waits until nothing is running.
        self.idle: WaitQueue = WaitQueue()
        # How many calls have a slot, and no green thread yet; and who makes such.
        self.unstarted: int = 0
        self.feeds: WeakSet[MakesCalls] | None = None

    def __repr__(self) -> str:
        return f"<slots of a pool, {self.free} of {self.size} free at {id(self):#x}>"

    @property
    def counter(self) -> int:
        """How many slots are free; assigned to, there are so many."""
        return self.free

    @counter.setter
    def counter(self, value: int) -> None:
        with mutex:
            self.free = value
            self._hand_out()

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
            self._hand_out()

    def _hand_out(self) -> None:
        waiters = self.waiters
        while self.free > 0 and waiters and waiters.wake_one():
            self.free -= 1

    # -- as a semaphore ------------------------------------------------------------------

    def bounded(self) -> bool:
        """Whether `release` would have to wait now: never."""
        return False

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a slot out of the pool; see `Semaphore.acquire`."""
        if timeout is not None or not blocking:
            timeout = acquire_timeout(blocking, timeout)
        with mutex:
            if self.free > 0:
                self.free -= 1
                return True
            if timeout == 0:
                return False
            waiter = new_waiter("acquire()")
            waiters = self.waiters
            if self.free > 0:
                self.free -= 1
                return True
            waiters.append(waiter)
        return waiters.wait(waiter, timeout, self.give_back) is not TIMED_OUT

    def release(self, blocking: bool = True) -> bool:
        """Put a slot into the pool; whoever waits for one gets it."""
        with mutex:
            self.give_back()
        return True

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, typ: object, val: object, tb: object) -> None:
        self.release()

    # -- for the pool ----------------------------------------------------------------------

    def all_running(self) -> set[GreenThread]:
        """The green threads in the slots, one in each."""
        for feed in self.feeds or ():
            feed.start_all()
        return self.running

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
            waiter = new_task_waiter()
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

    def leave(self, thread: GreenThread) -> None:
        """Take a slot back, or hand it on; its green thread has ended."""
        try:
            hold()
            self.running.discard(thread)
            self.give_back()
            # Whoever was just handed the slot comes before these, and fills it.
            if self.idle and not (self.running or self.unstarted):
                self.idle.wake_all()
        finally:
            drop()

    def enter(
        self,
        hub: Hub,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Context | None = None,
    ) -> SlotThread:
        """Make a green thread in a slot that the caller has taken; it is not started."""
        thread = SlotThread(hub, func, args, kwargs, context)
        thread._slots = self
        self.running.add(thread)
        return thread

    def start(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> GreenThread:
        """Start a function in a slot that the caller has taken."""
        thread: SlotThread | None = None
        try:
            hub: Hub = getattr(getcurrent(), "_hub", None) or hub_to_spawn_on("spawn")
            thread = self.enter(hub, func, args, kwargs)
            hub.wake(thread)
        except BaseException:
            with mutex:
                if thread is not None:
                    self.running.discard(thread)
                self.give_back()
            raise
        return thread
