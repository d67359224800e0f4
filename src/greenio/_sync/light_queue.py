"""`LightQueue`, which all queues are made of, and `SimpleQueue`.

`queue` has the one whose items are counted until they are dealt with, `ordered_queues`
those with another order.

They differ from the standard library's in one thing, as eventlet's do: ``maxsize=None``
means without limit, and ``maxsize=0`` is a rendezvous: `put` waits until somebody takes
the item.

What holds at any time, and all of the code below keeps true:

* Somebody waits to get only while there is nothing to get: the queue is empty and
  nobody waits to put. An item that arrives goes straight to whoever waited longest.
* Somebody waits to put only while there is no room. The item stays with its waiter;
  whoever makes room moves it in and wakes the waiter.
* Either of them may be killed after it was woken, before it runs. The item then goes
  back to where it comes out next, or out of the queue, if nobody has taken it.
  For this one case a queue may hold more than its maximum.
* Others may come by in the middle of an operation (see `mutex`; and a subclass may wait
  in its methods) and begin to wait. So whoever has put an item down looks whom it is for,
  and only one at a time lets waiting putters in.
* In a rendezvous the receiver goes on before the sender: whoever puts an item for which
  somebody waits already lets him run first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from queue import Empty, Full  # noqa: TID251 - classes; nothing of them is patched
from typing import Any, Generic

from greenlet import getcurrent

from .._kernel.current import cannot_wait
from .._kernel.hub import Hub
from .._kernel.waiters import (
    TIMED_OUT,
    Waiter,
    WaitQueue,
    checked_timeout,
    drop,
    hold,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._std.type_variables import Item

_NOTHING: Any = object()

# Whether somebody lets waiting putters in, and is to look again when he is through.
_NOBODY, _ONE, _ONCE_MORE = range(3)


class _Refused:
    """What a putter is woken with if its item cannot be put: an exception."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


@dataclass(frozen=True)
class QueueStatistics:
    """What `LightQueue.statistics` returns.

    Attributes:
        qsize: How many items there are.
        maxsize: How many there may be; None for no limit.
        getting: How many wait for an item.
        putting: How many wait to put one.
    """

    qsize: int
    maxsize: int | None
    getting: int
    putting: int


