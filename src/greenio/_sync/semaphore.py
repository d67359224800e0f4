"""Semaphores: `Semaphore`, `BoundedSemaphore` and `CappedSemaphore`.

All are fair: a permit that is released while somebody waits goes to whoever waited
longest, and nobody who comes later can snatch it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .._kernel.current import cannot_wait
from .._kernel.waiters import (
    TIMED_OUT,
    AnyWaiter,
    GreenWaiter,
    ThreadWaiter,
    WaitQueue,
    acquire_timeout,
    drop,
    hold,
    mutex,
    new_task_waiter,
    new_waiter,
)


@dataclass(frozen=True)
class SemaphoreStatistics:
    """What `Semaphore.statistics` returns.

    Attributes:
        counter: How many permits are free.
        waiting: How many wait for one.
    """

    counter: int
    waiting: int


class Semaphore:
    """A number of permits: `acquire` takes one, waiting if there is none.

    Usable in ``with`` and ``async with``, by green threads, coroutines and OS threads.

    Args:
        value: How many permits there are at first.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is negative.
    """

    def __init__(self, value: int = 1) -> None:
        self.counter: int = _checked_count(value, type(self).__name__)
        self._waiters = WaitQueue()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} counter={self.counter} "
            f"{self._waiters.waiting} waiting at {id(self):#x}>"
        )

    @property
    def balance(self) -> int:
        """How many permits are free; if negative, how many wait for one."""
        with mutex:
            return self.counter - self._waiters.waiting

    def locked(self) -> bool:
        """Whether `acquire` would have to wait now."""
        return self.counter <= 0

    def bounded(self) -> bool:
        """Whether `release` would have to wait now: never. See `CappedSemaphore`."""
        return False

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit.

        Args:
            blocking: Whether to wait if there is none.
            timeout: Seconds to wait at most; None or -1 waits for as long as it takes.

        Returns:
            Whether it got one.

        Raises:
            ValueError: `timeout` is negative, or was given with ``blocking=False``.
            BlockingInLoopError: Called in the loop greenlet when there is none; use
                `acquire_async` there.
        """
        if timeout is not None or not blocking:
            timeout = acquire_timeout(blocking, timeout)
        try:
            hold()
            counter = self.counter
            if counter > 0:
                self.counter = counter - 1
                return True
            if timeout == 0 and (not blocking or cannot_wait()):
                return False
            waiter = new_waiter("acquire()")
            waiters = self._waiters
            if self.counter > 0:
                # Released by who interrupted us in between.
                self.counter -= 1
                return True
            waiters.append(waiter)
        finally:
            drop()
        if timeout is not None:
            return waiters.wait(waiter, timeout, self._give_back) is not TIMED_OUT
        # `WaitQueue.wait` without a time limit, written out: it saves a thirtieth of a
        # way through a semaphore.
        try:
            waiter.block()
        except BaseException:
            waiters.leave(waiter, self._give_back)
            raise
        return waiter.value is not TIMED_OUT

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Take a permit as a coroutine; see `acquire`."""
        if timeout is not None:
            timeout = acquire_timeout(True, timeout)
        try:
            hold()
            counter = self.counter
            if counter > 0:
                self.counter = counter - 1
                return True
            if timeout == 0:
                return False
            waiter = new_task_waiter()
            waiters = self._waiters
            if self.counter > 0:
                self.counter -= 1
                return True
            waiters.append(waiter)
        finally:
            drop()
        if timeout is not None:
            outcome = await waiters.wait_async(waiter, timeout, self._give_back)
            return outcome is not TIMED_OUT
        # `WaitQueue.wait_async` without a time limit, written out: it saves a tenth.
        try:
            await waiter.future
        except BaseException:
            waiters.leave(waiter, self._give_back)
            raise
        return waiter.value is not TIMED_OUT

    def release(self, blocking: bool = True) -> bool:
        """Give a permit back; it goes to whoever has waited longest.

        Args:
            blocking: Means nothing here, see `CappedSemaphore.release`.

        Returns:
            True.
        """
        try:
            hold()
            # `_give_back`, written out: that saves a fiftieth of acquire and release.
            waiters = self._waiters
            while waiters:
                # `WaitQueue.wake_one`, written out: it saves a fortieth.
                waiter = waiters[0]
                woken = waiter.wake()
                if waiters and waiters[0] is waiter:
                    del waiters[0]
                    if waiters and waiters[0].done:
                        waiters.trim()
                if woken:
                    return True
            self.counter += 1
        finally:
            drop()
        return True

    def _give_back(self, _value: object) -> None:
        # For a permit that was handed over to somebody who ended instead of using it.
        # Not `release`, which in subclasses checks what the caller is doing.
        waiters = self._waiters
        while waiters:
            if waiters.wake_one():
                return
        self.counter += 1

    # One call less in a `with` block than a function that calls it.
    __enter__ = acquire

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = cls.acquire is not Semaphore.acquire
        if own and cls.__enter__ is Semaphore.__enter__:
            type.__setattr__(cls, "__enter__", _enter)

    def __exit__(self, typ: object, val: object, tb: object) -> None:
        self.release()

    def __aenter__(self) -> Awaitable[bool]:
        return self.acquire_async()

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()

    def statistics(self) -> SemaphoreStatistics:
        """Return numbers about the current state."""
        with mutex:
            return SemaphoreStatistics(self.counter, self._waiters.waiting)


def _enter(self: Semaphore) -> bool:
    """Enter a semaphore of a class that acquires in its own way."""
    return self.acquire()


class BoundedSemaphore(Semaphore):
    """A semaphore that cannot be released more often than it was acquired.

    Args:
        value: How many permits there are, at first and at most.
    """

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self.original_counter: int = self.counter

    def release(self, blocking: bool = True) -> bool:
        """Give a permit back; see `Semaphore.release`.

        Raises:
            ValueError: All permits are free already.
        """
        with mutex:
            if self.counter >= self.original_counter:
                raise ValueError(
                    "Semaphore released too many times: all of its "
                    f"{self.original_counter} permits are free already"
                )
            self._give_back(None)
        return True


@dataclass(frozen=True)
class CappedSemaphoreStatistics:
    """What `CappedSemaphore.statistics` returns.

    Attributes:
        counter: How many permits are free.
        limit: How many may be free.
        acquiring: How many wait for a permit.
        releasing: How many wait for a place to put one.
    """

    counter: int
    limit: int
    acquiring: int
    releasing: int


class CappedSemaphore:
    """A semaphore that waits at both ends: for a permit, and for room to release one.

    Args:
        count: How many permits are free at first.
        limit: How many may be free; then `release` waits for an `acquire`.

    Raises:
        TypeError: One of them is not an integer.
        ValueError: One of them is negative, or `count` is more than `limit`.
    """

    def __init__(self, count: int, limit: int) -> None:
        self.counter: int = _checked_count(count, type(self).__name__)
        self.limit: int = _checked_count(limit, type(self).__name__)
        if self.counter > self.limit:
            raise ValueError(
                f"CappedSemaphore(count, limit) takes a count of at most limit, not "
                f"{count} of {limit}"
            )
        self._acquiring = WaitQueue()
        self._releasing = WaitQueue()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} counter={self.counter} of {self.limit} "
            f"{self._acquiring.waiting} acquiring {self._releasing.waiting} releasing "
            f"at {id(self):#x}>"
        )

    @property
    def balance(self) -> int:
        """Permits minus places, each less those who wait for it."""
        with mutex:
            free = self.counter - self._acquiring.waiting
            room = self.limit - self.counter - self._releasing.waiting
            return free - room

    def locked(self) -> bool:
        """Whether `acquire` would have to wait now."""
        return self.counter <= 0

    def bounded(self) -> bool:
        """Whether `release` would have to wait now."""
        return self.counter >= self.limit

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit; see `Semaphore.acquire`."""
        if timeout is not None or not blocking:
            timeout = acquire_timeout(blocking, timeout)
        waiter = self._acquire_or_queue(timeout, _acquirer)
        if isinstance(waiter, bool):
            return waiter
        outcome = self._acquiring.wait(waiter, timeout, self._untake)
        return outcome is not TIMED_OUT

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Take a permit as a coroutine; see `Semaphore.acquire`."""
        if timeout is not None:
            timeout = acquire_timeout(True, timeout)
        waiter = self._acquire_or_queue(timeout, new_task_waiter)
        if isinstance(waiter, bool):
            return waiter
        outcome = await self._acquiring.wait_async(waiter, timeout, self._untake)
        return outcome is not TIMED_OUT

    def _acquire_or_queue(
        self, timeout: float | None, new_waiter: Callable[[], AnyWaiter]
    ) -> AnyWaiter | bool:
        with mutex:
            if self.counter > 0:
                self._take()
                return True
            if timeout == 0:
                return False
            waiter = new_waiter()
            acquiring = self._acquiring
            if self.counter <= 0:
                acquiring.append(waiter)
                return waiter
            # Released by who interrupted us in between.
            self._take()
            return True

    def release(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Give a permit back, waiting while `limit` of them are free.

        Args:
            blocking: Whether to wait.
            timeout: Seconds to wait at most; None or -1 waits for as long as it takes.

        Returns:
            Whether it was given back.

        Raises:
            ValueError: `timeout` is negative, or was given with ``blocking=False``.
            BlockingInLoopError: Called in the loop greenlet when there is no room; use
                `release_async` there.
        """
        if timeout is not None or not blocking:
            timeout = acquire_timeout(blocking, timeout)
        waiter = self._release_or_queue(timeout, _releaser)
        if isinstance(waiter, bool):
            return waiter
        outcome = self._releasing.wait(waiter, timeout, self._unrelease)
        return outcome is not TIMED_OUT

    async def release_async(self, timeout: float | None = None) -> bool:
        """Give a permit back as a coroutine; see `release`."""
        if timeout is not None:
            timeout = acquire_timeout(True, timeout)
        waiter = self._release_or_queue(timeout, new_task_waiter)
        if isinstance(waiter, bool):
            return waiter
        outcome = await self._releasing.wait_async(waiter, timeout, self._unrelease)
        return outcome is not TIMED_OUT

    def _release_or_queue(
        self, timeout: float | None, new_waiter: Callable[[], AnyWaiter]
    ) -> AnyWaiter | bool:
        with mutex:
            if self.counter < self.limit:
                self._untake(None)
                return True
            if timeout == 0:
                return False
            waiter = new_waiter()
            releasing = self._releasing
            if self.counter >= self.limit:
                releasing.append(waiter)
                return waiter
            # Acquired by who interrupted us in between.
            self._untake(None)
            return True

    def _take(self) -> None:
        """Take a free permit; whoever waits to release one gets its place."""
        self.counter -= 1
        if self.counter < self.limit and self._releasing.wake_one():
            self.counter += 1

    def _untake(self, _value: object) -> None:
        """Put a permit in, over the limit if it comes back from somebody killed."""
        if not self._acquiring.wake_one():
            self.counter += 1

    def _unrelease(self, _value: object) -> None:
        # The release raised, so it should not have happened. If the permit was
        # acquired in the meantime, it has.
        if self.counter > 0:
            self._take()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, typ: object, val: object, tb: object) -> None:
        self.release()

    def __aenter__(self) -> Awaitable[bool]:
        return self.acquire_async()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.release_async()

    def statistics(self) -> CappedSemaphoreStatistics:
        """Return numbers about the current state."""
        with mutex:
            return CappedSemaphoreStatistics(
                self.counter,
                self.limit,
                self._acquiring.waiting,
                self._releasing.waiting,
            )


def _acquirer() -> GreenWaiter | ThreadWaiter:
    return new_waiter("acquire()")


def _releaser() -> GreenWaiter | ThreadWaiter:
    return new_waiter("release()")


def _checked_count(value: Any, what: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        raise TypeError(f"{what} takes an integer of 0 or more, not {value!r}")
    if value < 0:
        raise ValueError(f"{what} takes an integer of 0 or more, not {value}")
    return int(value)
