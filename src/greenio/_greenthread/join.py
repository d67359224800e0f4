"""Waiting for several green threads and events at once.

An `_Inbox` is left with each of the objects, and each puts itself in when it is
finished. Whoever waits takes the inbox back at the end, when the time is up, or when an
exception comes; then nothing at the objects tells that somebody waited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from .._kernel.current import existing_hub
from .._kernel.waiters import (
    TIMED_OUT,
    AnyWaiter,
    GreenWaiter,
    ThreadWaiter,
    Waiter,
    WaitQueue,
    checked_timeout,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._std.originals import monotonic
from .._std.protocols import ClosableResults
from .thread import GreenThread

T = TypeVar("T")


@runtime_checkable
class _Eventlike(Protocol):
    """An `Event`: it queues a waiter, or returns None if it was sent already."""

    def _join(self, waiter: Waiter) -> WaitQueue | None: ...


class _Signpost(Waiter):
    """Waits in an event's queue, and continues nobody: it tells an inbox."""

    __slots__ = ("inbox", "queue", "thing")

    inbox: _Inbox[Any]
    queue: WaitQueue | None
    thing: Any

    def wake(self, value: Any = None) -> bool:
        self.value = value
        self.done = True
        self.inbox.put(self.thing)
        return True


class _Inbox(Generic[T]):
    """Where objects put themselves when they are finished.

    Raises:
        TypeError: Something among them is neither a green thread nor an event.
    """

    def __init__(self, objects: Iterable[T], what: str) -> None:
        # Each once, in the order given.
        self.objects = list(dict.fromkeys(objects))
        for thing in self.objects:
            if not isinstance(thing, (GreenThread, _Eventlike)):
                raise TypeError(
                    f"{what}() takes green threads, as spawn() returns them, and "
                    f"events, not {thing!r}"
                )
        self.what = what
        self.finished: deque[T] = deque()
        self._signposts: list[_Signpost] = []
        self._owners = WaitQueue()
        # How many have to be in it before an owner is woken.
        self._enough = 1

    def open(self) -> None:
        """Leave it with each of the objects."""
        for thing in self.objects:
            signpost = _Signpost()
            signpost.inbox = self
            signpost.thing = thing
            signpost.done = False
            signpost.queue = None
            if isinstance(thing, GreenThread):
                pending = thing.watch(signpost)
            else:
                assert isinstance(thing, _Eventlike)
                signpost.queue = thing._join(signpost)
                pending = signpost.queue is not None
            if pending:
                self._signposts.append(signpost)
            else:
                self.put(thing)

    def close(self) -> None:
        """Take it back from all of them."""
        with mutex:
            for signpost in self._signposts:
                if signpost.done:
                    continue
                if signpost.queue is None:
                    signpost.thing.unwatch(signpost)
                else:
                    signpost.done = True
                    signpost.queue.discard(signpost)
            self._owners.wake_all()
        self.objects = []
        self._signposts = []

    def put(self, thing: T) -> None:
        """Take in what has finished."""
        with mutex:
            self.finished.append(thing)
            if self._owners and len(self.finished) >= self._enough:
                self._owners.wake_one()

    def wait_for(self, number: int, timeout: float | None) -> bool:
        """Wait until so many have finished.

        Returns:
            False if the time is up.
        """
        waiter = self._look_or_queue(number, timeout, self._new_waiter)
        if isinstance(waiter, bool):
            return waiter
        outcome = self._owners.wait(waiter, timeout, self._pass_on)
        return outcome is not TIMED_OUT

    async def wait_for_async(self, number: int, timeout: float | None) -> bool:
        """Wait as a coroutine; see `wait_for`."""
        waiter = self._look_or_queue(number, timeout, new_task_waiter)
        if isinstance(waiter, bool):
            return waiter
        outcome = await self._owners.wait_async(waiter, timeout, self._pass_on)
        return outcome is not TIMED_OUT

    def _new_waiter(self) -> GreenWaiter | ThreadWaiter:
        return new_waiter(f"{self.what}()")

    def _look_or_queue(
        self,
        number: int,
        timeout: float | None,
        new_waiter: Callable[[], AnyWaiter],
    ) -> AnyWaiter | bool:
        with mutex:
            if len(self.finished) >= number:
                return True
            if timeout == 0:
                return False
            waiter = new_waiter()
            self._enough = number
            owners = self._owners
            # Perhaps in between, by who interrupted us. Not by `len`, which is a call,
            # and such a one may come when it has returned.
            try:
                _ = self.finished[number - 1]
            except IndexError:
                owners.append(waiter)
                return waiter
            return True

    def _pass_on(self, _value: object) -> None:
        if len(self.finished) >= self._enough:
            self._owners.wake_one()


class Finishing(Iterator[T], AsyncIterator[T]):
    """Yields green threads and events as they finish; see `iwait`."""

    def __init__(
        self,
        objects: Iterable[T],
        timeout: float | None,
        count: int | None,
        what: str,
    ) -> None:
        self._left = 0
        self._inbox: _Inbox[T] = _Inbox(objects, what)
        timeout = checked_timeout(timeout, f"{what}()")
        self._deadline = None if timeout is None else _now() + timeout
        self._left = _checked_count(count, self._inbox)
        if self._left:
            self._inbox.open()

    def close(self) -> None:
        """Wait for nothing more."""
        if self._left:
            self._left = 0
            self._inbox.close()

    # An iterator that is dropped half-way leaves nothing behind either.
    __del__ = close

    def _remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - _now())

    def _take(self) -> T | None:
        with mutex:
            if not self._inbox.finished:
                return None
            thing = self._inbox.finished.popleft()
            if self._left == 1:
                self.close()
            else:
                self._left -= 1
            return thing

    def __iter__(self) -> ClosableResults[T]:
        return self

    def __next__(self) -> T:
        while self._left:
            thing = self._take()
            if thing is not None:
                return thing
            try:
                in_time = self._inbox.wait_for(1, self._remaining())
            except BaseException:
                self.close()
                raise
            if not in_time:
                self.close()
        raise StopIteration

    def __aiter__(self) -> ClosableResults[T]:
        return self

    async def __anext__(self) -> T:
        while self._left:
            thing = self._take()
            if thing is not None:
                return thing
            try:
                in_time = await self._inbox.wait_for_async(1, self._remaining())
            except BaseException:
                self.close()
                raise
            if not in_time:
                self.close()
        raise StopAsyncIteration


