"""Results of green threads, in order or as they come, for ``for`` and ``async for``.

In a `GreenPool.imap` three parties meet, at a `Feed`:

* the *feeder*, a green thread that reads the input and starts the calls. It has to be
  one of its own, since the input may wait, even for what the consumer makes of earlier
  results;
* the calls, in green threads of the pool (see `calls`);
* the consumer, with the iterator that `imap` returned (`OrderedResults` or
  `UnorderedResults`).

The feeder keeps no further ahead of the consumer than the pool's size. It does not
refer to the iterator, which ends it when it goes away itself.

One deadlock has to be avoided: the consumer is a green thread of the pool, the pool is
full of such, and the feeder waits for a slot. Then the consumer does the call itself,
as `GreenPool.spawn` would (`Feed.take_over`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import copy_context
from itertools import repeat
from typing import Any, TypeVar
from weakref import WeakSet

from greenlet import GreenletExit, getcurrent

from .._kernel.current import get_hub
from .._kernel.entries import Throw
from .._kernel.hub import Hub
from .._kernel.waiters import (
    GreenWaiter,
    TaskWaiter,
    ThreadWaiter,
    Waiter,
    WaitQueue,
    drop,
    hold,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._std.errors import HubClosedError
from .._std.originals import get_ident
from .arrivals import Arrivals
from .calls import Call, Worker
from .slots import Slots, SlotThread
from .thread import GreenThread

T_co = TypeVar("T_co", covariant=True)

# The feeder, waiting for a slot, is woken with this instead of one.
_TAKEN_OVER: Any = object()


class Feed(Arrivals[Call]):
    """Where the feeder, the calls and the consumer of an `imap` meet.

    Ordered, a call arrives here as soon as it has a slot; otherwise when it has ended.
    """

    __slots__ = (
        "__weakref__",
        "closed",
        "error",
        "exhausted",
        "first_unstarted",
        "function",
        "hub",
        "idle",
        "ordered",
        "outstanding",
        "pending",
        "slots",
        "unstarted",
        "uses_again",
        "worker_queued",
    )

    def __init__(
        self, hub: Hub, slots: Slots, function: Callable[..., Any], *, ordered: bool
    ) -> None:
        super().__init__()
        self.hub: Hub = hub
        self.slots: Slots = slots
        self.function: Callable[..., Any] = function
        self.ordered: bool = ordered
        # Calls whose results were not taken yet, including the one without a slot.
        self.outstanding: int = 0
        # Nobody wants more of the input.
        self.closed: bool = False
        # The feeder has ended: no more will be started.
        self.exhausted: bool = False
        # What the input raised.
        self.error: BaseException | None = None
        # The feeder, when it is as far ahead as it may be.
        self.idle: WaitQueue = WaitQueue()
        # The call that has no slot yet, and the feeder, waiting for one.
        self.pending: tuple[tuple[Any, ...], Waiter] | None = None
        # Calls that have a slot and have not begun, and how to take out the first one in one
        # step with what follows; see `RunQueue`.
        self.unstarted: deque[Call] = deque()
        self.first_unstarted: Iterator[Call] = map(
            deque.popleft, repeat(self.unstarted)
        )
        # Whether a worker will see to them when its turn comes.
        self.worker_queued: bool = False
        # Whether a worker makes several calls, where none is to be told from others.
        self.uses_again: bool = not (hub.hides or hub.loop.get_debug())
        if slots.feeds is None:
            slots.feeds = WeakSet()
        slots.feeds.add(self)

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
        call = _new_call(arguments)
        slots = self.slots
        try:
            hold()
            # What comes below in the usual case: there is a slot, a worker will come, and
            # nobody waits for a call. That saves a tenth of an `imap`.
            if slots.free > 0 and self.worker_queued and not self.takers:
                slots.free -= 1
                slots.unstarted += 1
                self.outstanding += 1
                self.unstarted.append(call)
                if self.ordered:
                    self.arrived.append(call)
                    if self.takers:
                        # He has come while somebody interrupted us.
                        self.hand_on()
                return
        except BaseException:
            self._take_back(call)
            raise
        finally:
            drop()
        self._call_when_free(call, arguments)

    def _call_when_free(self, call: Call, arguments: tuple[Any, ...]) -> None:
        """Have a call made that has no slot yet."""
        taker: Waiter | None = None
        try:
            if not self._take_slot(call, arguments):
                return
            if not self.uses_again:
                self.start_all()
            elif not self.worker_queued:
                self.queue_worker()
            if self.ordered:
                if self.takers:
                    taker = self.takers[0]
                self.put(call)
        except BaseException:
            if not (taker is not None and taker.done and taker.value is call):
                self._take_back(call)
            raise

    def _take_back(self, call: Call) -> None:
        """Have a call not made; the feeder was interrupted, and no consumer has it."""
        with mutex:
            if call in self.unstarted:
                self.unstarted.remove(call)
                self.slots.unstarted -= 1
                self.outstanding -= 1
                if call in self.arrived:
                    self.arrived.remove(call)
                self.slots.give_back()

    def ended(self, feeder: GreenThread) -> None:
        """Note that the feeder has ended, even if it never began."""
        if not self.closed and self.error is None:
            # It has none yet if it was interrupted where it ends; then this comes again.
            self.error = getattr(feeder, "_error", None)
        self.exhausted = True
        if not self.outstanding:
            self.look_again()

    def _wait_for_consumer(self) -> None:
        while True:
            with mutex:
                if self.outstanding < (self.slots.size or 1):
                    return
                waiter = new_waiter("reading the input of imap()")
                idle = self.idle
                if self.outstanding < (self.slots.size or 1):
                    # Taken by who interrupted us in between.
                    return
                idle.append(waiter)
            self.idle.wait(waiter, None, None)

    def _take_slot(self, call: Call, arguments: tuple[Any, ...]) -> bool:
        """Take a slot for a call, waiting for it; False if the call is done already."""
        slots = self.slots
        waiters = slots.waiters
        waiter: Any = None
        try:
            try:
                hold()
                if slots.free > 0:
                    slots.free -= 1
                    slots.unstarted += 1
                    self.outstanding += 1
                    self.unstarted.append(call)
                    return True
                waiter = new_waiter("calling a function on a full GreenPool")
                if slots.free > 0:
                    # Freed by who interrupted us in between.
                    slots.free -= 1
                    slots.unstarted += 1
                    self.outstanding += 1
                    self.unstarted.append(call)
                    return True
                self.outstanding += 1
                self.pending = (arguments, waiter)
                waiters.append(waiter)
                # Perhaps the consumer can do it.
                self.takers.wake_one(None)
            finally:
                drop()
            outcome = waiters.wait(waiter, None, self._give_slot_back)
            self.pending = None
            if outcome is _TAKEN_OVER:
                return False
            slots.unstarted += 1
            self.unstarted.append(call)
        except BaseException:
            if self.pending is not None:
                self.pending = None
                self._one_less()
            if waiter is not None and call not in self.unstarted:
                slots.not_taken(waiter, self._give_slot_back)
            raise
        return True

    def _give_slot_back(self, outcome: Any) -> None:
        if outcome is not _TAKEN_OVER:
            self.slots.give_back()

    def _one_less(self) -> None:
        with mutex:
            self.outstanding -= 1

    # -- the calls -----------------------------------------------------------------------

    def queue_worker(self, at_once: bool = False) -> None:
        """Have a worker see to the calls that have not begun.

        Args:
            at_once: Right after the caller, whom a drain has just started.
        """
        worker = Worker.of(self)
        hub = self.hub
        # Said before, since it may start before this returns.
        self.worker_queued = True
        try:
            if at_once and hub.handoffs:
                hub.batch.appendleft(worker)
            else:
                hub.wake(worker)
        except BaseException:
            self.worker_queued = False
            raise

    def see_to_calls(self) -> None:
        """Note that a worker ends; if nobody sees to the other calls, another one does."""
        if self.unstarted and not self.worker_queued:
            self.queue_worker()

    def thread_for_first(self) -> SlotThread | None:
        """Make a green thread for the first call that has not begun; None if there is none."""
        unstarted = self.unstarted
        while unstarted:
            call = unstarted[0]
            arguments, slots = call.arguments, self.slots
            thread = SlotThread(self.hub, self.function, arguments, {}, call.context)
            thread._slots = None
            thread.has_taker = True
            thread.link(self.call_ended, call)
            if unstarted and unstarted[0] is call:
                # To take it out and to have its slot is one step.
                for call in self.first_unstarted:  # noqa: B007
                    slots.unstarted -= 1
                    thread._slots = slots
                    break
                call.arguments = ()
                call.thread = thread
                try:
                    slots.running.add(thread)
                except BaseException:
                    slots.call_off(thread)
                    raise
                return thread
        return None

    def start_all(self) -> None:
        """Give each call that has not begun a green thread of its own, and later ones too.

        In another OS thread than the hub's that is impossible, and nothing happens.
        """
        if get_ident() == self.hub.thread_id:
            # Or a worker would come before these.
            self.uses_again = self.worker_queued = False
            while self.unstarted:
                thread: SlotThread | None = None
                try:
                    thread = self.thread_for_first()
                    if thread is not None:
                        self.hub.wake(thread)
                except BaseException:
                    if thread is not None:
                        self.slots.call_off(thread)
                    raise

    def call_ended(self, _thread: GreenThread, call: Call) -> None:
        """Tell who waits for a call that the green thread which made it has ended."""
        call.done = True
        waiter = call.waiter
        if waiter is not None:
            with mutex:
                if not waiter.done:
                    waiter.wake()
        if not self.ordered:
            self.put(call)

    # -- the consumer --------------------------------------------------------------------

    def next_call(self) -> Call | None:
        """Take the next call, waiting for it; None at the end of the input.

        Raises:
            BaseException: Whatever the input raised.
        """
        while True:
            if self.pending is not None and not self.arrived:
                call = self._take_over()
                if call is not None:
                    return call
            looks = self.looks
            if self.outstanding or not self.exhausted:
                call = self.get(looks)
                if call is not None:
                    return call
            elif self.error is None:
                return None
            else:
                self._raise_error()

    async def next_call_async(self) -> Call | None:
        """Take the next call as a coroutine; see `next_call`."""
        while True:
            looks = self.looks
            if not self.outstanding and self.exhausted:
                break
            call = await self.get_async(looks)
            if call is not None:
                return call
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

    def _take_over(self) -> Call | None:
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
        call = _new_call(arguments)
        call.thread = thread = GreenThread(get_hub(), self.function, arguments, {})
        try:
            thread.run_in_place()
        except BaseException:
            self.taken()
            raise
        call.done = True
        return call

    def wait_for(self, call: Call) -> None:
        """Wait for the end of a call; if that is not to be, put it back."""
        waiter = new_waiter("waiting for a result")
        try:
            if _is_to_wake(waiter, call):
                waiter.block()
        except BaseException:
            # Killed or timed out: the result is still to be had.
            call.waiter = None
            self.put_back(call)
            raise

    async def wait_for_async(self, call: Call) -> None:
        """Wait for the end of a call as a coroutine; see `wait_for`."""
        waiter = new_task_waiter()
        try:
            if _is_to_wake(waiter, call):
                await waiter.future
        except BaseException:
            call.waiter = None
            self.put_back(call)
            raise

    def taken(self) -> None:
        """Note that a result was taken: there is room for another call."""
        try:
            hold()
            self.outstanding -= 1
            if self.idle:
                self.idle.wake_one()
            elif self.exhausted and not self.outstanding:
                self.looks += 1
                self.takers.wake_all(None)
        finally:
            drop()


def _new_call(arguments: tuple[Any, ...]) -> Call:
    call = Call()
    call.arguments = arguments
    call.context = copy_context()
    call.done = False
    call.thread = call.value = call.waiter = None
    return call


def _is_to_wake(waiter: GreenWaiter | TaskWaiter | ThreadWaiter, call: Call) -> bool:
    """Have a waiter woken when a call ends, unless it has ended."""
    with mutex:
        call.waiter = waiter
        return not call.done


class _Results(Iterator[T_co], AsyncIterator[T_co]):
    """What is common to the iterators that `GreenPool.imap` and its sisters return."""

    # None where an interrupt keeps it from being made.
    _feeder: GreenThread | None = None

    def __init__(self, feed: Feed, feeder: GreenThread) -> None:
        self._feed: Feed = feed
        self._feeder = feeder

    def __repr__(self) -> str:
        feed = self._feed
        return (
            f"<{type(self).__name__} of {feed.function!r}, {feed.outstanding} "
            f"outstanding, pool of {feed.slots.size}>"
        )

    def close(self) -> None:
        """Read no more of the input; what was started already goes on."""
        feeder = self._feeder
        if feeder is None:
            return
        feed = self._feed
        feed.closed = True
        if feed.exhausted:
            return
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
        call = feed.next_call()
        if call is None:
            raise StopIteration
        if not call.done:
            feed.wait_for(call)
        feed.taken()
        try:
            return call.outcome()  # type: ignore[no-any-return]
        finally:
            # What is raised keeps this frame.
            del call, feed, self

    next = __next__

    def __aiter__(self) -> OrderedResults[T_co]:
        return self

    async def __anext__(self) -> T_co:
        feed = self._feed
        call = await feed.next_call_async()
        if call is None:
            raise StopAsyncIteration
        if not call.done:
            await feed.wait_for_async(call)
        feed.taken()
        try:
            return call.outcome()  # type: ignore[no-any-return]
        finally:
            # What is raised keeps this frame.
            del call, feed, self


class UnorderedResults(_Results[T_co]):
    """Results as they come; see `GreenPool.imap_unordered`."""

    def __iter__(self) -> UnorderedResults[T_co]:
        return self

    def __next__(self) -> T_co:
        call = self._feed.next_call()
        if call is None:
            raise StopIteration
        self._feed.taken()
        try:
            return call.outcome()  # type: ignore[no-any-return]
        finally:
            del call, self

    next = __next__

    def __aiter__(self) -> UnorderedResults[T_co]:
        return self

    async def __anext__(self) -> T_co:
        call = await self._feed.next_call_async()
        if call is None:
            raise StopAsyncIteration
        self._feed.taken()
        try:
            return call.outcome()  # type: ignore[no-any-return]
        finally:
            del call, self
