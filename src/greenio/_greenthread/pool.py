"""`GreenPool`: at most so many green threads at once.

A pool is a number of free slots and a FIFO of those who wait for one. A green thread of
the pool is a `GreenThread` that gives its slot back when it ends, so a spawn on a pool
costs hardly more than a spawn.

* A slot that becomes free while somebody waits is handed to whoever has waited longest;
  so nobody waits while a slot is free, and nobody who comes later can snatch it.
* A slot that was handed to somebody who is killed, times out or is cancelled before
  using it goes to the next one (`GreenPool._give_back`).
* A green thread of the pool never waits for a slot of it: all of them might, and none
  would ever end. It does the work itself, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from greenlet import getcurrent

from .._kernel.current import get_hub
from .._kernel.hub import Hub
from .._kernel.waiters import (
    TIMED_OUT,
    TaskWaiter,
    WaitQueue,
    checked_timeout,
    drop,
    hold,
    mutex,
    new_waiter,
)
from .greenthread import GreenThread, check_callable
from .results import Feed, OrderedResults, UnorderedResults

T = TypeVar("T")


class PoolThread(GreenThread):
    """A green thread that holds a slot of a pool."""

    __slots__ = ("_pool",)

    _pool: GreenPool

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        pool = self._pool
        try:
            hold()
            running = pool.coroutines_running
            running.discard(self)
            # GreenPool._give_back, written out.
            waiters = pool._waiters
            if pool._free < 0 or not (waiters and waiters.wake_one()):
                pool._free += 1
            # Whoever was just handed the slot comes before these, and fills it.
            if pool._idle and not running:
                pool._idle.wake_all()
        finally:
            drop()
        GreenThread._end(self, state, result, error)


class GreenPool:
    """Runs functions in green threads, a limited number of them at a time.

    Args:
        size: How many. When so many are running, `spawn` waits for one of them to end;
            in a pool of size 0 it waits for `resize`.

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is negative.

    Attributes:
        size: How many may run at once; change it with `resize`.
        coroutines_running: The green threads that have not ended. Look, don't touch;
            to go through it while others may run, copy it first.
    """

    def __init__(self, size: int = 1000) -> None:
        self.size = checked_size(size, "GreenPool")
        self.coroutines_running: set[GreenThread] = set()
        # Negative for a while after `resize` to less than are running.
        self._free = size
        self._waiters = WaitQueue()
        self._idle = WaitQueue()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} size={self.size} running={self.running()} "
            f"waiting={self.waiting()} at {id(self):#x}>"
        )

    # -- the numbers -----------------------------------------------------------------

    def free(self) -> int:
        """Return how many functions could start now without waiting.

        After `resize` to less than are running it is negative: so many have to end
        before the pool is just full.
        """
        return self._free

    def running(self) -> int:
        """Return how many green threads of the pool have not ended."""
        return len(self.coroutines_running)

    def waiting(self) -> int:
        """Return how many wait for a free slot."""
        return self._waiters.waiting

    @property
    def sem(self) -> Slots:
        """The pool's slots, in the form of a semaphore, as eventlet has them."""
        return Slots(self)

    @property
    def no_coros_running(self) -> Idleness:
        """That nothing is running, in the form of an event, as eventlet has it."""
        return Idleness(self)

    def resize(self, new_size: int) -> None:
        """Change how many may run at once.

        What runs goes on; if that is too much now, nothing starts until enough of it
        has ended.

        Args:
            new_size: The new limit.

        Raises:
            TypeError: `new_size` is not an integer.
            ValueError: `new_size` is negative.
        """
        checked_size(new_size, "GreenPool.resize")
        with mutex:
            self._free += new_size - self.size
            self.size = new_size
            waiters = self._waiters
            while self._free > 0 and waiters and waiters.wake_one():
                self._free -= 1

    # -- slots -------------------------------------------------------------------------

    def _take_slot(self) -> bool:
        """Take a slot, waiting for it.

        Returns:
            False if there is none and the caller is one of the pool's own.
        """
        try:
            hold()
            if self._free > 0:
                self._free -= 1
                return True
            if getcurrent() in self.coroutines_running:
                return False
            waiter = new_waiter("spawning on a full GreenPool")
            waiters = self._waiters
            waiters.append(waiter)
        finally:
            drop()
        waiters.wait(waiter, None, self._give_back)
        return True

    async def _take_slot_async(self) -> None:
        with mutex:
            if self._free > 0:
                self._free -= 1
                return
            waiter = TaskWaiter()
            waiters = self._waiters
            waiters.append(waiter)
        await waiters.wait_async(waiter, None, self._give_back)

    def _give_back(self, _value: object = None) -> None:
        """Take a slot back, or hand it on; the mutex is held."""
        waiters = self._waiters
        if self._free < 0 or not (waiters and waiters.wake_one()):
            self._free += 1

    def _start(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> GreenThread:
        """Start a function in a slot that the caller has taken."""
        thread: PoolThread | None = None
        try:
            try:
                hub: Hub = getcurrent()._hub  # type: ignore[attr-defined]
            except AttributeError:
                hub = get_hub()
            thread = PoolThread(hub, func, args, kwargs)
            thread._pool = self
            self.coroutines_running.add(thread)
            # Hub.wake, written out.
            ready = hub.ready
            if not ready:
                if hub.handoffs:
                    hub.handoffs -= 1
                    hub.batch.append(thread)
                    return thread
                hub.schedule_drain()
            ready.append(thread)
        except BaseException:
            with mutex:
                if thread is not None:
                    self.coroutines_running.discard(thread)
                self._give_back()
            raise
        return thread

    # -- spawning ------------------------------------------------------------------------

    def spawn(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Run a function in a green thread, when there is a free slot.

        Called by one of the pool's own green threads while the pool is full, it runs
        the function at once, in the caller: waiting for a slot might last for ever. An
        `Exception` of the function is then left to `GreenThread.wait`, as ever; what
        comes from outside (a kill, a `Timeout`) ends the caller too.

        Args:
            function: The function.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The green thread.

        Raises:
            TypeError: `function` cannot be called.
            BlockingInLoopError: Called in the loop greenlet while the pool is full; use
                `spawn_async` there.
        """
        if not callable(function):
            check_callable(function, "GreenPool.spawn")
        if self._take_slot():
            return self._start(function, args, kwargs)
        thread = GreenThread(get_hub(), function, args, kwargs)
        thread.run_in_place()
        return thread

    def spawn_n(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Like `spawn`, for functions whose result nobody needs.

        A failure goes to the loop's exception handler at once.

        Raises:
            TypeError: `function` cannot be called.
        """
        thread = self.spawn(function, *args, **kwargs)
        thread.fire_and_forget = True
        return thread

    async def spawn_async(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Like `spawn`, for coroutines: it awaits a free slot.

        Raises:
            TypeError: `function` cannot be called.
        """
        check_callable(function, "GreenPool.spawn_async")
        await self._take_slot_async()
        return self._start(function, args, kwargs)

    # -- waiting -------------------------------------------------------------------------

    def waitall(self) -> None:
        """Wait until every green thread of the pool has ended.

        Raises:
            RuntimeError: Called by one of them: it would wait for itself.
            BlockingInLoopError: Called in the loop greenlet while some are running; use
                `waitall_async` there.
        """
        self._wait_idle(None, "GreenPool.waitall()")

    def _wait_idle(self, timeout: float | None, what: str) -> bool:
        idle = self._idle
        while True:
            with mutex:
                if not self.coroutines_running:
                    return True
                if timeout == 0:
                    return False
                if getcurrent() in self.coroutines_running:
                    raise RuntimeError(
                        f"{what} was called by a green thread of the pool itself, "
                        "which would wait for its own end; call it from outside the "
                        "pool"
                    )
                waiter = new_waiter(what)
                idle.append(waiter)
            outcome = idle.wait(waiter, timeout, None)
            if timeout is not None:
                return outcome is not TIMED_OUT

    async def waitall_async(self) -> None:
        """Wait until every green thread of the pool has ended, as a coroutine."""
        await self._wait_idle_async(None)

    async def _wait_idle_async(self, timeout: float | None) -> bool:
        idle = self._idle
        while True:
            with mutex:
                if not self.coroutines_running:
                    return True
                if timeout == 0:
                    return False
                waiter = TaskWaiter()
                idle.append(waiter)
            outcome = await idle.wait_async(waiter, timeout, None)
            if timeout is not None:
                return outcome is not TIMED_OUT

    # -- mapping -------------------------------------------------------------------------

    def imap(
        self, function: Callable[..., T], *iterables: Iterable[Any]
    ) -> OrderedResults[T]:
        """Apply a function to every item, concurrently, and yield results in order.

        The input is read in a green thread of its own, so it may wait, and may depend
        on results that were taken already. At most a pool's size of results are being
        made or lie ready; then no more of the input is read until one is taken.

        An exception of the function is raised at its item's place, one of the input
        behind the last result; iterating can go on after it.

        Args:
            function: What to call.
            *iterables: Where its arguments come from, one from each; the shortest ends
                it.

        Returns:
            An iterator, for ``for`` and for ``async for``. Once it is dropped, nothing
            more of the input is read.

        Raises:
            TypeError: `function` cannot be called.
        """
        return self.starmap(function, zip(*iterables, strict=False))

    def starmap(
        self, function: Callable[..., T], iterable: Iterable[Iterable[Any]]
    ) -> OrderedResults[T]:
        """Like `imap`, with argument tuples from one iterable."""
        feed = Feed(self, function, ordered=True)
        return OrderedResults(feed, self._feeder(feed, iterable))

    def imap_unordered(
        self, function: Callable[..., T], *iterables: Iterable[Any]
    ) -> UnorderedResults[T]:
        """Like `imap`, but yields results, and raises failures, as they come."""
        feed = Feed(self, function, ordered=False)
        rows = zip(*iterables, strict=False)
        return UnorderedResults(feed, self._feeder(feed, rows))

    def _feeder(self, feed: Feed, rows: Iterable[Iterable[Any]]) -> GreenThread:
        check_callable(feed.function, "GreenPool.imap")
        hub = get_hub()
        feeder = GreenThread(hub, feed.run, (iter(rows),), {})
        feeder.link(feed.ended)
        hub.wake(feeder)
        return feeder

    # For coroutines, by the names that such methods have everywhere.
    imap_async = imap
    starmap_async = starmap
    imap_unordered_async = imap_unordered


class Slots:
    """The slots of a pool; see `GreenPool.sem`."""

    __slots__ = ("_pool",)

    def __init__(self, pool: GreenPool) -> None:
        self._pool = pool

    @property
    def counter(self) -> int:
        """How many slots are free."""
        return self._pool._free

    @property
    def balance(self) -> int:
        """How many slots are free; if negative, how many more would be needed now."""
        with mutex:
            return self._pool._free - self._pool._waiters.waiting

    def locked(self) -> bool:
        """Whether `GreenPool.spawn` would have to wait now."""
        return self._pool._free <= 0


class Idleness:
    """That a pool runs nothing; see `GreenPool.no_coros_running`."""

    __slots__ = ("_pool",)

    def __init__(self, pool: GreenPool) -> None:
        self._pool = pool

    def ready(self) -> bool:
        """Whether nothing is running."""
        return not self._pool.coroutines_running

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is running; see `GreenPool.waitall`.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it came to that.
        """
        what = "no_coros_running.wait()"
        return self._pool._wait_idle(checked_timeout(timeout, what), what)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """Wait as a coroutine; see `wait`."""
        what = "no_coros_running.wait_async()"
        return await self._pool._wait_idle_async(checked_timeout(timeout, what))


def checked_size(size: Any, what: str) -> int:
    """Return a pool's size.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is negative.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{what}() takes a whole number as size, not {size!r}")
    if size < 0:
        raise ValueError(f"{what}() takes a size of 0 or more, not {size!r}")
    return size
