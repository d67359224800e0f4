"""The slots of a `GreenPool`: so many green threads at once, and who waits for one.

A green thread that holds a slot is a `GreenThread` that gives it back when it ends, so
a spawn in a slot costs hardly more than a spawn.

* A slot that becomes free while somebody waits is handed to whoever has waited longest;
  so nobody waits while a slot is free, and nobody who comes later can snatch it.
* A slot that was handed to somebody who is killed, times out or is cancelled before
  using it goes to the next one (`Slots.give_back`).
* A green thread that holds a slot never waits for another: all of them might, and none
  would ever end. `Slots.spawn` has it do the work in place.
* A slot is never only in the hands of a line, which an interrupt may make the last (see
  `mutex`). It is free, or a waiter was woken with it, or a call that has not begun has it
  (`unstarted`), or a `SlotThread`, which is made before. It passes from one to the other in
  one step, and what was interrupted is put right by looking who has it: to give back
  (`leave`) what was given back already does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

from greenlet import getcurrent

from .._kernel.current import hub_to_spawn_on
from .._kernel.hub import Hub
from .._kernel.waiters import (
    TIMED_OUT,
    GiveBack,
    Waiter,
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
    """A green thread that holds a slot, or is about to."""

    __slots__ = ("_slots",)

    # None while it holds none.
    _slots: Slots | None

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        slots = self._slots
        try:
            if slots is not None:
                slots.leave(self)
            GreenThread._end(self, state, result, error)
        except BaseException:
            self._end_anyway(slots)
            raise

    def _interrupted(self, error: BaseException) -> None:
        slots = self._slots
        GreenThread._interrupted(self, error)
        self._end_anyway(slots)

    def _end_anyway(self, slots: Slots | None) -> None:
        if slots is not None:
            slots.leave(self)


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
        """Hand the free slots to those who wait; the mutex is held."""
        waiters = self.waiters
        while self.free > 0 and waiters:
            waiter = waiters[0]
            self.free -= 1
            handed = False
            try:
                handed = waiters.wake_first(waiter, None)
            except BaseException:
                handed = waiter.done and waiter.value is None
                raise
            finally:
                if not handed:
                    self.free += 1

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

    def spawn(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> GreenThread:
        """Start a function in a slot, waiting for one; see `GreenPool.spawn`."""
        hub: Hub = getattr(getcurrent(), "_hub", None) or hub_to_spawn_on("spawn")
        thread = SlotThread(hub, func, args, kwargs)
        thread._slots = None
        try:
            if self._take(thread):
                hub.wake(thread)
                return thread
        except BaseException:
            self.call_off(thread)
            raise
        thread.run_in_place()
        return thread

    async def spawn_async(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> GreenThread:
        """Start a function in a slot, awaiting one; see `GreenPool.spawn_async`."""
        hub: Hub = getattr(getcurrent(), "_hub", None) or hub_to_spawn_on("spawn")
        thread = SlotThread(hub, func, args, kwargs)
        thread._slots = None
        try:
            await self._take_async(thread)
            hub.wake(thread)
        except BaseException:
            self.call_off(thread)
            raise
        return thread

    def call_off(self, thread: SlotThread) -> None:
        """Have a green thread not start, which may not be on the run queue."""
        if thread._slots is not None and not (thread or thread.dead):
            thread._kill_unstarted(())

    def _take(self, thread: SlotThread) -> bool:
        """Take a slot for a green thread that has not started, waiting for it.

        Returns:
            False if there is none and the caller is in one.
        """
        waiter: Any = None
        try:
            try:
                hold()
                if self.free > 0:
                    self.free -= 1
                    thread._slots = self
                    self.running.add(thread)
                    return True
                if getcurrent() in self.running:
                    return False
                waiter = new_waiter("spawning on a full GreenPool")
                waiters = self.waiters
                if self.free > 0:
                    # Freed by who interrupted us in between.
                    self.free -= 1
                    thread._slots = self
                    self.running.add(thread)
                    return True
                waiters.append(waiter)
            finally:
                drop()
            waiters.wait(waiter, None, self.give_back)
            thread._slots = self
        except BaseException:
            if waiter is not None and thread._slots is None:
                self.not_taken(waiter, self.give_back)
            raise
        self.running.add(thread)
        return True

    async def _take_async(self, thread: SlotThread) -> None:
        """Take a slot as a coroutine, waiting for it."""
        waiter: Any = None
        try:
            with mutex:
                if self.free > 0:
                    self.free -= 1
                    thread._slots = self
                    self.running.add(thread)
                    return
                waiter = new_task_waiter()
                waiters = self.waiters
                if self.free > 0:
                    self.free -= 1
                    thread._slots = self
                    self.running.add(thread)
                    return
                waiters.append(waiter)
            await waiters.wait_async(waiter, None, self.give_back)
            thread._slots = self
        except BaseException:
            if waiter is not None and thread._slots is None:
                self.not_taken(waiter, self.give_back)
            raise
        self.running.add(thread)

    def not_taken(self, waiter: Waiter, give_back: GiveBack) -> None:
        """Have a waiter leave who was interrupted before he could use his slot.

        `WaitQueue.wait` does so itself, unless it was about to begin or to return; then
        this does nothing.
        """
        if waiter.done or waiter in self.waiters:
            self.waiters.leave(waiter, give_back)

    def give_back(self, _value: object = None) -> None:
        """Take a slot back, or hand it on; the mutex is held."""
        self.free += 1
        if self.waiters:
            self._hand_out()

    def leave(self, thread: SlotThread) -> None:
        """Take a slot back, or hand it on; its green thread has ended.

        To be called again if it was interrupted.
        """
        try:
            hold()
            if thread._slots is not None:
                thread._slots = None
                self.free += 1
            self.running.discard(thread)
            if self.waiters:
                self._hand_out()
            # Whoever was just handed the slot comes before these, and fills it.
            if self.idle and not (self.running or self.unstarted):
                self.idle.wake_all()
        finally:
            drop()
