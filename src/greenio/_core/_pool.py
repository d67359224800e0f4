"""`GreenPool`: at most so many green threads at once.

A pool is a number of free slots and a FIFO of those who wait for one. A green thread of
the pool is a `GreenThread` that gives its slot back when it ends, to whoever waits
longest, so a spawn on a pool costs hardly more than a spawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from greenlet import getcurrent

from ._current import get_hub
from ._greenthread import GreenThread, check_callable
from ._hub import Hub
from ._pile import OrderedResults, UnorderedResults
from ._waiters import TaskWaiter, WaitQueue, mutex, new_waiter


class PoolThread(GreenThread):
    """A green thread that holds a slot of a pool."""

    __slots__ = ("_pool",)

    def __init__(
        self,
        hub: Hub,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        pool: GreenPool,
    ) -> None:
        GreenThread.__init__(self, hub, func, args, kwargs)
        self._pool: GreenPool | None = pool

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        pool = self._pool
        self._pool = None
        if pool is not None:
            pool._ended(self)
        GreenThread._end(self, state, result, error)


class GreenPool:
    """Runs functions in green threads, a limited number of them at a time.

    Args:
        size: How many; `spawn` waits for a free slot when so many are running.

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is negative.
    """

    def __init__(self, size: int = 1000) -> None:
        self.size = checked_size(size, "GreenPool")
        self.coroutines_running: set[GreenThread] = set()
        # May be negative for a while after `resize` to less.
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
        """Return how many functions could start now without waiting."""
        return self._free

    def running(self) -> int:
        """Return how many green threads of the pool have not ended."""
        return len(self.coroutines_running)

    def waiting(self) -> int:
        """Return how many wait for a free slot."""
        return self._waiters.waiting

    def resize(self, new_size: int) -> None:
        """Change how many may run at once.

        What runs goes on; if the pool is too full now, nothing starts until enough of
        it has ended.

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
        """Take a slot, waiting for it as a green thread.

        Returns:
            False if the caller is one of the pool's own and the pool is full: waiting
            could then be for ever, so the caller does the work itself.
        """
        with mutex:
            if self._free > 0:
                self._free -= 1
                return True
            if getcurrent() in self.coroutines_running:
                return False
            waiter = new_waiter("spawning on a full GreenPool")
            waiters = self._waiters
            waiters.append(waiter)
        waiters.wait(waiter, None, self._give_back)
        return True

    def _take_slot_if_free(self) -> bool:
        with mutex:
            if self._free > 0:
                self._free -= 1
                return True
        return False

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
        """Give a slot back; the mutex is held."""
        waiters = self._waiters
        if self._free < 0 or not (waiters and waiters.wake_one()):
            self._free += 1

    def _ended(self, thread: GreenThread) -> None:
        with mutex:
            self.coroutines_running.discard(thread)
            self._give_back()
            if self._idle and not self.coroutines_running:
                self._idle.wake_all()

    def _start(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> GreenThread:
        """Start a function in a slot that the caller has taken."""
        try:
            hub: Hub = getcurrent()._hub  # type: ignore[attr-defined]
        except AttributeError:
            hub = get_hub()
        try:
            thread = PoolThread(hub, func, args, kwargs, self)
            self.coroutines_running.add(thread)
            hub.wake(thread)
        except BaseException:
            with mutex:
                self._give_back()
            raise
        return thread

    # -- spawning ------------------------------------------------------------------------

    def spawn(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Run a function in a green thread, when there is a free slot.

        Called by one of the pool's own green threads while the pool is full, it runs
        the function at once, in the caller: to wait for a slot could be for ever.

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
        if getcurrent() in self.coroutines_running:
            raise RuntimeError(
                "waitall() was called by a green thread of the pool itself, which "
                "would wait for its own end; call it from outside the pool"
            )
        while True:
            with mutex:
                if not self.coroutines_running:
                    return
                waiter = new_waiter("GreenPool.waitall()")
                self._idle.append(waiter)
            self._idle.wait(waiter, None, None)

    async def waitall_async(self) -> None:
        """Wait until every green thread of the pool has ended, as a coroutine."""
        while True:
            with mutex:
                if not self.coroutines_running:
                    return
                waiter = TaskWaiter()
                self._idle.append(waiter)
            await self._idle.wait_async(waiter, None, None)

    # -- mapping -------------------------------------------------------------------------

    def imap(
        self, function: Callable[..., Any], *iterables: Iterable[Any]
    ) -> OrderedResults:
        """Apply a function to every item, concurrently, and yield results in order.

        The input is consumed as results are taken, a pool's size ahead at most. An
        exception of the function is raised at its item's place; iterating can go on
        after it.

        Args:
            function: What to call.
            *iterables: Where its arguments come from, one from each.

        Returns:
            An iterator.

        Raises:
            TypeError: `function` cannot be called.
        """
        return self.starmap(function, zip(*iterables, strict=False))

    def starmap(
        self, function: Callable[..., Any], iterable: Iterable[Iterable[Any]]
    ) -> OrderedResults:
        """Like `imap`, with argument tuples from one iterable."""
        check_callable(function, "GreenPool.imap")
        return OrderedResults(self, function, iterable)

    def imap_async(
        self, function: Callable[..., Any], *iterables: Iterable[Any]
    ) -> OrderedResults:
        """Like `imap`, for ``async for``."""
        return self.starmap_async(function, zip(*iterables, strict=False))

    def starmap_async(
        self, function: Callable[..., Any], iterable: Iterable[Iterable[Any]]
    ) -> OrderedResults:
        """Like `starmap`, for ``async for``."""
        return self.starmap(function, iterable)

    def imap_unordered(
        self, function: Callable[..., Any], *iterables: Iterable[Any]
    ) -> UnorderedResults:
        """Like `imap`, but yields results as they come."""
        check_callable(function, "GreenPool.imap_unordered")
        return UnorderedResults(self, function, zip(*iterables, strict=False))


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
