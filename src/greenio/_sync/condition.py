"""`Condition`: wait under a lock until somebody says that something has changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from .._kernel.waiters import (
    TIMED_OUT,
    WaitQueue,
    checked_timeout,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._std.originals import monotonic
from .lock import Lock, RLock
from .postponed import Postponed

T = TypeVar("T")


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
        self.acquire: Callable[..., bool] = self._lock.acquire
        self.acquire_async: Callable[..., Coroutine[Any, Any, bool]] = (
            self._lock.acquire_async
        )
        self.release: Callable[[], object] = self._lock.release

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
            BlockingInLoopError: Called in the loop greenlet; use `wait_async` there.
        """
        timeout = checked_timeout(timeout, "Condition.wait()")
        self._check_owned("wait on")
        waiter = new_waiter("Condition.wait()")
        with mutex:
            self._waiters.append(waiter)
        saved = self._lock._release_save()
        postponed = Postponed()
        outcome: Any = TIMED_OUT
        with postponed:
            outcome = self._waiters.wait(waiter, timeout, self._pass_on)
        # It has the lock in any case.
        with postponed:
            self._lock._acquire_restore(saved)
        self._raise(postponed, outcome)
        return outcome is not TIMED_OUT

    def _raise(self, postponed: Postponed, outcome: Any) -> None:
        """Raise what arrived meanwhile; a notification goes to the next one."""
        if postponed.error is not None:
            if outcome is not TIMED_OUT:
                with mutex:
                    self._pass_on(outcome)
            postponed.raise_if_any()

    async def wait_async(self, timeout: float | None = None) -> bool:
        """Wait as a coroutine; see `wait`."""
        timeout = checked_timeout(timeout, "Condition.wait_async()")
        self._check_owned("wait on")
        waiter = new_task_waiter()
        with mutex:
            self._waiters.append(waiter)
        saved = self._lock._release_save()
        postponed = Postponed()
        outcome: Any = TIMED_OUT
        try:
            with postponed:
                outcome = await self._waiters.wait_async(waiter, timeout, self._pass_on)
            with postponed:
                await self._lock._acquire_restore_async(saved)
        except GeneratorExit as exc:
            # Nothing can be awaited any more, not even the lock.
            postponed.error = exc
        self._raise(postponed, outcome)
        return outcome is not TIMED_OUT

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
        timeout = checked_timeout(timeout, "Condition.wait_for()")
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
        timeout = checked_timeout(timeout, "Condition.wait_for_async()")
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
