"""What `threading` calls a lock: `greenio.lock` with the habits of `_thread`.

A patched program shares its locks between green threads, coroutines and real threads
(the logging module's with an executor's workers, say). So in one case a green lock
blocks the thread: in the loop greenlet, when a *real* thread holds it, exactly as an
unpatched lock would. That thread goes on and releases it. When a green thread of this
very loop holds it, nothing could, and it is an error.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from .._kernel.hidden_loop import running_loop
from .._kernel.waiters import (
    TIMED_OUT,
    GreenWaiter,
    TaskWaiter,
    ThreadWaiter,
    Waiter,
    acquire_timeout,
    mutex,
    notice_fork,
)
from .._std.errors import BlockingInLoopError
from .._std.interpreter_exit import is_exiting
from .._std.originals import get_ident
from .._sync.lock import Lock, RLock

# threading.TIMEOUT_MAX
_TIMEOUT_MAX = 9223372036.0


def _place_of(waiter: Waiter) -> object:
    """Where a waiter will go on: its OS thread's number, or its loop."""
    if isinstance(waiter, GreenWaiter):
        return waiter._hub.thread_id
    if isinstance(waiter, TaskWaiter):
        return waiter._loop
    return None


def _is_here(place: object) -> bool:
    """Whether what goes on there needs the loop of this OS thread."""
    return place == get_ident() or (place is not None and place is running_loop())


def _check_timeout(timeout: float) -> None:
    if timeout != -1:
        if timeout < 0:
            raise ValueError("timeout value must be a non-negative number")
        if timeout > _TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")


class ThreadLock(Lock):
    """The lock of the patched `threading.Lock`."""

    def __init__(self) -> None:
        super().__init__()
        self._place: object = None

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} greenio lock object at {id(self):#x}>"

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock; see `threading.Lock.acquire`."""
        with mutex:
            if self.counter > 0 and blocking and timeout == -1:
                self.counter = 0
                self._place = get_ident()
                return True
        if timeout is not None and blocking:
            _check_timeout(timeout)
        try:
            acquired = super().acquire(blocking, timeout)
        except BlockingInLoopError:
            if _is_here(self._place):
                raise
            acquired = self._block(acquire_timeout(blocking, timeout))
        except RuntimeError:
            if not is_exiting():
                raise
            return True
        if acquired:
            self._place = get_ident()
        return acquired

    def _block(self, timeout: float | None) -> bool:
        """Block this OS thread until whoever holds the lock, elsewhere, releases it."""
        with mutex:
            if self.counter > 0:
                self.counter = 0
                return True
            # In front of green threads of this loop: they could not pass it on.
            waiter = ThreadWaiter()
            if self.counter > 0:
                self.counter = 0
                return True
            self._waiters.appendleft(waiter)
        return self._waiters.wait(waiter, timeout, self._give_back) is not TIMED_OUT

    acquire_lock = acquire

    def release(self) -> None:  # type: ignore[override]
        """Release the lock; see `threading.Lock.release`."""
        with mutex:
            if self.counter > 0:
                raise RuntimeError("release unlocked lock")
            self._give_back(None)

    def _give_back(self, _value: object) -> None:
        waiters = self._waiters
        while waiters:
            waiter = waiters[0]
            if waiters.wake_first(waiter, None):
                self._place = _place_of(waiter)
                return
        self.counter = 1

    release_lock = release

    def locked_lock(self) -> bool:
        """The old name of `locked`."""
        return self.locked()


class ThreadRLock(RLock):
    """The lock of the patched `threading.RLock`.

    As that does, it takes any arguments and ignores them.
    """

    def __init__(self, *ignored: object, **also_ignored: object) -> None:
        if (ignored or also_ignored) and sys.version_info >= (3, 13):
            warnings.warn(
                "Passing arguments to RLock is deprecated and will be removed in 3.15",
                DeprecationWarning,
                stacklevel=2,
            )
        # The first that `threading` does in a forked child is to make such a lock.
        notice_fork()
        super().__init__()
        self._place: object = None

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return (
            f"<{state} greenio RLock object owner={self._owner!r} "
            f"count={self._count} at {id(self):#x}>"
        )

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock; see `threading.RLock.acquire`."""
        if timeout is not None and timeout != -1 and blocking:
            _check_timeout(timeout)
        try:
            acquired = super().acquire(blocking, timeout)
        except BlockingInLoopError:
            if _is_here(self._place):
                raise
            acquired = self._block(acquire_timeout(blocking, timeout), 1)
        except RuntimeError:
            if not is_exiting():
                raise
            return True
        if acquired:
            self._place = get_ident()
        return acquired

    def release(self) -> None:
        """Release the lock; see `threading.RLock.release`."""
        try:
            super().release()
        except RuntimeError:
            if not is_exiting():
                raise

    def __enter__(self) -> bool:
        return self.acquire()

    def _acquire_restore(self, saved: Any) -> None:
        try:
            super()._acquire_restore(saved)
        except BlockingInLoopError:
            if _is_here(self._place):
                raise
            self._block(None, saved)
        except RuntimeError:
            if not is_exiting():
                raise
        self._place = get_ident()

    # At exit `acquire` succeeds whoever held it; so it is the caller's, and he may notify.

    def _is_owned(self) -> bool:
        return super()._is_owned() or is_exiting()

    def _release_save(self) -> Any:
        try:
            return super()._release_save()
        except RuntimeError:
            if not is_exiting():
                raise
            return 1

    def _block(self, timeout: float | None, count: int) -> bool:
        # In front, as ThreadLock's.
        return self._acquire(count, timeout, ThreadWaiter, in_front=True)

    def _handed_to(self, waiter: Waiter) -> None:
        self._place = _place_of(waiter)