class LightQueue(Generic[Item]):
    """A first-in, first-out queue without `task_done` and `join`.

    Green threads and OS threads use `put` and `get`, coroutines `put_async` and
    `get_async`, in any mixture.

    Subclasses may order the items differently by overriding ``_init(maxsize)``, which
    sets ``self.queue`` to a container, ``_put(item)`` and ``_get()``.

    Args:
        maxsize: How many items it holds before `put` waits; None for no limit; 0 for
            a rendezvous, where `put` waits until the item is taken.

    Raises:
        TypeError: `maxsize` is not a number.
    """

    # Whether an item may go straight from a putter to a getter.
    _direct = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__
        if "_unget" not in own and ("_put" in own or "_get" in own):
            # A user's own order: every item goes through these methods.
            cls._direct = False
            if "_get" in own:
                cls._unget = cls._put  # type: ignore[method-assign]

    def __init__(self, maxsize: int | None = None) -> None:
        self.maxsize = _checked_size(maxsize)
        self._getters = WaitQueue()
        self._putters = WaitQueue()
        # How many items were ever put. Each is counted first: who gets it may say that it
        # is dealt with before its putter goes on.
        self._puts = 0
        # How far somebody is who lets waiting putters in.
        self._admitting = _NOBODY
        # Of the class, but what an instance has is quicker to look up.
        self._passes_on = self._direct
        self.queue: Any
        self._init(maxsize)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} maxsize={self.maxsize} qsize={self.qsize()} "
            f"{self.getting()} getting {self.putting()} putting at {id(self):#x}>"
        )

    # -- the order of the items; the mutex is held -------------------------------

    def _init(self, maxsize: int | None) -> None:
        self.queue = deque()

    def _put(self, item: Item) -> None:
        self.queue.append(item)

    def _get(self) -> Item:
        return self.queue.popleft()  # type: ignore[no-any-return]

    def _unget(self, item: Item) -> None:
        self.queue.appendleft(item)

    def _remove(self, item: Item) -> bool:
        """Take out the item that was put last of those identical to this one."""
        queue = self.queue
        try:
            for index in range(len(queue) - 1, -1, -1):
                if queue[index] is item:
                    del queue[index]
                    return True
        except (TypeError, KeyError):
            # A subclass's container that is no sequence: it keeps the item.
            pass
        return False

    # -- what every operation consists of; the mutex is held ---------------------

    def _offer(self, item: Item) -> bool:
        """Put an item if that needs no waiting."""
        getters = self._getters
        if getters:
            if not self._passes_on:
                self._put_in(item)
                return True
            self._puts += 1
            if getters.wake_one(item):
                return True
            self._uncount()
        maxsize = self.maxsize
        if maxsize is None or len(self.queue) < maxsize:
            self._put_in(item)
            return True
        return False

    def _put_in(self, item: Item) -> None:
        """Put an item down, and look for whom it is."""
        self._puts += 1
        try:
            self._put(item)
        except BaseException:
            self._uncount()
            raise
        if self._getters:
            self._serve()

    def _take(self) -> Item:
        """Get an item if that needs no waiting, else `_NOTHING`."""
        queue = self.queue
        while True:
            while not queue:
                if not self._putters or self._admitting:
                    return _NOTHING  # type: ignore[no-any-return]
                # A rendezvous: room for one item, which is taken out at once.
                self._admit(1)
            try:
                item = self._get()
                break
            except LookupError:
                if queue:
                    raise
                # Who interrupted us has taken it.
        if self._putters:
            try:
                self._admit()
            except BaseException:
                self._give_back(item)
                raise
        return item

    def _put_or_join(self, waiter: Waiter, item: Item) -> bool:
        """Put an item after all, else have its waiter join the putters; tell which."""
        waiter.value = item
        while self._getters:
            # Come by who interrupted us in between.
            if self._offer(item):
                return True
        self._putters.append(waiter)
        # Or he has made room.
        self._admit()
        return False

    def _admit(self, least: int = 0) -> None:
        """Move the items of waiting putters in, while there is room.

        Args:
            least: For how many items there is room in a rendezvous.
        """
        if self._admitting:
            # By who has been interrupted. He finds what there is to do when he goes on.
            self._admitting = _ONCE_MORE
            return
        putters = self._putters
        getters = self._getters
        try:
            while True:
                self._admitting = _ONE
                limit = self.maxsize
                if limit == 0:
                    limit = 1 if getters else least
                while putters and (limit is None or len(self.queue) < limit):
                    self._let_in(putters, putters[0])
                if getters and (self.queue or putters):
                    # Come by in between.
                    self._serve()
                elif self._admitting == _ONE:
                    break
        except BaseException:
            self._admitting = _NOBODY
            self._serve()
            raise
        self._admitting = _NOBODY

    def _let_in(self, putters: WaitQueue, waiter: Waiter) -> None:
        """Move the item of the first putter in, and wake it."""
        if waiter.done:
            # Left there by an interrupt.
            putters.wake_first(waiter, None)
            return
        item = waiter.value
        self._puts += 1
        try:
            self._put(item)
        except BaseException as exc:
            self._uncount()
            if not isinstance(exc, Exception):
                raise
            putters.wake_first(waiter, _Refused(exc))
            return
        if not putters.wake_first(waiter, item):
            self._withdraw(item)

    def _serve(self) -> None:
        """Hand items to waiting getters, while there are both."""
        getters = self._getters
        while getters and self.queue:
            try:
                item = self._get()
            except LookupError:
                if self.queue:
                    raise
                return
            if not getters.wake_one(item):
                self._unget(item)

    def _give_back(self, item: Item) -> None:
        """A getter was handed an item and ended instead of taking it."""
        getters = self._getters
        if not (getters and getters.wake_one(item)):
            self._unget(item)
            self._serve()

    def _withdraw(self, item: Item) -> None:
        """A putter ended although its item is in: take it out, if it still is."""
        if self._remove(item):
            self._uncount()
            self._admit()

    def _uncount(self) -> None:
        """An item that was counted did not get in, or is out again."""
        self._puts -= 1

    def _let_receiver_run(self, item: Item) -> None:
        """After a rendezvous, have the receiver go on first, if the caller may wait."""
        current = getcurrent()
        hub: Hub | None = getattr(current, "_hub", None)
        if hub is None:
            return
        try:
            hub.wake(current)
            hub.park()
        except BaseException:
            with mutex:
                self._withdraw(item)
            raise

    async def _let_receiver_run_async(self, item: Item) -> None:
        try:
            await asyncio.sleep(0)
        except BaseException:
            with mutex:
                self._withdraw(item)
            raise

    # -- what users call ---------------------------------------------------------

    def put(self, item: Item, block: bool = True, timeout: float | None = None) -> None:
        """Put an item in, waiting for room if need be.

        Args:
            item: The item.
            block: Whether to wait.
            timeout: Seconds to wait at most; None waits for as long as it takes.

        Raises:
            Full: There is no room, or was none in time.
            BlockingInLoopError: Called in the loop greenlet when there is no room; use
                `put_async` there.
        """
        if timeout is not None:
            timeout = checked_timeout(timeout, "put()")
        try:
            hold()
            if not self._getters:
                # What `_offer` mostly comes to, written out: a sixth of put and get.
                maxsize = self.maxsize
                if maxsize is None or len(self.queue) < maxsize:
                    self._puts += 1
                    try:
                        self._put(item)
                    except BaseException:
                        self._uncount()
                        raise
                    if self._getters:
                        self._serve()
                    return
                handed_over = False
            else:
                handed_over = self._offer(item)
            if handed_over:
                maxsize = self.maxsize
                if maxsize is None or maxsize != 0 or not block:
                    return
            else:
                if not block or (timeout == 0 and cannot_wait()):
                    raise Full
                waiter = new_waiter("put()")
                if self._put_or_join(waiter, item):
                    return
        finally:
            drop()
        if handed_over:
            self._let_receiver_run(item)
            return
        outcome = self._putters.wait(waiter, timeout, self._withdraw)
        if outcome is not item:
            _fail(outcome)

    async def put_async(self, item: Item, timeout: float | None = None) -> None:
        """Put an item in as a coroutine; see `put`."""
        if timeout is not None:
            timeout = checked_timeout(timeout, "put_async()")
        handed_over = False
        try:
            hold()
            if self._offer(item):
                if self.maxsize != 0:
                    return
                handed_over = True
            if not handed_over:
                if timeout == 0:
                    raise Full
                waiter = new_task_waiter()
                if self._put_or_join(waiter, item):
                    return
        finally:
            drop()
        if handed_over:
            await self._let_receiver_run_async(item)
            return
        if timeout is not None:
            outcome = await self._putters.wait_async(waiter, timeout, self._withdraw)
        else:
            # `wait_async` without a time limit, written out: it saves a tenth.
            try:
                await waiter.future
            except BaseException:
                self._putters.leave(waiter, self._withdraw)
                raise
            outcome = waiter.value
        if outcome is not item:
            _fail(outcome)

    def put_nowait(self, item: Item) -> None:
        """Put an item in if there is room.

        Raises:
            Full: There is none.
        """
        try:
            hold()
            if not self._offer(item):
                raise Full
        finally:
            drop()

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """Take an item out, waiting for one if need be.

        Args:
            block: Whether to wait.
            timeout: Seconds to wait at most; None waits for as long as it takes.

        Returns:
            The item.

        Raises:
            Empty: There is none, or was none in time.
            BlockingInLoopError: Called in the loop greenlet when there is none; use
                `get_async` there.
        """
        if timeout is not None:
            timeout = checked_timeout(timeout, "get()")
        try:
            hold()
            if self._putters:
                item = self._take()
                if item is not _NOTHING:
                    return item
            elif self.queue:
                # What `_take` mostly comes to, written out, as in `put`.
                try:
                    return self._get()
                except LookupError:
                    if self.queue:
                        raise
            if not block or (timeout == 0 and cannot_wait()):
                raise Empty
            waiter = new_waiter("get()")
            getters = self._getters
            while self.queue or (self._putters and not self._admitting):
                # Put by who interrupted us in between.
                item = self._take()
                if item is not _NOTHING:
                    return item
            getters.append(waiter)
        finally:
            drop()
        outcome: Item = getters.wait(waiter, timeout, self._give_back)
        if outcome is TIMED_OUT:
            raise Empty
        return outcome

    async def get_async(self, timeout: float | None = None) -> Item:
        """Take an item out as a coroutine; see `get`."""
        if timeout is not None:
            timeout = checked_timeout(timeout, "get_async()")
        try:
            hold()
            item = self._take()
            if item is not _NOTHING:
                return item
            if timeout == 0:
                raise Empty
            waiter = new_task_waiter()
            getters = self._getters
            while self.queue or (self._putters and not self._admitting):
                item = self._take()
                if item is not _NOTHING:
                    return item
            getters.append(waiter)
        finally:
            drop()
        outcome: Item
        if timeout is not None:
            outcome = await getters.wait_async(waiter, timeout, self._give_back)
        else:
            # As in `put_async`.
            try:
                await waiter.future
            except BaseException:
                getters.leave(waiter, self._give_back)
                raise
            outcome = waiter.value
        if outcome is TIMED_OUT:
            raise Empty
        return outcome

    def get_nowait(self) -> Item:
        """Take an item out if there is one.

        Raises:
            Empty: There is none.
        """
        try:
            hold()
            item = self._take()
        finally:
            drop()
        if item is _NOTHING:
            raise Empty
        return item

    def qsize(self) -> int:
        """How many items there are, without those of waiting putters."""
        return len(self.queue)

    def empty(self) -> bool:
        """Whether there is no item."""
        return not self.queue

    def full(self) -> bool:
        """Whether there are `maxsize` items; a rendezvous is always full."""
        maxsize = self.maxsize
        return maxsize is not None and len(self.queue) >= maxsize

    def putting(self) -> int:
        """How many wait to put an item in."""
        return self._putters.waiting

    def getting(self) -> int:
        """How many wait for an item."""
        return self._getters.waiting

    @property
    def getters(self) -> set[Any]:
        """Who waits for an item: a copy, as a set."""
        return {waiter for waiter in self._getters.copy() if not waiter.done}

    @property
    def putters(self) -> set[Any]:
        """Who waits to put an item in: a copy, as a set."""
        return {waiter for waiter in self._putters.copy() if not waiter.done}

    def resize(self, size: int | None) -> None:
        """Change the maximum size; items that are in stay in.

        Args:
            size: As `maxsize` when the queue was made.
        """
        with mutex:
            self.maxsize = _checked_size(size)
            self._admit()

    def statistics(self) -> QueueStatistics:
        """Return numbers about the current state."""
        with mutex:
            return QueueStatistics(
                qsize=len(self.queue),
                maxsize=self.maxsize,
                getting=self._getters.waiting,
                putting=self._putters.waiting,
            )


class SimpleQueue(LightQueue[Item]):
    """A first-in, first-out queue without limit, as `queue.SimpleQueue`."""

    def __init__(self) -> None:
        super().__init__(None)


def _fail(outcome: Any) -> None:
    if outcome is TIMED_OUT:
        raise Full
    raise outcome.error


def _checked_size(maxsize: int | None) -> int | None:
    if maxsize is None:
        return None
    try:
        return None if maxsize < 0 else maxsize
    except TypeError:
        raise TypeError(
            "a queue takes a maximum size, 0 for a rendezvous, or None for no limit, "
            f"not {maxsize!r}"
        ) from None
