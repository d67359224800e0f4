"""Locks: `Lock` and `RLock`."""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from greenlet import getcurrent

from .._kernel.hidden_loop import running_loop
from .._kernel.waiters import (
    TIMED_OUT,
    GreenWaiter,
    TaskWaiter,
    ThreadWaiter,
    Waiter,
    WaitQueue,
    acquire_timeout,
    drop,
    hold,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._std.originals import monotonic, task_on
from .postponed import Postponed
from .semaphore import Semaphore

# How often a finalizer looks whether what it interrupts has got the lock, in seconds.
_LOOK_AGAIN = 0.001


def _blocking_waiter() -> GreenWaiter | ThreadWaiter:
    return new_waiter("acquire()")


class Lock(Semaphore):
    """A lock: one holder at a time, first come, first served.

    Whoever holds it may have it released by another.
    """

    def release(self, blocking: bool = True) -> bool:
        """Let the next one have it.

        Raises:
            RuntimeError: It is not held.
        """
        try:
            hold()
            if self.counter > 0:
                raise RuntimeError(f"release unlocked lock: {self!r} is not held")
            # `_give_back`, written out, as in `Semaphore.release`.
            waiters = self._waiters
            while waiters:
                if waiters.wake_one():
                    break
            else:
                self.counter += 1
        finally:
            drop()
        return True

    def _is_owned(self) -> bool:
        return self.counter <= 0

    def _release_save(self) -> Any:
        self.release()

    # Whoever is interrupted here has the lock nonetheless when the exception is raised:
    # he is in a `with` block, and to leave that without the lock would break more.

    def _acquire_restore(self, _saved: Any) -> None:
        postponed = Postponed()
        while True:
            with postponed:
                self.acquire()
                break
        postponed.raise_if_any()

    async def _acquire_restore_async(self, _saved: Any) -> None:
        postponed = Postponed()
        while True:
            with postponed:
                await self.acquire_async()
                break
        postponed.raise_if_any()

    def _at_fork_reinit(self) -> None:
        """Forget holder and waiters, which were left behind in the parent process."""
        self.counter: int = 1
        self._waiters = WaitQueue()


@dataclass(frozen=True)
class LockStatistics:
    """What `RLock.statistics` returns.

    Attributes:
        owner: Who holds it: a greenlet, a Task, or None.
        count: How often the owner has acquired it.
        waiting: How many wait for it.
    """

    owner: object
    count: int
    waiting: int


class RLock:
    """A lock that its holder may acquire again, and must release as often.

    The holder is a green thread, a Task or an OS thread, and only the holder can
    release it. A green thread started by a Task that holds the lock is another holder.
    """

    def __init__(self) -> None:
        self._owner: object = None
        self._count = 0
        self._waiters = WaitQueue()
        # The waiter of each of those who wait. A finalizer that runs in the middle of
        # his wait and wants the lock, too, is another line of the same owner.
        self._waiting: dict[object, Waiter] = {}

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} owner={self._owner!r} count={self._count} "
            f"{self._waiters.waiting} waiting at {id(self):#x}>"
        )

    def locked(self) -> bool:
        """Whether anybody holds it."""
        return self._count > 0

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take the lock, once more if the caller holds it.

        Args:
            blocking: Whether to wait.
            timeout: Seconds to wait at most; None or -1 waits for as long as it takes.

        Returns:
            Whether the caller holds it now.

        Raises:
            ValueError: `timeout` is negative, or was given with ``blocking=False``.
            BlockingInLoopError: Called in the loop greenlet while somebody else holds
                it; use `acquire_async` there.
        """
        if timeout is not None or not blocking:
            timeout = acquire_timeout(blocking, timeout)
        return self._acquire(1, timeout)

    def _acquire(
        self,
        count: int,
        timeout: float | None,
        new_waiter: Callable[[], GreenWaiter | ThreadWaiter] = _blocking_waiter,
        *,
        in_front: bool = False,
    ) -> bool:
        me = caller()
        if self._enter(me, count):
            return True
        if timeout == 0:
            return False
        if self._is_waiting(me):
            return self._acquire_within(me, count, timeout, new_waiter)
        waiter = new_waiter()
        try:
            if self._enter_or_queue(me, count, waiter, in_front=in_front):
                return True
            outcome = self._waiters.wait(waiter, timeout, self._give_back)
            if outcome is not TIMED_OUT and self._owner is not me:
                self._wait_for_hand_over(waiter, me)
        finally:
            self._waiting.pop(me, None)
        return outcome is not TIMED_OUT

    # What is interrupted goes on only after the finalizer, so the two of them get the
    # lock by one waiter. Whoever hands it over knows one turn per owner, and is not
    # needed any more when that has been given: he may be held up in a finalizer himself.

    def _is_waiting(self, me: object) -> bool:
        waiter = self._waiting.get(me)
        return waiter is not None and not (waiter.done and waiter.value is TIMED_OUT)

    def _acquire_within(
        self,
        me: object,
        count: int,
        timeout: float | None,
        new_waiter: Callable[[], GreenWaiter | ThreadWaiter],
    ) -> bool:
        """Take the lock in the middle of the caller's own wait for it."""
        deadline = None if timeout is None else monotonic() + timeout
        while self._is_waiting(me):
            # Nobody wakes it; a turn of the loop would do, but the holder may take long.
            WaitQueue().wait(new_waiter(), _LOOK_AGAIN, None)
            if self._enter(me, count):
                return True
            if deadline is not None and monotonic() >= deadline:
                return False
        if deadline is not None:
            timeout = max(0, deadline - monotonic())
        return self._acquire(count, timeout, new_waiter)

    # A finalizer that waits for something else may interrupt whoever hands the lock over
    # in the middle, when the next one has been woken. That one waits until it is his.

    def _wait_for_hand_over(
        self, waiter: GreenWaiter | ThreadWaiter, me: object
    ) -> None:
        postponed = Postponed()
        while self._owner is not me:
            with postponed:
                waiter.let_others_run()
        self._raise(postponed, waiter)

    async def _wait_for_hand_over_async(self, waiter: TaskWaiter, me: object) -> None:
        postponed = Postponed()
        while self._owner is not me:
            with postponed:
                await asyncio.sleep(0)
        self._raise(postponed, waiter)

    def _raise(self, postponed: Postponed, waiter: Waiter) -> None:
        """Give the lock back, if the new owner is not to use it."""
        if postponed.error is not None:
            with mutex:
                self._give_back(waiter.value)
            postponed.raise_if_any()

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Take the lock as a coroutine; see `acquire`."""
        if timeout is not None:
            timeout = acquire_timeout(True, timeout)
        return await self._acquire_async(1, timeout)

    async def _acquire_async(self, count: int, timeout: float | None) -> bool:
        me = caller()
        if self._enter(me, count):
            return True
        if timeout == 0:
            return False
        waiter = new_task_waiter()
        try:
            if self._enter_or_queue(me, count, waiter):
                return True
            outcome = await self._waiters.wait_async(waiter, timeout, self._give_back)
            if outcome is not TIMED_OUT and self._owner is not me:
                await self._wait_for_hand_over_async(waiter, me)
        finally:
            self._waiting.pop(me, None)
        return outcome is not TIMED_OUT

    def release(self) -> None:
        """Undo one `acquire`; after the last, the next one gets the lock.

        Raises:
            RuntimeError: The caller does not hold it.
        """
        me = caller()
        try:
            hold()
            if self._owner is not me:
                raise RuntimeError(
                    f"cannot release un-acquired lock: {self!r} is not held by {me!r}"
                )
            if self._count > 1:
                self._count -= 1
            else:
                self._hand_over()
        finally:
            drop()

    # A finalizer may use the same lock in the middle of these. So owner and count
    # change in neighbouring assignments, between which the interpreter runs nothing
    # else, and the caller owns the lock until the next one has been woken.

    def _enter(self, me: object, count: int) -> bool:
        """Take the lock if that needs no waiting."""
        try:
            hold()
            if self._owner is me:
                self._count += count
                return True
            if self._count == 0:
                self._owner = me
                self._count = count
                return True
            return False
        finally:
            drop()

    def _enter_or_queue(
        self, me: object, count: int, waiter: Waiter, *, in_front: bool = False
    ) -> bool:
        """Take the lock, or queue a waiter for it."""
        waiter.value = (me, count)
        try:
            hold()
            if self._count == 0:
                # Released in between.
                self._owner = me
                self._count = count
                return True
            self._waiting[me] = waiter
            if in_front:
                self._waiters.appendleft(waiter)
            else:
                self._waiters.append(waiter)
            return False
        finally:
            drop()

    def _hand_over(self) -> None:
        waiters = self._waiters
        while waiters:
            waiter: Waiter = waiters[0]
            turn = waiter.value
            woken = False
            try:
                woken = waiters.wake_first(waiter, turn)
            finally:
                if woken or (waiter.done and waiter.value is turn):
                    # It is his, also if an interrupt has come.
                    self._owner, self._count = turn
            if woken:
                return
        self._owner = None
        self._count = 0

    def _give_back(self, turn: tuple[object, int]) -> None:
        if self._count > turn[1]:
            self._count -= turn[1]
        else:
            self._hand_over()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def __aenter__(self) -> Awaitable[bool]:
        return self.acquire_async()

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()

    def statistics(self) -> LockStatistics:
        """Return numbers about the current state."""
        with mutex:
            return LockStatistics(self._owner, self._count, self._waiters.waiting)

    # -- what `threading.Condition` and the logging module call ------------------

    def _is_owned(self) -> bool:
        me = caller()
        with mutex:
            return self._owner is me

    def _recursion_count(self) -> int:
        me = caller()
        with mutex:
            return self._count if self._owner is me else 0

    def _release_save(self) -> Any:
        me = caller()
        with mutex:
            if self._owner is not me:
                raise RuntimeError("cannot release un-acquired lock")
            count = self._count
            self._hand_over()
            return count

    def _acquire_restore(self, saved: Any) -> None:
        postponed = Postponed()
        while True:
            with postponed:
                self._acquire(saved, None)
                break
        postponed.raise_if_any()

    async def _acquire_restore_async(self, saved: Any) -> None:
        postponed = Postponed()
        while True:
            with postponed:
                await self._acquire_async(saved, None)
                break
        postponed.raise_if_any()

    def _at_fork_reinit(self) -> None:
        self._owner = None
        self._count = 0
        self._waiters = WaitQueue()
        self._waiting = {}


def caller() -> object:
    """Who a lock belongs to: the Task that runs, or else the greenlet."""
    loop: Any = _get_running_loop()
    if loop is None:
        loop = running_loop()
    if loop is not None:
        task: object = task_on(loop)
        if task is not None:
            return task
    return getcurrent()
