"""The waiter protocol, which every primitive is built on.

A primitive keeps a FIFO of waiters (`WaitQueue`) and knows nothing else of whoever
waits. A waiter is woken once, with a value, and knows how to continue its owner:

* `GreenWaiter`: a green thread, by putting it on its hub's run queue;
* `TaskWaiter`: a coroutine, by completing the future that it awaits;
* `ThreadWaiter`: an OS thread without a hub, by releasing a native lock.

Wakers may be on any OS thread; the wake then travels by `call_soon_threadsafe`.

Rules:

* One mutex guards the state of all primitives; see `mutex` for what a finalizer or
  signal handler may do in the middle of its sections.
* Leaving a wait queue and being done are one step under the mutex. So a waiter is
  either still queued or was woken, never in between.
* Its value is set before it is done: on a Python without the interpreter lock, its owner
  may be looking, without the mutex.
* A waiter that could not be woken any more was given nothing: its value is then
  `TIMED_OUT` too, so that the owner's end does not give anything back.
* A time limit is a wake like any other, with the value `TIMED_OUT`.
* An exception (kill, Timeout, cancellation, KeyboardInterrupt) may arrive when the
  wake is already given. What was given is then passed on by `give_back`: no item,
  permit or wake-up is lost or given twice.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import _get_running_loop, get_running_loop
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from greenlet import getcurrent, greenlet

from .._loop.interrupted_waits import look_again
from .._loop.mutex import JUMPS_ARE_SAFE, in_section, park_outside
from .._loop.mutex import drop as drop
from .._loop.mutex import hold as hold
from .._loop.mutex import mutex as mutex
from .._std.errors import HubClosedError
from .._std.originals import allocate_lock, get_ident, time_sleep
from .current import hub_to_park_in
from .hidden_loop import running_loop
from .hub import Hub

# Which process this is. Waiters of OS threads and coroutines that a forked child has from
# its parent are nobody's.
_process = os.getpid()


def notice_fork() -> None:
    """In a forked child, the first time: take nobody's locks and waiters for nobody's.

    Another OS thread, which the child does not have, may have held the mutex. It cannot
    be taken before each fork: what else is done then may wait for green locks.
    """
    global _process  # noqa: PLW0603 - one per process
    process = os.getpid()
    if process != _process:
        _process = process
        mutex._at_fork_reinit()


class _TimedOut:
    def __repr__(self) -> str:
        return "TIMED_OUT"


TIMED_OUT: Final = _TimedOut()


class Waiter:
    """Somebody who waits: woken once, with a value.

    Until then `value` is free for what the owner offers, such as the item to put.
    """

    __slots__ = ("done", "value")

    done: bool
    value: Any

    def wake(self, value: Any = None) -> bool:
        """Continue the owner with a value. The caller holds the mutex.

        Returns:
            False if the owner cannot be continued any more (cancelled already, or its
            loop is closed): somebody else should have the value.
        """
        raise NotImplementedError


AnyWaiter = TypeVar("AnyWaiter", bound=Waiter)


class GreenWaiter(Waiter):
    """A green thread, or an owned hub's main greenlet."""

    __slots__ = ("_greenlet", "_hub")

    # Made by `new_waiter`: up to Python 3.12, an `__init__` doubles what that costs.
    _greenlet: greenlet
    _hub: Hub
    done: bool
    value: Any

    def wake(self, value: Any = None) -> bool:
        hub = self._hub
        if get_ident() != hub.thread_id:
            return self._wake_from_elsewhere(value)
        # Hub.wake, written out: who is made ready is marked as woken in the same step.
        hub.lone = True
        ready = hub.ready
        if ready:
            if self.done:
                return False
            self.value = value
            self.done = True
            ready.append(self._greenlet)
            return True
        if hub.handoffs:
            if self.done:
                return False
            self.value = value
            self.done = True
            hub.handoffs -= 1
            hub.batch.append(self._greenlet)
            return True
        # Hub.schedule, written out, for the same reason.
        while True:
            drains = hub.drains
            try:
                hub.schedule_drain()
            except HubClosedError:
                self.value = TIMED_OUT
                self.done = True
                return False
            if hub.drains == drains and not self.done:
                self.value = value
                self.done = True
                hub.ready.append(self._greenlet)
                return True
            if self.done:
                return False

    def _wake_from_elsewhere(self, value: Any) -> bool:
        hub = self._hub
        if self.done:
            return False
        self.value = value
        self.done = True
        sent = False
        try:
            sent = hub.call_threadsafe(hub.wake, self._greenlet)
        finally:
            # A second time, if an interrupt came before it was known.
            if not sent and not hub.call_threadsafe(hub.wake, self._greenlet):
                self.value = TIMED_OUT
        return sent

    def block(self) -> Any:
        if in_section():
            return park_outside(self.block)
        if self.done:
            return self.value
        hub = self._hub
        # Hub.park, written out: it saves a thirtieth of a way through a queue and back.
        batch = hub.batch
        if batch and (JUMPS_ARE_SAFE or batch[0]):
            for successor in hub.successors:  # noqa: B007
                break
            if successor:
                resumed = successor.switch()
                if not self.done:
                    look_again(hub, hub.park, self._is_done, resumed)
                return self.value
            batch.appendleft(successor)
            del successor
        loop_switch = hub.loop_switch
        resumed = loop_switch()
        if not self.done:
            look_again(hub, hub.park, self._is_done, resumed)
        return self.value

    def _is_done(self) -> bool:
        return self.done

    def let_others_run(self) -> None:
        """Wait for a turn of the loop."""
        self._hub.wake(self._greenlet)
        self._hub.park()

    def block_for(self, queue: WaitQueue, seconds: float) -> Any:
        hub = self._hub
        timer = hub.call_later(seconds, self._expire, queue)
        hub.timers += 1
        try:
            return self.block()
        finally:
            hub.timers -= 1
            timer.cancel()

    def _expire(self, queue: WaitQueue) -> None:
        with mutex:
            if not self.done:
                self.value = TIMED_OUT
                self.done = True
                queue.discard(self)
            elif self.value is not TIMED_OUT:
                return
        # Called a second time, perhaps, if an interrupt came before this.
        self._greenlet.switch()


