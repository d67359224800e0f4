"""Pools of reusable items: connections, sessions, tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar, cast

from ._core._waiters import TaskWaiter, WaitQueue, mutex, new_waiter

__all__ = ["Pool", "Token", "TokenPool"]

T = TypeVar("T")

# Handed to a waiter instead of an item: there is room now to create one.
_ROOM: Any = object()


class Pool(Generic[T]):
    """Lends items, and creates them as they are needed.

    Make one with a function that creates items, or override `create`::

        pool = Pool(create=lambda: connect(("10.0.0.1", 6379)), max_size=8)
        with pool.item() as connection:
            ...

    Args:
        min_size: How many items to create at once.
        max_size: How many items there may be; `get` waits when all are lent.
        order_as_stack: Lend the item that came back last, rather than the one that has
            been idle longest.
        create: A function that creates an item; it may wait.
    """

    def __init__(
        self,
        min_size: int = 0,
        max_size: int = 4,
        order_as_stack: bool = False,
        create: Callable[[], T] | None = None,
    ) -> None:
        self.min_size = min_size
        self.max_size = max_size
        self.order_as_stack = order_as_stack
        # Items that exist or are being created.
        self.current_size = 0
        self.free_items: deque[T] = deque()
        self._waiters = WaitQueue()
        if create is not None:
            self.create = create  # type: ignore[method-assign]
        for _ in range(min_size):
            self.current_size += 1
            try:
                self.free_items.append(self.create())
            except BaseException:
                self.current_size -= 1
                raise

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.current_size} of {self.max_size} items, "
            f"{len(self.free_items)} idle, {self.waiting()} waiting at {id(self):#x}>"
        )

    def create(self) -> T:
        """Create an item; override it, or pass a function to the constructor.

        Raises:
            NotImplementedError: Neither was done.
        """
        raise NotImplementedError(
            "a Pool needs to know how to create items: pass create=function to "
            "Pool(...), or override create() in a subclass"
        )

    # -- the numbers -------------------------------------------------------------------

    def free(self) -> int:
        """Return how many `get` calls would not have to wait."""
        return len(self.free_items) + self.max_size - self.current_size

    def waiting(self) -> int:
        """Return how many wait for an item."""
        return self._waiters.waiting

    def resize(self, new_size: int) -> None:
        """Change how many items there may be.

        Items beyond that are dropped as they come back. If there may be more now,
        those who wait create some.

        Args:
            new_size: The new limit.
        """
        with mutex:
            self.max_size = new_size
            room = new_size - self.current_size
            while room > 0 and self._waiters and self._waiters.wake_one(_ROOM):
                room -= 1

    # -- lending -----------------------------------------------------------------------

    def get(self) -> T:
        """Lend an item: an idle one, a new one, or the next one to come back.

        Raises:
            BaseException: Whatever `create` raised.
            BlockingInLoopError: Called in the loop greenlet when it would have to wait;
                use `get_async` there.
        """
        while True:
            with mutex:
                if self.free_items:
                    return self.free_items.popleft()
                waiter = None
                if self.current_size < self.max_size:
                    self.current_size += 1
                else:
                    waiter = new_waiter("Pool.get()")
                    self._waiters.append(waiter)
            if waiter is None:
                return self._create()
            item = self._waiters.wait(waiter, None, self._give_back)
            if item is not _ROOM:
                return cast("T", item)

    async def get_async(self) -> T:
        """Lend an item to a coroutine; see `get`.

        `create` is called in a green thread, so it may be written in blocking style.
        """
        from ._core._bridge import run_green

        while True:
            with mutex:
                if self.free_items:
                    return self.free_items.popleft()
                waiter = None
                if self.current_size < self.max_size:
                    self.current_size += 1
                else:
                    waiter = TaskWaiter()
                    self._waiters.append(waiter)
            if waiter is None:
                return await run_green(self._create)
            item = await self._waiters.wait_async(waiter, None, self._give_back)
            if item is not _ROOM:
                return cast("T", item)

    def _create(self) -> T:
        """Create an item, for which there is room already."""
        try:
            return self.create()
        except BaseException:
            with mutex:
                self.current_size -= 1
                # Whoever waits may have better luck.
                self._waiters.wake_one(_ROOM)
            raise

    def put(self, item: T) -> None:
        """Take an item back; whoever has waited longest gets it.

        Args:
            item: The item. To replace a broken one, put a new one in its place.
        """
        with mutex:
            if self.current_size > self.max_size:
                self.current_size -= 1
                return
            self._hand_over(item)

    def _hand_over(self, item: T) -> None:
        if self._waiters and self._waiters.wake_one(item):
            return
        if self.order_as_stack:
            self.free_items.appendleft(item)
        else:
            self.free_items.append(item)

    def _give_back(self, item: Any) -> None:
        """Pass on what was handed to somebody who could not take it."""
        if item is _ROOM:
            if self.current_size < self.max_size:
                self._waiters.wake_one(_ROOM)
        else:
            self._hand_over(item)

    @contextmanager
    def item(self) -> Iterator[T]:
        """Lend an item for a ``with`` block."""
        item = self.get()
        try:
            yield item
        finally:
            self.put(item)

    @asynccontextmanager
    async def item_async(self) -> AsyncIterator[T]:
        """Lend an item for an ``async with`` block."""
        item = await self.get_async()
        try:
            yield item
        finally:
            self.put(item)


class Token:
    """What a `TokenPool` lends."""


class TokenPool(Pool[Token]):
    """A pool of tokens that stand for something limited, and are nothing themselves."""

    def create(self) -> Token:
        """Create a token."""
        return Token()
