"""`GreenPool`: at most so many green threads at once.

The green threads are counted by `Slots`; mapping is `results`' business. A green thread
of the pool never waits for a slot of it: all of them might, and none would ever end. It
does the work itself, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from greenlet import getcurrent

from .._kernel.current import get_hub
from .._kernel.waiters import (
    TIMED_OUT,
    TaskWaiter,
    checked_timeout,
    mutex,
    new_waiter,
)
from .arguments import check_callable, checked_size
from .results import Feed, OrderedResults, UnorderedResults
from .slots import Slots
from .thread import GreenThread

T = TypeVar("T")


class GreenPool:
    """Runs functions in green threads, a limited number of them at a time.

    Args:
        size: How many. When so many are running, `spawn` waits for one of them to end;
            in a pool of size 0 it waits for `resize`.

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is negative.

    Attributes:
        coroutines_running: The green threads that have not ended. Look, don't touch;
            to go through it while others may run, copy it first.
    """

    def __init__(self, size: int = 1000) -> None:
        self._slots = Slots(checked_size(size, "GreenPool"))
        self.coroutines_running = self._slots.running

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} size={self.size} running={self.running()} "
            f"waiting={self.waiting()} at {id(self):#x}>"
        )

    # -- the numbers -----------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many may run at once; change it with `resize`."""
        return self._slots.size

    def free(self) -> int:
        """Return how many functions could start now without waiting.

        After `resize` to less than are running it is negative: so many have to end
        before the pool is just full.
        """
        return self._slots.free

    def running(self) -> int:
        """Return how many green threads of the pool have not ended."""
        return len(self.coroutines_running)

    def waiting(self) -> int:
        """Return how many wait for a free slot."""
        return self._slots.waiters.waiting

    @property
    def sem(self) -> Slots:
        """The pool's slots, in the form of a semaphore, as eventlet has them."""
        return self._slots

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
        self._slots.resize(checked_size(new_size, "GreenPool.resize"))

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
        slots = self._slots
        if slots.take():
            return slots.start(function, args, kwargs)
        thread = GreenThread(get_hub(), function, args, kwargs)
        thread.run_in_place()
        return thread

    def spawn_n(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Like `spawn`, for functions whose result nobody needs.

        Raises:
            TypeError: `function` cannot be called.
        """
        return self.spawn(function, *args, **kwargs)

    async def spawn_async(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Like `spawn`, for coroutines: it awaits a free slot.

        Raises:
            TypeError: `function` cannot be called.
        """
        check_callable(function, "GreenPool.spawn_async")
        await self._slots.take_async()
        return self._slots.start(function, args, kwargs)

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
        idle = self._slots.idle
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
        idle = self._slots.idle
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
        feed = Feed(self._slots, function, ordered=True)
        return OrderedResults(feed, self._feeder(feed, iterable))

    def imap_unordered(
        self, function: Callable[..., T], *iterables: Iterable[Any]
    ) -> UnorderedResults[T]:
        """Like `imap`, but yields results, and raises failures, as they come."""
        feed = Feed(self._slots, function, ordered=False)
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