# Whether this Python can do without the interpreter lock.
FREE_THREADED: Final = "t" in sys.abiflags

# Seconds.
_LOOK_AFTER_OBJECTS = 0.5


class ThreadWaiter(Waiter):
    """An OS thread that has no hub."""

    __slots__ = ("_lock", "_process")

    done: bool
    value: Any

    def __init__(self) -> None:
        self._process = _process
        self._lock = allocate_lock()
        self._lock.acquire()
        self.done = False

    def wake(self, value: Any = None) -> bool:
        if self._process != _process:
            self.value = TIMED_OUT
            self.done = True
            return False
        if self.done:
            return False
        self.value = value
        self.done = True
        self._lock.release()
        return True

    def block(self) -> Any:
        if in_section():
            return park_outside(self.block)
        if FREE_THREADED:
            # An object that this thread has made, and another one drops, is not freed
            # before this one runs again; see `from_thread`.
            while not self._lock.acquire(timeout=_LOOK_AFTER_OBJECTS):
                pass
        else:
            self._lock.acquire()
        return self.value

    def let_others_run(self) -> None:
        """Wait a moment."""
        time_sleep(0)

    def block_for(self, queue: WaitQueue, seconds: float) -> Any:
        if in_section():
            return park_outside(partial(self.block_for, queue, seconds))
        if not self._lock.acquire(timeout=seconds):
            with mutex:
                if not self.done:
                    self.value = TIMED_OUT
                    self.done = True
                    queue.discard(self)
        return self.value


# A time limit beyond this is none. Loops and native locks overflow at different points
# of the remote future, and programs write `timeout=1e100` for "for ever".
_CENTURY = 100 * 365 * 86400.0


