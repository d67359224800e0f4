"""Pools of reusable items: connections, sessions, tokens."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, cast

from .._greenthread.arguments import checked_size
from .._kernel.waiters import WaitQueue, mutex, new_task_waiter, new_waiter
from .._std.type_variables import Item
from .._sync.light_queue import QueueStatistics
from .await_ import run_green

# Handed over instead of an item: leave to create one, counted in `current_size` already.
ROOM: Any = object()


@dataclass(frozen=True)
class PoolStatistics:
    """What `Pool.statistics` returns.

    Attributes:
        max_size: How many items there may be.
        current_size: How many there are: lent, idle, or being created.
        idle: How many are idle.
        waiting: How many wait for one.
    """

    max_size: int | float
    current_size: int
    idle: int
    waiting: int


class Pool(Generic[Item]):
    """Lends items, and creates them as they are needed.

    Make one with a function that creates items, or override `create`::

        pool = Pool(create=lambda: connect(("10.0.0.1", 6379)), max_size=8)
        with pool.item() as connection:
            ...

    Green threads, coroutines and OS threads may share one. Whoever has to wait is
    served in order.

    Args:
        min_size: How many items to create at once.
        max_size: How many items there may be; `get` waits when all are lent.
        order_as_stack: Lend the item that came back last, rather than the one that has
            been idle longest.
        create: A function that creates an item; it may wait.

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is negative.

    Attributes:
        current_size: How many items there are, lent or idle or being created.
        free_items: The idle items, a deque; the first is lent next.
        min_size: As it was given.
        max_size: How many items there may be; change it with `resize`.
        order_as_stack: As it was given.
    """

    def __init__(
        self,
        min_size: int = 0,
        max_size: int = 4,
        order_as_stack: bool = False,
        create: Callable[[], Item] | None = None,
    ) -> None:
        self.min_size: int = checked_size(min_size, type(self).__name__)
        self.max_size: int = _checked_limit(max_size, type(self).__name__)
        self.order_as_stack = order_as_stack
        self.current_size: int = 0
        self.free_items: deque[Item] = deque()
        self._waiters = WaitQueue()
        if create is not None:
            self.create = create  # type: ignore[method-assign]
        for _ in range(self.min_size):
            self.current_size += 1
            self.free_items.append(self.create())

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.current_size} of {self.max_size} items, "
            f"{len(self.free_items)} idle, {self.waiting()} waiting at {id(self):#x}>"
        )

    def create(self) -> Item:
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
        """Return how many `get` calls would not have to wait.

        It is negative after `resize` to less than are lent.
        """
        free: int = len(self.free_items) + self.max_size - self.current_size
        return free

    def waiting(self) -> int:
        """Return how many wait for an item."""
        return self._waiters.waiting

    def statistics(self) -> PoolStatistics:
        """Return numbers about the current state."""
        with mutex:
            return PoolStatistics(
                max_size=self.max_size,
                current_size=self.current_size,
                idle=len(self.free_items),
                waiting=self.waiting(),
            )

    def resize(self, new_size: int) -> None:
        """Change how many items there may be.

        Items beyond that are dropped: idle ones now, lent ones as they come back. If
        there may be more, those who wait create some.

        Args:
            new_size: The new limit.

        Raises:
            TypeError: `new_size` is not an integer.
            ValueError: `new_size` is negative.
        """
        new_size = _checked_limit(new_size, "Pool.resize")
        with mutex:
            self.max_size = new_size
            while self.current_size > new_size and self.free_items:
                self.free_items.pop()
                self.current_size -= 1
            self._hand_out_room()

    # -- lending -----------------------------------------------------------------------

    def get(self) -> Item:
        """Lend an item: an idle one, a new one, or the next one to come back.

        Raises:
            BaseException: Whatever `create` raised.
            BlockingInLoopError: Called in the loop greenlet when it would have to wait;
                use `get_async` there.
        """
        with mutex:
            waiter = None
            if not (self.free_items or self.current_size < self.max_size):
                waiter = new_waiter("Pool.get()")
            waiters = self._waiters
            # Perhaps one has come back meanwhile, by who interrupted us.
            if self.free_items:
                return self.free_items.popleft()
            if self.current_size < self.max_size:
                self.current_size += 1
                waiter = None
            elif waiter is not None:
                waiters.append(waiter)
        if waiter is not None:
            item = self._waiters.wait(waiter, None, self._give_back)
            if item is not ROOM:
                return cast("Item", item)
        try:
            return self.create()
        except BaseException:
            with mutex:
                # Whoever waits may have better luck.
                self._give_back(ROOM)
            raise

    async def get_async(self) -> Item:
        """Lend an item to a coroutine; see `get`.

        `create` is called in a green thread, so it may be written in blocking style.
        """
        with mutex:
            waiter = None
            if not (self.free_items or self.current_size < self.max_size):
                waiter = new_task_waiter()
            waiters = self._waiters
            if self.free_items:
                return self.free_items.popleft()
            if self.current_size < self.max_size:
                self.current_size += 1
                waiter = None
            elif waiter is not None:
                waiters.append(waiter)
        if waiter is not None:
            item = await self._waiters.wait_async(waiter, None, self._give_back)
            if item is not ROOM:
                return cast("Item", item)
        created: list[Item] = []
        try:
            await run_green(lambda: created.append(self.create()))
        except BaseException:
            with mutex:
                # Perhaps it was there already, and only then came the cancellation.
                self._give_back(created.pop() if created else ROOM)
            raise
        return created.pop()

    @property
    def channel(self) -> Channel:
        """Who waits for an item, as eventlet has it."""
        return Channel(self)

    def _put_in(self, item: Item) -> None:
        with mutex:
            self._take_back(item)

    def _wait_for_item(self) -> Any:
        with mutex:
            waiter = new_waiter("Pool.channel.get()")
            self._waiters.append(waiter)
        return self._waiters.wait(waiter, None, self._give_back)

    def put(self, item: Item) -> None:
        """Take an item back; whoever has waited longest gets it.

        Args:
            item: The item. To replace a broken one, put a new one in its place.
        """
        with mutex:
            self._take_back(item)

    def _take_back(self, item: Item) -> None:
        # Not `put`, which subclasses override: the mutex is held.
        if self.current_size > self.max_size:
            self.current_size -= 1
        elif self._waiters and self._waiters.wake_one(item):
            pass
        elif self.order_as_stack:
            self.free_items.appendleft(item)
        else:
            self.free_items.append(item)

    def _hand_out_room(self) -> None:
        """Let as many create as there may be items; the mutex is held."""
        while self._waiters and self.current_size < self.max_size:
            self.current_size += 1
            if not self._waiters.wake_one(ROOM):
                self.current_size -= 1

    def _give_back(self, item: Any) -> None:
        """Pass on what somebody got who ended instead; the mutex is held."""
        if item is ROOM:
            self.current_size -= 1
            self._hand_out_room()
        else:
            self._take_back(item)

    @contextmanager
    def item(self) -> Iterator[Item]:
        """Lend an item for a ``with`` block."""
        item = self.get()
        try:
            yield item
        finally:
            self.put(item)

    @asynccontextmanager
    async def item_async(self) -> AsyncIterator[Item]:
        """Lend an item for an ``async with`` block."""
        item = await self.get_async()
        try:
            yield item
        finally:
            self.put(item)


def _checked_limit(size: Any, what: str) -> Any:
    """Return how many items there may be; infinitely many is a number too."""
    return size if size == math.inf else checked_size(size, what)


class Channel:
    """Who waits for an item of a `Pool`, in the form of the queue that eventlet has."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool[Any]) -> None:
        self._pool = pool

    def getting(self) -> int:
        """How many wait for an item."""
        return self._pool.waiting()

    def putting(self) -> int:
        """How many wait for somebody to take one: nobody does."""
        return 0

    def qsize(self) -> int:
        """How many items are in it: none stays."""
        return 0

    def empty(self) -> bool:
        """Whether there is no item: always."""
        return True

    def full(self) -> bool:
        """Whether it takes no more: always."""
        return True

    def put(self, item: Any) -> None:
        """Give an item to whoever has waited longest; else it is idle."""
        self._pool._put_in(item)

    def get(self) -> Any:
        """Wait for an item that comes back."""
        return self._pool._wait_for_item()

    def statistics(self) -> QueueStatistics:
        """Return numbers about the current state."""
        return QueueStatistics(qsize=0, maxsize=0, getting=self.getting(), putting=0)


class Token:
    """What a `TokenPool` lends."""


class TokenPool(Pool[Token]):
    """A pool of tokens that stand for something limited, and are nothing themselves."""

    def create(self) -> Token:
        """Create a token."""
        return Token()
