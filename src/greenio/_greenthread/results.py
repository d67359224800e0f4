"""Results of green threads, in order or as they come, for ``for`` and ``async for``.

In a `GreenPool.imap` three parties meet, at a `Feed`:

* the *feeder*, a green thread that reads the input and starts the calls. It has to be
  one of its own, since the input may wait, even for what the consumer makes of earlier
  results;
* the calls, in green threads of the pool;
* the consumer, with the iterator that `imap` returned (`OrderedResults` or
  `UnorderedResults`).

The feeder keeps no further ahead of the consumer than the pool's size. It does not
refer to the iterator, which ends it when it goes away itself.

One deadlock has to be avoided: the consumer is a green thread of the pool, the pool is
full of such, and the feeder waits for a slot. Then the consumer does the call itself,
as `GreenPool.spawn` would (`Feed.take_over`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent

from .._kernel.current import get_hub
from .._kernel.entries import Throw
from .._kernel.waiters import (
    Waiter,
    WaitQueue,
    drop,
    hold,
    mutex,
    new_waiter,
)
from .._std.errors import HubClosedError
from .arrivals import Arrivals
from .slots import Slots
from .thread import GreenThread

T_co = TypeVar("T_co", covariant=True)

# The feeder, waiting for a slot, is woken with this instead of one.
_TAKEN_OVER: Any = object()


class Feed(Arrivals):
    """Where the feeder, the calls and the consumer of an `imap` meet.

    Ordered, a call arrives here as soon as it has a slot; otherwise when it has ended.
    """

    __slots__ = (
        "closed",
        "error",
        "exhausted",
        "function",
        "idle",
        "ordered",
        "outstanding",
        "pending",
        "slots",
    )

    def __init__(
        self, slots: Slots, function: Callable[..., Any], *, ordered: bool
    ) -> None:
        super().__init__()
        self.slots = slots
        self.function = function
        self.ordered = ordered
        # Calls whose results were not taken yet, including the one without a slot.
        self.outstanding = 0
        # Nobody wants more of the input.
        self.closed = False
        # The feeder has ended: no more will be started.
        self.exhausted = False
        # What the input raised.
        self.error: BaseException | None = None
        # The feeder, when it is as far ahead as it may be.
        self.idle = WaitQueue()
        # The call that has no slot yet, and the feeder, waiting for one.
        self.pending: tuple[tuple[Any, ...], Waiter] | None = None

    # -- the feeder --------------------------------------------------------------------

    def run(self, rows: Iterator[Iterable[Any]]) -> None:
        """Read the input and start the calls, as far ahead as may be."""
        # No local name here keeps a call or its arguments alive while this waits.
        try:
            while True:
                if self.outstanding >= (self.slots.size or 1):
                    self._wait_for_consumer()
                self._call(tuple(next(rows)))
        except StopIteration:
            pass
        except (GreenletExit, KeyboardInterrupt, SystemExit):
            # Meant for this green thread, not raised by the input.
            raise
        except BaseException as exc:
            self.error = exc

    def _call(self, arguments: tuple[Any, ...]) -> None:
        if self._take_slot(arguments):
            try:
                thread = self.slots.start(self.function, arguments, {})
            except BaseException:
                self._one_less()
                raise
            if self.ordered:
                self.put(thread)
            else:
                thread.has_taker = True
                thread.link(self.put)

    def ended(self, feeder: GreenThread) -> None:
        """Note that the feeder has ended, even if it never began."""
        if not self.closed and self.error is None:
            self.error = feeder._error
        self.exhausted = True
        if not self.outstanding:
            self.look_again()

    def _wait_for_consumer(self) -> None:
        while True:
            with mutex:
                if self.outstanding < (self.slots.size or 1):
                    return
                waiter = new_waiter("reading the input of imap()")
                self.idle.append(waiter)
            self.idle.wait(waiter, None, None)

    def _take_slot(self, arguments: tuple[Any, ...]) -> bool:
        """Take a slot for a call, waiting for it; False if the call is done already."""
        slots = self.slots
        try:
            hold()
            self.outstanding += 1
            if slots.free > 0:
                slots.free -= 1
                return True
            waiter = new_waiter("calling a function on a full GreenPool")
            slots.waiters.append(waiter)
            self.pending = (arguments, waiter)
            # Perhaps the consumer can do it.
            self.takers.wake_one(None)
        finally:
            drop()
        try:
            outcome = slots.waiters.wait(waiter, None, self._give_slot_back)
        except BaseException:
            self._one_less()
            raise
        finally:
            self.pending = None
        return outcome is not _TAKEN_OVER

    def _give_slot_back(self, outcome: Any) -> None:
        if outcome is not _TAKEN_OVER:
            self.slots.give_back()

    def _one_less(self) -> None:
        with mutex:
            self.outstanding -= 1

    # -- the consumer --------------------------------------------------------------------

    def next_thread(self) -> GreenThread | None:
        """Take the next green thread, waiting for it; None at the end of the input.

        Raises:
            BaseException: Whatever the input raised.
        """
        while True:
            if self.pending is not None and not self.threads:
                thread = self._take_over()
                if thread is not None:
                    return thread
            if self.outstanding or not self.exhausted:
                thread = self.get()
                if thread is not None:
                    return thread
            elif self.error is None:
                return None
            else:
                self._raise_error()

    async def next_thread_async(self) -> GreenThread | None:
        """Take the next green thread as a coroutine; see `next_thread`."""
        while self.outstanding or not self.exhausted:
            thread = await self.get_async()
            if thread is not None:
                return thread
        if self.error is not None:
            self._raise_error()
        return None

    def _raise_error(self) -> None:
        error = self.error
        assert error is not None
        self.error = None
        try:
            raise error
        finally:
            # Not a cycle through this frame and the traceback.
            del error

    def _take_over(self) -> GreenThread | None:
        """Do the pending call in place, if the caller is one of the pool's own."""
        slots = self.slots
        if getcurrent() not in slots.running:
            return None
        with mutex:
            if self.pending is None:
                return None
            arguments, waiter = self.pending
            if waiter.done:
                # It was handed a slot in the meantime.
                return None
            self.pending = None
            waiter.wake(_TAKEN_OVER)
            slots.waiters.discard(waiter)
        thread = GreenThread(get_hub(), self.function, arguments, {})
        try:
            thread.run_in_place()
        except BaseException:
            self.taken()
            raise
        return thread

    def taken(self) -> None:
        """Note that a result was taken: there is room for another call."""
        try:
            hold()
            self.outstanding -= 1
            if self.idle:
                self.idle.wake_one()
            elif self.exhausted and not self.outstanding:
                self.takers.wake_all(None)
        finally:
            drop()