class TaskWaiter(Waiter):
    """A coroutine."""

    __slots__ = ("_loop", "_process", "future")

    # Made by `new_task_waiter`, like green ones.
    _loop: asyncio.AbstractEventLoop
    _process: int
    done: bool
    future: asyncio.Future[None]
    value: Any

    def wake(self, value: Any = None) -> bool:
        future, loop = self.future, self._loop
        here = _get_running_loop() is loop or running_loop() is loop
        if self.done:
            return False
        self.value = value
        self.done = True
        if self._process != _process:
            # The parent process's.
            self.value = TIMED_OUT
            return False
        if here:
            try:
                future.set_result(None)
            except asyncio.InvalidStateError:
                # Cancelled, but its coroutine has not run yet to leave the queue.
                self.value = TIMED_OUT
                return False
            return True
        if future.done():
            self.value = TIMED_OUT
            return False
        try:
            loop.call_soon_threadsafe(self._complete)
        except RuntimeError:
            if loop.is_closed():
                self.value = TIMED_OUT
                return False
            raise
        return True

    def _complete(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    def expire(self, queue: WaitQueue) -> None:
        with mutex:
            if self.future.done() or (self.done and self.value is not TIMED_OUT):
                return
            if not self.done:
                self.value = TIMED_OUT
                self.done = True
                queue.discard(self)
        self.future.set_result(None)


def new_waiter(what: str) -> GreenWaiter | ThreadWaiter:
    """Return the waiter for whoever calls.

    Args:
        what: The call that wants to wait, for the error message.

    Raises:
        BlockingInLoopError: The caller is the loop greenlet.
    """
    current = getcurrent()
    hub: Hub | None
    try:
        hub = current._hub  # type: ignore[attr-defined]
    except AttributeError:
        hub = None
    if hub is None:
        hub = hub_to_park_in(what)
        if hub is None:
            return ThreadWaiter()
    waiter = GreenWaiter()
    waiter._greenlet = current
    waiter._hub = hub
    waiter.done = False
    return waiter


def new_task_waiter() -> TaskWaiter:
    """Return a waiter for the coroutine that calls."""
    loop = get_running_loop()
    waiter = TaskWaiter()
    waiter._process = _process
    waiter._loop = loop
    waiter.future = loop.create_future()
    waiter.done = False
    return waiter


GiveBack = Callable[[Any], None]


class WaitQueue(deque[Waiter]):
    """The waiters of one primitive, first come, first served.

    A method that waits does, under the mutex, either what it came for or makes a waiter,
    looks once more and calls ``queue.append(waiter)`` in that very step (see `mutex`);
    leaves the mutex; and calls `wait` or `wait_async`.

    Whoever leaves from the middle (a time limit, a kill) is counted in `left` and swept
    out later: searching a deque costs microseconds per hundred waiters, which
    thousands of waiters with time limits would pay each. The first entry has never
    left, so a queue is true if and only if somebody waits.
    """

    left: int = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self) - self.left

    def pop_first(self) -> Waiter:
        """Take out the first waiter; the caller wakes it. The mutex is held."""
        waiter = self.popleft()
        if self.left:
            self.trim()
        return waiter

    def wake_one(self, value: Any = None) -> bool:
        """Wake the first waiter that can still be woken. The mutex is held.

        Returns:
            Whether there was one.
        """
        while self:
            # Taken out when he has it, or an interrupt between the two would lose him.
            waiter = self[0]
            woken = waiter.wake(value)
            if self and self[0] is waiter:
                del self[0]
                # Not `left`: what the class has is slow to look up, up to Python 3.12.
                if self and self[0].done:
                    self.trim()
            if woken:
                return True
        return False

    def wake_first(self, waiter: Waiter, value: Any) -> bool:
        """Wake the first waiter, which is the one given. The mutex is held.

        Returns:
            Whether it could be woken.
        """
        woken = waiter.wake(value)
        if self and self[0] is waiter:
            del self[0]
        if self.left:
            self.trim()
        return woken

    def wake_all(self, value: Any = None) -> None:
        """Wake every waiter. The mutex is held."""
        while self.wake_one(value):
            pass

    def discard(self, waiter: Waiter) -> None:
        """Take out a waiter that has just become done. The mutex is held."""
        if not self:
            # Who was about to wake it, and has been interrupted, has it in his hands.
            self.left = 0
        elif self[0] is waiter:
            # In one step: `pop_first` may be interrupted before it begins.
            del self[0]
            if self.left:
                self.trim()
        elif self[-1] is waiter:
            self.pop()
        else:
            self.left += 1
            if self.left > 16 and self.left * 2 > len(self):
                self._sweep()

    def trim(self) -> None:
        """Take out those in front who have left."""
        while self and self[0].done:
            del self[0]
            if self.left:
                self.left -= 1
        if not self:
            self.left = 0

    def _sweep(self) -> None:
        # Turned over in place: a finalizer that wakes somebody meanwhile finds a queue
        # that is out of order for once, and not one that is about to be overwritten.
        for _ in range(len(self)):
            if not self:
                return
            waiter = self[0]
            if not waiter.done:
                self.append(waiter)
            elif self.left:
                self.left -= 1
            if self and self[0] is waiter:
                del self[0]

    def wait(
        self,
        waiter: GreenWaiter | ThreadWaiter,
        timeout: float | None,
        give_back: GiveBack | None,
    ) -> Any:
        """Wait as a green thread or OS thread.

        Args:
            waiter: The caller's, queued here.
            timeout: Seconds, or None for as long as it takes.
            give_back: Called under the mutex with the value that this waiter was woken
                with, if an exception keeps the caller from using it.

        Returns:
            What `wake` passed, or `TIMED_OUT`.
        """
        try:
            if timeout is None or timeout > _CENTURY:
                return waiter.block()
            return waiter.block_for(self, timeout)
        except BaseException:
            self.leave(waiter, give_back)
            raise

    async def wait_async(
        self, waiter: TaskWaiter, timeout: float | None, give_back: GiveBack | None
    ) -> Any:
        """Wait as a coroutine; see `wait`."""
        if timeout is None or timeout > _CENTURY:
            timer = None
        else:
            timer = waiter._loop.call_later(timeout, waiter.expire, self)
        try:
            await waiter.future
        except BaseException:
            self.leave(waiter, give_back)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return waiter.value

    def leave(self, waiter: Waiter, give_back: GiveBack | None) -> None:
        with mutex:
            if not waiter.done:
                waiter.value = TIMED_OUT
                waiter.done = True
                self.discard(waiter)
            elif give_back is not None and waiter.value is not TIMED_OUT:
                value = waiter.value
                # What the owner waits for is not his any more.
                waiter.value = TIMED_OUT
                give_back(value)


