"""`GreenPool`: at most so many green threads at once.

The green threads are counted by `Slots`; mapping is `results`' business. A green thread
of the pool never waits for a slot of it: all of them might, and none would ever end. It
does the work itself, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, overload

from greenlet import getcurrent

from .._kernel.current import get_hub
from .._kernel.waiters import (
    TIMED_OUT,
    checked_timeout,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._std.errors import WaitingForItselfError
from .._std.protocols import ClosableResults, PoolIdleness, PoolSlots
from .arguments import check_callable, checked_size
from .results import Feed, OrderedResults, UnorderedResults
from .slots import Slots
from .thread import GreenThread

P = ParamSpec("P")
T = TypeVar("T")
Argument = TypeVar("Argument")


@dataclass(frozen=True)
class GreenPoolStatistics:
    """What `GreenPool.statistics` returns.

    Attributes:
        size: How many may run at once.
        running: How many green threads of the pool have not ended.
        free: How many could start now; negative after `resize` to less than are running.
        waiting: How many wait for a free slot.
    """

    size: int
    running: int
    free: int
    waiting: int


class GreenPool:
    """Runs functions in green threads, a limited number of them at a time.

    Args:
        size: How many. When so many are running, `spawn` waits for one of them to end;
            in a pool of size 0 it waits for `resize`.

    Raises:
        TypeError: `size` is not an integer, nor ``int(size)`` one, as of ``"10"``.
        ValueError: `size` is negative.
    """

    def __init__(self, size: int | str = 1000) -> None:
        if isinstance(size, (str, float)):
            # As eventlet takes it: from the environment, or from a division.
            with suppress(ValueError, OverflowError):
                size = int(size)
        self._slots = Slots(checked_size(size, "GreenPool"))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} size={self.size} running={self.running()} "
            f"waiting={self.waiting()} at {id(self):#x}>"
        )

    # -- the numbers -----------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many may run at once; change it with `resize`.

        Assigned to, it is only what `resize` reckons from, as in eventlet.
        """
        return self._slots.size

    @size.setter
    def size(self, value: int) -> None:
        self._slots.size = value

    def free(self) -> int:
        """Return how many functions could start now without waiting.

        After `resize` to less than are running it is negative: so many have to end
        before the pool is just full.
        """
        return self._slots.free

    def running(self) -> int:
        """Return how many green threads of the pool have not ended."""
        return len(self._slots.running) + self._slots.unstarted

    def waiting(self) -> int:
        """Return how many wait for a free slot."""
        return self._slots.waiters.waiting

    def statistics(self) -> GreenPoolStatistics:
        """Return numbers about the current state."""
        with mutex:
            return GreenPoolStatistics(
                self.size, self.running(), self.free(), self.waiting()
            )

    @property
    def coroutines_running(self) -> set[GreenThread[Any]]:
        """The green threads that have not ended.

        Look, don't touch; to go through it while others may run, copy it first.
        """
        return self._slots.all_running()

    @property
    def sem(self) -> PoolSlots:
        """The pool's slots, in the form of a semaphore, as eventlet has them."""
        return self._slots

    @property
    def no_coros_running(self) -> PoolIdleness:
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

    @overload
    def spawn(
        self,
        function: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
    @overload
    def spawn(
        self,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
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
        return self._slots.spawn(function, args, kwargs)

    @overload
    def spawn_n(
        self,
        function: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
    @overload
    def spawn_n(
        self,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
    def spawn_n(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Like `spawn`, for functions whose result nobody needs.

        Raises:
            TypeError: `function` cannot be called.
        """
        return self.spawn(function, *args, **kwargs)

    @overload
    async def spawn_async(
        self,
        function: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
    @overload
    async def spawn_async(
        self,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> GreenThread[T]: ...
    async def spawn_async(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> GreenThread:
        """Like `spawn`, for coroutines: it awaits a free slot.

        Raises:
            TypeError: `function` cannot be called.
        """
        check_callable(function, "GreenPool.spawn_async")
        return await self._slots.spawn_async(function, args, kwargs)

    # -- waiting -------------------------------------------------------------------------

    def waitall(self) -> None:
        """Wait until every green thread of the pool has ended.

        Raises:
            WaitingForItselfError: Called by one of them; an AssertionError, as eventlet
                raises, and a RuntimeError.
            BlockingInLoopError: Called in the loop greenlet while some are running; use
                `waitall_async` there.
        """
        self._wait_idle(None, "GreenPool.waitall()")

    def _wait_idle(self, timeout: float | None, what: str) -> bool:
        slots = self._slots
        idle = slots.idle
        while True:
            with mutex:
                if not (slots.running or slots.unstarted):
                    return True
                if timeout == 0:
                    return False
                if getcurrent() in slots.running:
                    raise WaitingForItselfError(
                        f"{what} was called by a green thread of the pool itself, "
                        "which would wait for its own end; call it from outside the "
                        "pool"
                    )
                waiter = new_waiter(what)
                if not (slots.running or slots.unstarted):
                    # Ended while somebody interrupted us.
                    return True
                idle.append(waiter)
            outcome = idle.wait(waiter, timeout, None)
            if timeout is not None:
                return outcome is not TIMED_OUT

    async def waitall_async(self) -> None:
        """Wait until every green thread of the pool has ended, as a coroutine."""
        await self._wait_idle_async(None)

    async def _wait_idle_async(self, timeout: float | None) -> bool:
        slots = self._slots
        idle = slots.idle
        while True:
            with mutex:
                if not (slots.running or slots.unstarted):
                    return True
                if timeout == 0:
                    return False
                waiter = new_task_waiter()
                if not (slots.running or slots.unstarted):
                    return True
                idle.append(waiter)
            outcome = await idle.wait_async(waiter, timeout, None)
            if timeout is not None:
                return outcome is not TIMED_OUT

    # -- mapping -------------------------------------------------------------------------

    @overload
    def imap(
        self,
        function: Callable[[Argument], Coroutine[Any, Any, T]],
        iterable: Iterable[Argument],
        /,
    ) -> ClosableResults[T]: ...
    @overload
    def imap(
        self,
        function: Callable[[Argument], T],
        iterable: Iterable[Argument],
        /,
    ) -> ClosableResults[T]: ...
    @overload
    def imap(
        self,
        function: None,
        iterable: Iterable[Argument],
        /,
    ) -> ClosableResults[tuple[Argument]]: ...
    @overload
    def imap(
        self,
        function: Callable[..., Coroutine[Any, Any, T]],
        first: Iterable[Any],
        second: Iterable[Any],
        /,
        *others: Iterable[Any],
    ) -> ClosableResults[T]: ...
    @overload
    def imap(
        self,
        function: Callable[..., T],
        first: Iterable[Any],
        second: Iterable[Any],
        /,
        *others: Iterable[Any],
    ) -> ClosableResults[T]: ...
    @overload
    def imap(
        self,
        function: None,
        first: Iterable[Any],
        second: Iterable[Any],
        /,
        *others: Iterable[Any],
    ) -> ClosableResults[tuple[Any, ...]]: ...
    def imap(
        self, function: Callable[..., Any] | None, *iterables: Iterable[Any]
    ) -> ClosableResults[Any]:
        """Apply a function to every item, concurrently, and yield results in order.

        The input is read in a green thread of its own, so it may wait, and may depend
        on results that were taken already. At most a pool's size of results are being
        made or lie ready; then no more of the input is read until one is taken.

        An exception of the function is raised at its item's place, one of the input
        behind the last result; iterating can go on after it.

        Args:
            function: What to call; None for the arguments themselves, in a tuple if
                there are several.
            *iterables: Where its arguments come from, one from each; the shortest ends
                it.

        Returns:
            An iterator, for ``for`` and for ``async for``. Once it is dropped, nothing
            more of the input is read.

        Raises:
            TypeError: `function` cannot be called.
        """
        return self.starmap(function, zip(*iterables, strict=False))

    @overload
    def starmap(
        self,
        function: Callable[..., Coroutine[Any, Any, T]],
        iterable: Iterable[Iterable[Any]],
    ) -> ClosableResults[T]: ...
    @overload
    def starmap(
        self, function: Callable[..., T], iterable: Iterable[Iterable[Any]]
    ) -> ClosableResults[T]: ...
    @overload
    def starmap(
        self, function: None, iterable: Iterable[Iterable[Argument]]
    ) -> ClosableResults[tuple[Argument, ...]]: ...
    def starmap(
        self, function: Callable[..., Any] | None, iterable: Iterable[Iterable[Any]]
    ) -> ClosableResults[Any]:
        """Like `imap`, with argument tuples from one iterable."""
        feed = self._feed(function, ordered=True)
        return OrderedResults(feed, _feeder(feed, iterable))

    @overload
    def imap_unordered(
        self,
        function: Callable[[Argument], Coroutine[Any, Any, T]],
        iterable: Iterable[Argument],
        /,
    ) -> ClosableResults[T]: ...
    @overload
    def imap_unordered(
        self,
        function: Callable[[Argument], T],
        iterable: Iterable[Argument],
        /,
    ) -> ClosableResults[T]: ...
    @overload
    def imap_unordered(
        self,
        function: None,
        iterable: Iterable[Argument],
        /,
    ) -> ClosableResults[tuple[Argument]]: ...
    @overload
    def imap_unordered(
        self,
        function: Callable[..., Coroutine[Any, Any, T]],
        first: Iterable[Any],
        second: Iterable[Any],
        /,
        *others: Iterable[Any],
    ) -> ClosableResults[T]: ...
    @overload
    def imap_unordered(
        self,
        function: Callable[..., T],
        first: Iterable[Any],
        second: Iterable[Any],
        /,
        *others: Iterable[Any],
    ) -> ClosableResults[T]: ...
    @overload
    def imap_unordered(
        self,
        function: None,
        first: Iterable[Any],
        second: Iterable[Any],
        /,
        *others: Iterable[Any],
    ) -> ClosableResults[tuple[Any, ...]]: ...
    def imap_unordered(
        self, function: Callable[..., Any] | None, *iterables: Iterable[Any]
    ) -> ClosableResults[Any]:
        """Like `imap`, but yields results, and raises failures, as they come."""
        feed = self._feed(function, ordered=False)
        rows = zip(*iterables, strict=False)
        return UnorderedResults(feed, _feeder(feed, rows))

    def _feed(self, function: Callable[..., Any] | None, *, ordered: bool) -> Feed:
        if function is None:
            function = _arguments
        check_callable(function, "GreenPool.imap")
        return Feed(get_hub(), self._slots, function, ordered=ordered)

    # For coroutines, by the names that such methods have everywhere.
    imap_async = imap
    starmap_async = starmap
    imap_unordered_async = imap_unordered


class _Feeder(GreenThread):
    """Reads the input of an `imap`; see `results`."""

    __slots__ = ("_feed",)

    _feed: Feed

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        try:
            GreenThread._end(self, state, result, error)
            self._feed.ended(self)
        except BaseException:
            self._feed.ended(self)
            raise

    def _interrupted(self, error: BaseException) -> None:
        GreenThread._interrupted(self, error)
        self._feed.ended(self)


def _feeder(feed: Feed, rows: Iterable[Iterable[Any]]) -> GreenThread:
    feeder = _Feeder(feed.hub, feed.run, (iter(rows),), {})
    feeder._feed = feed
    feed.hub.wake(feeder)
    return feeder


def _arguments(*args: Any) -> Any:
    """What `imap` yields without a function."""
    return args


class Idleness:
    """That a pool runs nothing; see `GreenPool.no_coros_running`."""

    __slots__ = ("_pool",)

    def __init__(self, pool: GreenPool) -> None:
        self._pool = pool

    def __repr__(self) -> str:
        return f"<idleness of {self._pool!r}>"

    def ready(self) -> bool:
        """Whether nothing is running."""
        slots = self._pool._slots
        return not (slots.running or slots.unstarted)

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
