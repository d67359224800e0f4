"""`GreenPile` and `GreenMap`: calls in a pool, and their results in order."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, overload

from .._std.type_variables import Item
from .._sync.semaphore import Semaphore
from .arrivals import Arrivals
from .pool import GreenPool, GreenPoolStatistics
from .thread import GreenThread

P = ParamSpec("P")


@dataclass(frozen=True)
class GreenPileStatistics:
    """What `GreenPile.statistics` returns.

    Attributes:
        counter: How many results have not been taken, those included that are still
            being made.
        pool: Numbers about the pool, which others may use too.
    """

    counter: int
    pool: GreenPoolStatistics


class GreenPile(Generic[Item]):
    """Runs functions in green threads, and yields their results in order.

    Iterate over it with ``for`` or ``async for``. An exception of a function is raised
    at its place, and iterating can go on after it. Iterating ends when every result has
    been taken; it can begin again when there are new ones.

    Args:
        size_or_pool: A `GreenPool` to run in, or the size of a pool of its own.

    Attributes:
        pool: The pool.
    """

    def __init__(self, size_or_pool: int | str | GreenPool = 1000) -> None:
        if isinstance(size_or_pool, GreenPool):
            self.pool: GreenPool = size_or_pool
        else:
            self.pool = GreenPool(size_or_pool)
        self._arrivals: Arrivals[GreenThread[Item]] = Arrivals()
        # Results to come, those included whose function waits for a slot.
        self.counter: int = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} counter={self.counter} pool={self.pool!r}>"

    def statistics(self) -> GreenPileStatistics:
        """Return numbers about the current state."""
        return GreenPileStatistics(self.counter, self.pool.statistics())

    @overload
    def spawn(
        self,
        func: Callable[P, Coroutine[Any, Any, Item]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    @overload
    def spawn(
        self,
        func: Callable[P, Item],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    def spawn(self, func: Callable[..., Any], *args: Any, **kw: Any) -> GreenThread:
        """Run a function in a green thread of the pool, waiting for a free slot.

        Args:
            func: The function.
            *args: Its positional arguments.
            **kw: Its keyword arguments.

        Returns:
            The green thread.

        Raises:
            TypeError: `func` cannot be called.
        """
        self.counter += 1
        try:
            thread = self.pool.spawn(func, *args, **kw)
        except BaseException:
            self._one_less()
            raise
        thread.has_taker = True
        self._arrivals.put(thread)
        return thread

    @overload
    async def spawn_async(
        self,
        func: Callable[P, Coroutine[Any, Any, Item]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    @overload
    async def spawn_async(
        self,
        func: Callable[P, Item],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    async def spawn_async(
        self, func: Callable[..., Any], *args: Any, **kw: Any
    ) -> GreenThread:
        """Like `spawn`, for coroutines: it awaits a free slot."""
        self.counter += 1
        try:
            thread = await self.pool.spawn_async(func, *args, **kw)
        except BaseException:
            self._one_less()
            raise
        thread.has_taker = True
        self._arrivals.put(thread)
        return thread

    def _at_end(self) -> bool:
        return self.counter == 0

    def _one_less(self) -> None:
        self.counter -= 1
        if self._at_end():
            # Others may be waiting for what does not come any more.
            self._arrivals.look_again()

    def __iter__(self) -> GreenPile[Item]:
        return self

    def __next__(self) -> Item:
        """Wait for the next result.

        Raises:
            StopIteration: Every result has been taken.
            BaseException: Whatever the function raised.
        """
        thread = None
        while thread is None:
            looks = self._arrivals.looks
            if self._at_end():
                raise StopIteration
            thread = self._arrivals.get(looks)
        if not thread.dead:
            try:
                thread.wait_end()
            except BaseException:
                # Killed or timed out: the result is still to be had.
                self._arrivals.put_back(thread)
                raise
        self._one_less()
        return thread.outcome()

    def next(self) -> Item:
        """Wait for the next result; ``next(pile)`` is the same."""
        return self.__next__()

    def __aiter__(self) -> GreenPile[Item]:
        return self

    async def __anext__(self) -> Item:
        """Await the next result; see `__next__`."""
        thread = None
        while thread is None:
            looks = self._arrivals.looks
            if self._at_end():
                raise StopAsyncIteration
            thread = await self._arrivals.get_async(looks)
        if not thread.dead:
            try:
                await thread.wait_end_async()
            except BaseException:
                self._arrivals.put_back(thread)
                raise
        self._one_less()
        return thread.outcome()


class GreenMap(GreenPile[Item]):
    """A pile that one fills while another takes from it.

    `spawn` waits while as many results are to be taken as the pool's size, and
    iterating waits for more until `done_spawning` is called. `GreenPool.imap` does all
    that by itself.

    Args:
        size_or_pool: A `GreenPool` to run in, or the size of a pool of its own.
    """

    def __init__(self, size_or_pool: int | str | GreenPool = 1000) -> None:
        super().__init__(size_or_pool)
        self._room = Semaphore(self.pool.size or 1)
        self._complete = False

    @overload
    def spawn(
        self,
        func: Callable[P, Coroutine[Any, Any, Item]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    @overload
    def spawn(
        self,
        func: Callable[P, Item],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    def spawn(self, func: Callable[..., Any], *args: Any, **kw: Any) -> GreenThread:
        """Run a function in a green thread of the pool; see `GreenPile.spawn`."""
        self._room.acquire()
        return super().spawn(func, *args, **kw)

    @overload
    async def spawn_async(
        self,
        func: Callable[P, Coroutine[Any, Any, Item]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    @overload
    async def spawn_async(
        self,
        func: Callable[P, Item],
        *args: P.args,
        **kw: P.kwargs,
    ) -> GreenThread[Item]: ...
    async def spawn_async(
        self, func: Callable[..., Any], *args: Any, **kw: Any
    ) -> GreenThread:
        """Like `spawn`, for coroutines."""
        await self._room.acquire_async()
        return await super().spawn_async(func, *args, **kw)

    def done_spawning(self) -> None:
        """Say that nothing more will be spawned: iterating ends when all is taken."""
        self._complete = True
        self._arrivals.look_again()

    def _at_end(self) -> bool:
        return self._complete and self.counter == 0

    def _one_less(self) -> None:
        self._room.release()
        super()._one_less()