def _now() -> float:
    """The time on the clock by which the caller's time limits are measured."""
    hub = existing_hub()
    return monotonic() if hub is None else hub.loop.time()


def _checked_count(count: int | None, inbox: _Inbox[Any]) -> int:
    total = len(inbox.objects)
    if count is None:
        return total
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(
            f"{inbox.what}() takes a whole number as count, or None for all, not "
            f"{count!r}"
        )
    if count < 0:
        raise ValueError(
            f"{inbox.what}() takes a count of 0 or more, or None for all, not {count!r}"
        )
    return min(count, total)


def iwait(
    objects: Iterable[T],
    timeout: float | None = None,
    count: int | None = None,
) -> ClosableResults[T]:
    """Yield green threads and events as they finish.

    A green thread is finished when it has ended, however it did; an event when it was
    sent. What has finished already comes first.

    Args:
        objects: Green threads and events. Each is yielded once.
        timeout: Seconds for all of it together; the iterator then just ends.
        count: How many to yield at most; None for all.

    Returns:
        An iterator, for ``for`` and for ``async for``. An exception that interrupts its
        waiting ends it, too.

    Raises:
        TypeError: Something among the objects is neither a green thread nor an event.
        ValueError: `count` is negative.
    """
    return Finishing(objects, timeout, count, "iwait")


iwait_async = iwait


def wait(
    objects: Iterable[T],
    timeout: float | None = None,
    count: int | None = None,
) -> list[T]:
    """Wait until green threads and events have finished; see `iwait`.

    Args:
        objects: Green threads and events.
        timeout: Seconds to wait at most.
        count: How many have to finish; None for all.

    Returns:
        Those that have finished, in the order in which they did, `count` at most.

    Raises:
        TypeError: Something among the objects is neither a green thread nor an event.
        ValueError: `count` is negative.
    """
    return _wait(objects, timeout, count, "wait")


def _wait(
    objects: Iterable[T], timeout: float | None, count: int | None, what: str
) -> list[T]:
    timeout = checked_timeout(timeout, f"{what}()")
    inbox = _Inbox(objects, what)
    number = _checked_count(count, inbox)
    try:
        inbox.open()
        # Woken once, when all is there.
        inbox.wait_for(number, timeout)
        return list(inbox.finished)[:number]
    finally:
        inbox.close()


async def wait_async(
    objects: Iterable[T],
    timeout: float | None = None,
    count: int | None = None,
) -> list[T]:
    """Wait until green threads and events have finished, as a coroutine; see `wait`."""
    return await _wait_async(objects, timeout, count, "wait_async")


async def _wait_async(
    objects: Iterable[T], timeout: float | None, count: int | None, what: str
) -> list[T]:
    timeout = checked_timeout(timeout, f"{what}()")
    inbox = _Inbox(objects, what)
    number = _checked_count(count, inbox)
    try:
        inbox.open()
        await inbox.wait_for_async(number, timeout)
        return list(inbox.finished)[:number]
    finally:
        inbox.close()


def joinall(
    threads: Iterable[T],
    timeout: float | None = None,
    count: int | None = None,
    raise_error: bool = False,
) -> list[T]:
    """Wait until green threads have ended.

    It is `wait`, with an interest in failures if asked for.

    Args:
        threads: The green threads; events may be among them.
        timeout: Seconds to wait at most.
        count: How many have to end; None for all.
        raise_error: Whether to raise the first failure as soon as it happens. Without
            this, failures are left to whoever calls `GreenThread.wait`.

    Returns:
        Those that have ended, in the order in which they did, `count` at most.

    Raises:
        TypeError: Something among them is neither a green thread nor an event.
        ValueError: `count` is negative.
        BaseException: Whatever one of them raised, with `raise_error`.
    """
    if not raise_error:
        return _wait(threads, timeout, count, "joinall")
    ended = []
    finishing = Finishing(threads, timeout, count, "joinall")
    try:
        for thread in finishing:
            _check(thread)
            ended.append(thread)
    finally:
        # Now, rather than when the traceback of a failure is dropped.
        finishing.close()
    return ended


async def joinall_async(
    threads: Iterable[T],
    timeout: float | None = None,
    count: int | None = None,
    raise_error: bool = False,
) -> list[T]:
    """Wait until green threads have ended, as a coroutine; see `joinall`."""
    if not raise_error:
        return await _wait_async(threads, timeout, count, "joinall_async")
    ended = []
    finishing = Finishing(threads, timeout, count, "joinall_async")
    try:
        async for thread in finishing:
            _check(thread)
            ended.append(thread)
    finally:
        finishing.close()
    return ended


def _check(thing: Any) -> None:
    """Raise what a green thread failed with, or what was sent to an event."""
    if isinstance(thing, GreenThread):
        thing.outcome()
    else:
        thing.poll_exception()
