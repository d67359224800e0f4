"""Results of green threads, in order or as they come, for ``for`` and ``async for``.

`Pile` collects what the user spawns. `OrderedResults` and `UnorderedResults` are what a
pool's `imap` returns: whoever takes a result tops the pool up first, so there is no
feeding green thread, and the input is consumed no further ahead than the pool's size.
A result that was taken is not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ._greenthread import GreenThread
from ._waiters import TaskWaiter, WaitQueue, mutex, new_waiter

if TYPE_CHECKING:
    from ._pool import GreenPool


class _Results(Iterator[Any], AsyncIterator[Any]):
    """Applies a function on a pool, as far ahead as the pool's size allows."""

    def __init__(
        self,
        pool: GreenPool,
        function: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
    ) -> None:
        self._pool = pool
        self._function = function
        self._input: Iterator[Iterable[Any]] | None = iter(iterable)
        self._input_error: BaseException | None = None
        self._outstanding = 0
        self._top_up()

    def __iter__(self) -> _Results:
        return self

    def __aiter__(self) -> _Results:
        return self

    def _next_arguments(self) -> tuple[Any, ...] | None:
        """Take the next arguments from the input; None at its end."""
        if self._input is None:
            return None
        try:
            return tuple(next(self._input))
        except StopIteration:
            self._input = None
        except BaseException as exc:
            # Raised where its result would have been.
            self._input = None
            self._input_error = exc
        return None

    def _top_up(self) -> None:
        """Start what can start without waiting."""
        pool = self._pool
        while (
            self._input is not None
            and self._outstanding < pool.size
            and pool._take_slot_if_free()
        ):
            self._start_next()

    def _start_next(self) -> None:
        """Start the next call in a slot that is taken."""
        arguments = None
        try:
            arguments = self._next_arguments()
        finally:
            if arguments is None:
                with mutex:
                    self._pool._give_back()
        if arguments is not None:
            self._add(self._pool._start(self._function, arguments, {}))

    def _add(self, thread: GreenThread) -> None:
        raise NotImplementedError

    def _prepare(self) -> bool:
        """Have something to wait for, waiting for a slot if need be.

        Returns:
            False at the end.
        """
        self._top_up()
        while not self._outstanding and self._input is not None:
            if self._pool._take_slot():
                self._start_next()
            else:
                # One of the pool's own green threads iterates, and the pool is full.
                arguments = self._next_arguments()
                if arguments is not None:
                    self._add(self._pool.spawn(self._function, *arguments))
        return self._ready_or_end()

    async def _prepare_async(self) -> bool:
        self._top_up()
        while not self._outstanding and self._input is not None:
            await self._pool._take_slot_async()
            self._start_next()
        return self._ready_or_end()

    def _ready_or_end(self) -> bool:
        if self._outstanding:
            return True
        error, self._input_error = self._input_error, None
        if error is not None:
            raise error
        return False


class OrderedResults(_Results):
    """Results in the order of the input; see `GreenPool.imap`."""

    def __init__(
        self,
        pool: GreenPool,
        function: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
    ) -> None:
        self._threads: deque[GreenThread] = deque()
        super().__init__(pool, function, iterable)

    def _add(self, thread: GreenThread) -> None:
        self._threads.append(thread)
        self._outstanding += 1

    def __next__(self) -> Any:
        if not self._prepare():
            raise StopIteration
        threads = self._threads
        thread = threads.popleft()
        if not thread.dead:
            try:
                thread.wait_end()
            except BaseException:
                # Killed or timed out: the result is still to be had.
                threads.appendleft(thread)
                raise
        self._outstanding -= 1
        return thread.outcome()

    next = __next__

    async def __anext__(self) -> Any:
        if not await self._prepare_async():
            raise StopAsyncIteration
        threads = self._threads
        thread = threads.popleft()
        if not thread.dead:
            try:
                await thread.wait_end_async()
            except BaseException:
                threads.appendleft(thread)
                raise
        self._outstanding -= 1
        return thread.outcome()


class UnorderedResults(_Results):
    """Results as they come; see `GreenPool.imap_unordered`."""

    def __init__(
        self,
        pool: GreenPool,
        function: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
    ) -> None:
        self._finished = Arrivals()
        super().__init__(pool, function, iterable)

    def _add(self, thread: GreenThread) -> None:
        self._outstanding += 1
        thread.link(self._finished.put)

    def __next__(self) -> Any:
        if not self._prepare():
            raise StopIteration
        thread = self._finished.get()
        self._outstanding -= 1
        return thread.outcome()

    next = __next__

    async def __anext__(self) -> Any:
        if not await self._prepare_async():
            raise StopAsyncIteration
        thread = await self._finished.get_async()
        self._outstanding -= 1
        return thread.outcome()


class Arrivals:
    """Green threads that have arrived, and who waits for one: a queue without frills."""

    __slots__ = ("_takers", "_threads")

    def __init__(self) -> None:
        self._threads: deque[GreenThread] = deque()
        self._takers = WaitQueue()

    def __len__(self) -> int:
        return len(self._threads)

    def put(self, thread: GreenThread) -> None:
        """Add a green thread."""
        with mutex:
            if not (self._takers and self._takers.wake_one(thread)):
                self._threads.append(thread)

    def _put_first(self, thread: GreenThread) -> None:
        """Put one back that its taker could not use; the mutex is held."""
        if not (self._takers and self._takers.wake_one(thread)):
            self._threads.appendleft(thread)

    def put_back(self, thread: GreenThread) -> None:
        """Put one back that is still the first."""
        with mutex:
            self._put_first(thread)

    def get(self) -> GreenThread:
        """Take the first one, waiting for it."""
        with mutex:
            if self._threads:
                return self._threads.popleft()
            waiter = new_waiter("iterating over results")
            self._takers.append(waiter)
        thread: GreenThread = self._takers.wait(waiter, None, self._put_first)
        return thread

    async def get_async(self) -> GreenThread:
        """Take the first one, awaiting it."""
        with mutex:
            if self._threads:
                return self._threads.popleft()
            waiter = TaskWaiter()
            self._takers.append(waiter)
        thread: GreenThread = await self._takers.wait_async(
            waiter, None, self._put_first
        )
        return thread