def checked_timeout(timeout: float | None, what: str) -> float | None:
    """Return a time limit as the primitives take it: None, or seconds >= 0.

    Less than 0 seconds are none, as eventlet takes it.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not a number (nan).
    """
    if timeout is None:
        return None
    try:
        if timeout >= 0:
            return timeout
        if timeout < 0:
            return 0
    except TypeError:
        raise TypeError(
            f"{what} takes a timeout in seconds or None, not {timeout!r}"
        ) from None
    raise ValueError(
        f"{what} takes a timeout in seconds, or None to wait for as long as it takes, "
        f"not {timeout!r}"
    )


def acquire_timeout(blocking: bool, timeout: float | None) -> float | None:
    """Return the time limit that the arguments of an `acquire` ask for.

    As in `threading`: -1 means for as long as it takes, like None.

    Raises:
        TypeError: `timeout` is not a number.
        ValueError: It is negative otherwise, or was given with ``blocking=False``.
    """
    if timeout == -1:
        timeout = None
    if not blocking:
        if timeout is not None:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0
    checked = checked_timeout(timeout, "acquire()")
    if checked != timeout:
        raise ValueError(
            "acquire() takes a timeout of 0 seconds or more, or None or -1 to wait for as "
            f"long as it takes, not {timeout!r}"
        )
    return checked
