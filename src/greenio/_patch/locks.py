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
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from .._kernel.current import runs_here
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
    new_waiter,
    notice_fork,
)
from .._loop.mutex import in_section, park_outside
from .._std.errors import BlockingInLoopError
from .._std.interpreter_exit import is_exiting
from .._std.originals import get_ident, monotonic
from .._std.public_names import claim_as
from .._sync.lock import Lock, RLock, caller

# threading.TIMEOUT_MAX
_TIMEOUT_MAX = 9223372036.0


# How often an OS thread that blocks looks who holds the lock, in seconds.
_LOOK_AGAIN = 0.01


class _BlockingWaiter(ThreadWaiter):
    """The loop greenlet, which blocks its OS thread.

    While it was making up its mind to, the lock may have been handed to a green thread of
    this very loop.

    Args:
        is_here: Returns whether the holder needs this OS thread to go on.
    """

    __slots__ = ("_is_here",)

    def __init__(self, is_here: Callable[[], bool]) -> None:
        super().__init__()
        self._is_here = is_here

    def block(self) -> Any:
        while not self._block_a_while(_LOOK_AGAIN):
            pass
        return self.value

    def block_for(self, queue: WaitQueue, seconds: float) -> Any:
        deadline = monotonic() + seconds
        while (left := deadline - monotonic()) > _LOOK_AGAIN:
            if self._block_a_while(_LOOK_AGAIN):
                return self.value
        return super().block_for(queue, max(left, 0))

    def _block_a_while(self, seconds: float) -> bool:
        if in_section():
            return bool(park_outside(partial(self._block_a_while, seconds)))
        if self._lock.acquire(blocking=False):
            return True
        if self._is_here():
            raise BlockingInLoopError("acquire()")
        return self._lock.acquire(timeout=seconds)


def _place_of(waiter: Waiter) -> object:
    """Where a waiter will go on: its OS thread's number, or its loop."""
    if isinstance(waiter, GreenWaiter):
        return waiter._hub.thread_id
    if isinstance(waiter, TaskWaiter):
        return waiter._loop
    return None


def _root_of(line: greenlet) -> greenlet:
    """The main greenlet of the OS thread that a greenlet is of."""
    while line.parent is not None:
        line = line.parent
    return line


def _goes_on_here(owner: Any) -> bool:
    """Whether what owns a lock needs this OS thread to go on."""
    if isinstance(owner, greenlet):
        return _root_of(owner) is _root_of(getcurrent())
    # A Task. One whose loop has stopped never goes on.
    loop, its_loop = running_loop(), owner.get_loop()
    return loop is None or runs_here(its_loop, loop) or not its_loop.is_running()


def _check_timeout(timeout: float) -> None:
    if timeout != -1:
        if timeout < 0:
            raise ValueError("timeout value must be a non-negative number")
        if timeout > _TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")


