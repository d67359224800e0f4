"""Locks: `Lock`, `RLock` and `Condition`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

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
    checked_timeout,
    drop,
    hold,
    mutex,
    new_waiter,
)
from .._std.originals import current_task, monotonic
from .semaphore import Semaphore

T = TypeVar("T")


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
            waiters = self._waiters
            if not (waiters and waiters.wake_one()):
                self.counter += 1
        finally:
            drop()
        return True

    def _is_owned(self) -> bool:
        return self.counter <= 0

    def _release_save(self) -> Any:
        self.release()

    def _acquire_restore(self, _saved: Any) -> None:
        self.acquire()

    async def _acquire_restore_async(self, _saved: Any) -> None:
        await self.acquire_async()

    def _at_fork_reinit(self) -> None:
        """Forget holder and waiters, which were left behind in the parent process."""
        self.counter = 1
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
        # How often each of those who wait does: more than once if a finalizer that runs
        # in the middle of a wait wants the same lock.
        self._waiting: dict[object, int] = {}

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
        me = _caller()
        try:
            hold()
            if self._enter(me, 1):
                return True
            if timeout == 0:
                return False
            waiter = new_waiter("acquire()")
            waiter.value = (me, 1)
            self._waiters.append(waiter)
        finally:
            drop()
        return self._wait(waiter, me, timeout)

    def _wait(
        self, waiter: GreenWaiter | ThreadWaiter, me: object, timeout: float | None
    ) -> bool:
        """Wait, in line, to be handed the lock; return whether it came to that."""
        waiting = self._waiting
        waiting[me] = waiting.get(me, 0) + 1
        try:
            outcome = self._waiters.wait(waiter, timeout, self._give_back)
            if outcome is not TIMED_OUT and self._owner is not me:
                self._wait_for_hand_over(waiter, me)
        finally:
            if waiting[me] > 1:
                waiting[me] -= 1
            else:
                del waiting[me]
        return outcome is not TIMED_OUT

    def _wait_for_hand_over(
        self, waiter: GreenWaiter | ThreadWaiter, me: object
    ) -> None:
        """Wait until whoever hands the lock over is through with that.

        A finalizer that waits for something else may interrupt him in the middle, when
        the next one has been woken.
        """
        error: BaseException | None = None
        while self._owner is not me:
            try:
                waiter.let_others_run()
            except BaseException as exc:
                error = exc if error is None else error
        if error is not None:
            with mutex:
                self._give_back(waiter.value)
            raise error

    async def _wait_for_hand_over_async(self, waiter: TaskWaiter, me: object) -> None:
        """See `_wait_for_hand_over`."""
        error: BaseException | None = None
        while self._owner is not me:
            try:
                await asyncio.sleep(0)
            except BaseException as exc:
                error = exc if error is None else error
        if error is not None:
            with mutex:
                self._give_back(waiter.value)
            raise error

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Take the lock as a coroutine; see `acquire`."""
        if timeout is not None:
            timeout = acquire_timeout(True, timeout)
        return await self._acquire_async(1, timeout)

    async def _acquire_async(self, count: int, timeout: float | None) -> bool:
        me = _caller()
        with mutex:
            if self._enter(me, count):
                return True
            if timeout == 0:
                return False
            waiter = TaskWaiter()
            waiter.value = (me, count)
            self._waiters.append(waiter)
        outcome = await self._waiters.wait_async(waiter, timeout, self._give_back)
        if outcome is TIMED_OUT:
            return False
        if self._owner is not me:
            await self._wait_for_hand_over_async(waiter, me)
        return True

    def release(self) -> None:
        """Undo one `acquire`; after the last, the next one gets the lock.

        Raises:
            RuntimeError: The caller does not hold it.
        """
        me = _caller()
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
        if self._owner is me:
            self._count += count
            return True
        if self._count == 0:
            self._owner = me
            self._count = count
            return True
        return False

    def _hand_over(self) -> None:
        waiters = self._waiters
        while waiters:
            waiter: Waiter = waiters.pop_first()
            turn = waiter.value
            if waiter.wake(turn):
                self._owner, self._count = turn
                if self._waiting.get(self._owner, 0) > 1:
                    self._take_along()
                return
        self._owner = None
        self._count = 0

    def _take_along(self) -> None:
        """Let the new owner in wherever else he waits: he holds the lock already."""
        waiters = self._waiters
        for waiter in list(waiters):
            turn = waiter.value
            if turn[0] is self._owner and waiter.wake(turn):
                self._count += turn[1]
                waiters.discard(waiter)

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
        me = _caller()
        with mutex:
            return self._owner is me

    def _recursion_count(self) -> int:
        me = _caller()
        with mutex:
            return self._count if self._owner is me else 0

    def _release_save(self) -> Any:
        me = _caller()
        with mutex:
            if self._owner is not me:
                raise RuntimeError("cannot release un-acquired lock")
            count = self._count
            self._hand_over()
            return count

    def _acquire_restore(self, saved: Any) -> None:
        me = _caller()
        with mutex:
            if self._enter(me, saved):
                return
            waiter = new_waiter("acquire()")
            waiter.value = (me, saved)
            self._waiters.append(waiter)
        self._wait(waiter, me, None)

    async def _acquire_restore_async(self, saved: Any) -> None:
        await self._acquire_async(saved, None)

    def _at_fork_reinit(self) -> None:
        self._owner = None
        self._count = 0
        self._waiters = WaitQueue()
        self._waiting = {}