class _Results(Iterator[T_co], AsyncIterator[T_co]):
    """What is common to the iterators that `GreenPool.imap` and its sisters return."""

    def __init__(self, feed: Feed, feeder: GreenThread) -> None:
        self._feed = feed
        self._feeder = feeder

    def __repr__(self) -> str:
        feed = self._feed
        return (
            f"<{type(self).__name__} of {feed.function!r}, {feed.outstanding} "
            f"outstanding, pool of {feed.slots.size}>"
        )

    def close(self) -> None:
        """Read no more of the input; what was started already goes on."""
        feed = self._feed
        feed.closed = True
        if feed.exhausted:
            return
        feeder = self._feeder
        # Not by `kill`, which would switch: this may be called by the interpreter, as
        # `__del__`, in the middle of anything.
        try:
            feeder._hub.wake_threadsafe(Throw(feeder, (GreenletExit,)))
        except HubClosedError:
            pass

    __del__ = close


class OrderedResults(_Results[T_co]):
    """Results in the order of the input; see `GreenPool.imap`."""

    def __iter__(self) -> OrderedResults[T_co]:
        return self

    def __next__(self) -> T_co:
        feed = self._feed
        thread = feed.next_thread()
        if thread is None:
            raise StopIteration
        if not thread.dead:
            try:
                thread.wait_end()
            except BaseException:
                # Killed or timed out: the result is still to be had.
                feed.put_back(thread)
                raise
        feed.taken()
        try:
            return thread.outcome()  # type: ignore[no-any-return]
        finally:
            # What is raised keeps this frame.
            del thread, feed, self

    next = __next__

    def __aiter__(self) -> OrderedResults[T_co]:
        return self

    async def __anext__(self) -> T_co:
        feed = self._feed
        thread = await feed.next_thread_async()
        if thread is None:
            raise StopAsyncIteration
        if not thread.dead:
            try:
                await thread.wait_end_async()
            except BaseException:
                feed.put_back(thread)
                raise
        feed.taken()
        try:
            return thread.outcome()  # type: ignore[no-any-return]
        finally:
            # What is raised keeps this frame.
            del thread, feed, self


class UnorderedResults(_Results[T_co]):
    """Results as they come; see `GreenPool.imap_unordered`."""

    def __iter__(self) -> UnorderedResults[T_co]:
        return self

    def __next__(self) -> T_co:
        thread = self._feed.next_thread()
        if thread is None:
            raise StopIteration
        self._feed.taken()
        try:
            return thread.outcome()  # type: ignore[no-any-return]
        finally:
            del thread, self

    next = __next__

    def __aiter__(self) -> UnorderedResults[T_co]:
        return self

    async def __anext__(self) -> T_co:
        thread = await self._feed.next_thread_async()
        if thread is None:
            raise StopAsyncIteration
        self._feed.taken()
        try:
            return thread.outcome()  # type: ignore[no-any-return]
        finally:
            del thread, self