class ThreadLock(Lock):
    """The lock of the patched `threading.Lock`."""

    def __init__(self, *_: object) -> None:
        # eventlet's `allocate_lock` takes arguments, which mean nothing.
        super().__init__()
        self._place: object = None

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} greenio lock object at {id(self):#x}>"

    # Counter and place change in one step: see `mutex`.

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock; see `threading.Lock.acquire`."""
        here = get_ident()
        with mutex:
            if self.counter > 0 and blocking and timeout == -1:
                self.counter: int = 0
                self._place = here
                return True
        if timeout is not None and blocking:
            _check_timeout(timeout)
        limit = acquire_timeout(blocking, timeout)
        if self._take_or_queue(here, None):
            return True
        if limit == 0:
            return False
        waiter: GreenWaiter | ThreadWaiter
        in_front = False
        try:
            waiter = new_waiter("acquire()")
        except BlockingInLoopError:
            if self._is_held_here():
                raise
            waiter, in_front = _BlockingWaiter(self._is_held_here), True
        except RuntimeError:
            if not is_exiting():
                raise
            return True
        if self._take_or_queue(here, waiter, in_front=in_front):
            return True
        return self._waiters.wait(waiter, limit, self._give_back) is not TIMED_OUT

    def _take_or_queue(
        self, here: int, waiter: Waiter | None, *, in_front: bool = False
    ) -> bool:
        with mutex:
            if self.counter > 0:
                self.counter = 0
                self._place = here
                return True
            if in_front and waiter is not None:
                # Of green threads of this loop: they could not pass it on.
                self._waiters.appendleft(waiter)
            elif waiter is not None:
                self._waiters.append(waiter)
            return False

    def _is_held_here(self) -> bool:
        place = self._place
        return place == get_ident() or (place is not None and place is running_loop())

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Take the lock as a coroutine; see `acquire`."""
        acquired = await super().acquire_async(timeout)
        if acquired:
            self._place = get_ident()
        return acquired

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
            self._place = _place_of(waiter)
            if waiters.wake_first(waiter, None):
                return
        self.counter = 1

    release_lock = release

    def locked_lock(self) -> bool:
        """The old name of `locked`."""
        return self.locked()


class ThreadRLock(RLock):
    """The lock of the patched `threading.RLock`.

    As that does, it takes any arguments and ignores them, until Python 3.14.
    """

    def __init__(self, *ignored: object, **also_ignored: object) -> None:
        if (ignored or also_ignored) and sys.version_info >= (3, 13):
            if sys.version_info >= (3, 15):
                raise TypeError("RLock() takes no arguments")
            warnings.warn(
                "Passing arguments to RLock is deprecated and will be removed in 3.15",
                DeprecationWarning,
                stacklevel=2,
            )
        # The first that `threading` does in a forked child is to make such a lock.
        notice_fork()
        super().__init__()

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return (
            f"<{state} greenio RLock object owner={self._owner!r} "
            f"count={self._count} at {id(self):#x}>"
        )

    # Libraries take such a lock dozens of times per request, and hardly ever wait for it. So
    # what `RLock` does when nobody has to wait is written out here: it saves ten calls.

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Take the lock; see `threading.RLock.acquire`."""
        if blocking and timeout == -1:
            me = caller()
            try:
                hold()
                if self._owner is me:
                    self._count += 1
                    return True
                if self._count == 0:
                    self._owner = me
                    self._count = 1
                    return True
            finally:
                drop()
        return self._acquire_slowly(blocking, timeout)

    if not TYPE_CHECKING:
        # Without the call of the inherited one, which is the same to type checkers.
        __enter__ = acquire

    def _acquire_slowly(self, blocking: bool, timeout: float | None) -> bool:
        if timeout is not None and timeout != -1 and blocking:
            _check_timeout(timeout)
        try:
            return super().acquire(blocking, timeout)
        except BlockingInLoopError:
            if self._is_held_here():
                raise
            return self._block(acquire_timeout(blocking, timeout), 1)
        except RuntimeError:
            if not is_exiting():
                raise
            return True

    def release(self) -> None:
        """Release the lock; see `threading.RLock.release`."""
        me = caller()
        try:
            hold()
            if self._owner is me:
                if self._count > 1:
                    self._count -= 1
                    return
                if not self._waiters:
                    self._owner = None
                    self._count = 0
                    return
        finally:
            drop()
        try:
            super().release()
        except RuntimeError:
            if not is_exiting():
                raise

    def _acquire_restore(self, saved: Any) -> None:
        if isinstance(saved, tuple):
            # Who has released the real lock, which this one took the place of meanwhile.
            saved = saved[0]
        try:
            super()._acquire_restore(saved)
        except BlockingInLoopError:
            if self._is_held_here():
                raise
            self._block(None, saved)
        except RuntimeError:
            if not is_exiting():
                raise

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
        """Block this OS thread until whoever holds the lock, elsewhere, releases it."""
        waiter = partial(_BlockingWaiter, self._is_held_here)
        # In front of green threads of this loop: they could not pass it on.
        return self._acquire(count, timeout, waiter, in_front=True)

    def _is_held_here(self) -> bool:
        owner = self._owner
        return owner is not None and _goes_on_here(owner)


# Programs know them by these names.
claim_as("greenio.green.thread", "LockType", ThreadLock)
claim_as("greenio.green.thread", "RLock", ThreadRLock)