@dataclass(frozen=True)
class ConditionStatistics:
    """What `Condition.statistics` returns.

    Attributes:
        waiting: How many wait to be notified.
        locked: Whether anybody holds the lock.
    """

    waiting: int
    locked: bool


class Condition:
    """Wait under a lock until somebody says that something has changed.

    As `threading.Condition`. Coroutines use ``async with condition`` and the methods
    whose names end in ``_async``.

    Args:
        lock: A `Lock` or an `RLock`; a new RLock by default.
    """

    def __init__(self, lock: Lock | RLock | None = None) -> None:
        self._lock: Lock | RLock = RLock() if lock is None else lock
        self._waiters = WaitQueue()
        self.acquire = self._lock.acquire
        self.acquire_async = self._lock.acquire_async
        self.release = self._lock.release

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._lock!r} {self._waiters.waiting} waiting>"

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    def __aenter__(self) -> Awaitable[bool]:
        return self._lock.acquire_async()

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, and take the lock again.

        Args:
            timeout: Seconds; None waits for as long as it takes. The lock is taken
                again in any case, however long that takes.

        Returns:
            False if the time was up first.

        Raises:
            RuntimeError: The caller does not hold the lock.
            ValueError: `timeout` is negative.
            BlockingInLoopError: Called in the loop greenlet; use `wait_async` there.
        """
        checked_timeout(timeout, "Condition.wait()")
        self._check_owned("wait on")
        waiter = new_waiter("Condition.wait()")
        with mutex:
            self._waiters.append(waiter)
        saved = self._lock._release_save()
        try:
            outcome = self._waiters.wait(waiter, timeout, self._pass_on)
        finally:
            self._reacquire(saved)
        return outcome is not TIMED_OUT

    def _reacquire(self, saved: Any) -> None:
        interrupted = None
        while True:
            try:
                self._lock._acquire_restore(saved)
                break
            except BaseException as exc:
                # Leaving the `with` block without the lock would break more.
                interrupted = exc
        if interrupted is not None:
            try:
                raise interrupted
            finally:
                del interrupted

    async def wait_async(self, timeout: float | None = None) -> bool:
        """Wait as a coroutine; see `wait`."""
        checked_timeout(timeout, "Condition.wait_async()")
        self._check_owned("wait on")
        waiter = TaskWaiter()
        with mutex:
            self._waiters.append(waiter)
        saved = self._lock._release_save()
        try:
            outcome = await self._waiters.wait_async(waiter, timeout, self._pass_on)
        finally:
            await self._reacquire_async(saved)
        return outcome is not TIMED_OUT

    async def _reacquire_async(self, saved: Any) -> None:
        interrupted = None
        while True:
            try:
                await self._lock._acquire_restore_async(saved)
                break
            except asyncio.CancelledError as exc:
                interrupted = exc
        if interrupted is not None:
            try:
                raise interrupted
            finally:
                del interrupted

    def wait_for(
        self, predicate: Callable[[], T], timeout: float | None = None
    ) -> T | None:
        """Wait until a predicate is true, looking again after every notification.

        Args:
            predicate: Called with the lock held.
            timeout: Seconds in total; None waits for as long as it takes.

        Returns:
            What the predicate returned last.
        """
        checked_timeout(timeout, "Condition.wait_for()")
        deadline = None if timeout is None else monotonic() + timeout
        result = predicate()
        while not result:
            if deadline is not None:
                timeout = deadline - monotonic()
                if timeout <= 0:
                    break
            self.wait(timeout)
            result = predicate()
        return result

    async def wait_for_async(
        self, predicate: Callable[[], T], timeout: float | None = None
    ) -> T | None:
        """Wait as a coroutine until a predicate is true; see `wait_for`."""
        checked_timeout(timeout, "Condition.wait_for_async()")
        deadline = None if timeout is None else monotonic() + timeout
        result = predicate()
        while not result:
            if deadline is not None:
                timeout = deadline - monotonic()
                if timeout <= 0:
                    break
            await self.wait_async(timeout)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake those who have waited longest; they go on when they have the lock.

        Args:
            n: How many.

        Raises:
            RuntimeError: The caller does not hold the lock.
        """
        self._check_owned("notify")
        with mutex:
            for _ in range(n):
                if not self._waiters.wake_one():
                    break

    def notify_all(self) -> None:
        """Wake everybody who waits."""
        self._check_owned("notify")
        with mutex:
            self._waiters.wake_all()

    def statistics(self) -> ConditionStatistics:
        """Return numbers about the current state."""
        with mutex:
            return ConditionStatistics(self._waiters.waiting, self._lock.locked())

    def _pass_on(self, _value: object) -> None:
        self._waiters.wake_one()

    def _check_owned(self, verb: str) -> None:
        if not self._lock._is_owned():
            raise RuntimeError(
                f"cannot {verb} a condition without holding its lock; do it inside "
                "`with condition:`"
            )


def _caller() -> object:
    """Who a lock belongs to: the Task that runs, or else the greenlet."""
    loop = running_loop()
    if loop is not None:
        task = current_task(loop)
        if task is not None:
            return task
    return getcurrent()
