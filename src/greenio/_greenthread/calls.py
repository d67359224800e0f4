"""The calls of an `imap`, and the green threads that make them, one after the other.

To start a greenlet costs more than all the rest of a short call (see `going_on`), and nobody
but its own function sees the green thread of such a call. So a call has none before it begins:

* The feeder puts calls that have a slot into `Feed.unstarted`, and sees to it that a *worker*
  is on the run queue while there are any.
* A worker that starts while there are several has the next worker start right after it, since
  its own call may wait. Then it takes the first call.
* When that has returned without waiting, the worker makes the next call, if nobody can tell:
  nobody refers to the worker, or waits for the call or for a slot. Otherwise it ends as every
  green thread does, with the outcome of its call.
* Each call counts as one that joins the batch, so as many are made in one turn as there would
  be if each was a green thread that is woken; see `run_queue`.
* Whoever looks at `GreenPool.coroutines_running` gets a green thread for each call that has
  not begun, and that one makes it; so it is with all later calls of that `imap`.
"""

from __future__ import annotations

from contextvars import Context
from sys import getrefcount
from types import CoroutineType
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

from greenlet import getcurrent

from .._kernel.waiters import GreenWaiter, TaskWaiter, ThreadWaiter, drop, hold
from .coroutines import finished
from .going_on import STARTED
from .slots import SlotThread
from .thread import GreenThread
from .thread_names import DONE

if TYPE_CHECKING:
    from .results import Feed


class Call:
    """A call, and what came of it: a value, or a green thread that has ended."""

    __slots__ = ("arguments", "context", "done", "thread", "value", "waiter")

    # Set by `Feed`: up to Python 3.12, an `__init__` doubles what a call costs.
    arguments: tuple[Any, ...]
    context: Context
    # Whether it has ended; that is said last.
    done: bool
    # Who makes it, or made it.
    thread: GreenThread | None
    value: Any
    # The consumer, if he waits for it.
    waiter: GreenWaiter | TaskWaiter | ThreadWaiter | None

    def outcome(self) -> Any:
        """Return or raise what came of it."""
        thread = self.thread
        if thread is None:
            return self.value
        try:
            return thread.outcome()
        finally:
            # What is raised keeps this frame.
            del thread, self


class Worker(SlotThread):
    """A green thread that makes calls of a feed."""

    __slots__ = ("_feed", "_serving")

    # None when it has ended: the feed leads to its calls, and these lead here.
    _feed: Feed | None
    # The call that it makes, with a slot.
    _serving: Call | None

    @classmethod
    def of(cls, feed: Feed) -> Worker:
        """Return a new one, which is not on the run queue yet."""
        worker = cls(feed.hub, feed.function, (), {}, Context())
        worker.run = work
        worker._feed = feed
        worker._serving = worker._slots = None
        worker.has_taker = True
        return worker

    def _end(self, state: str, result: Any, error: BaseException | None) -> None:
        feed, call = self._feed, self._serving
        try:
            if feed is not None:
                feed.slots.leave(self)
                if call is not None:
                    # Before what others have linked, which may wait.
                    told: dict[Any, Any] = {call: (feed.call_ended, (call,), {})}
                    self._links = {**told, **(self._links or {})}
                    self._serving = None
                feed.see_to_calls()
                self._feed = None
            GreenThread._end(self, state, result, error)
        except BaseException:
            if feed is not None:
                self._end_anyway(feed.slots)
            raise

    def _interrupted(self, error: BaseException) -> None:
        feed = self._feed
        if feed is not None and self._call is not None:
            # Others are to see to the calls.
            feed.worker_queued = False
        SlotThread._interrupted(self, error)
        if feed is not None:
            self._end_anyway(feed.slots)
            feed.see_to_calls()

    def _kill_unstarted(self, throw_args: tuple[Any, ...]) -> None:
        feed = self._feed
        if feed is not None:
            feed.worker_queued = False
        while feed is not None and (thread := feed.thread_for_first()) is not None:
            thread._kill_unstarted(throw_args)
        GreenThread._kill_unstarted(self, throw_args)


def work() -> None:
    """The body of every worker; as in `thread.body`, nothing here refers to it."""
    try:
        function = getcurrent()._feed.function  # type: ignore[attr-defined]
        arguments = _begin()
        while arguments is not None:
            try:
                result = function(*arguments)
                if type(result) is CoroutineType:
                    result = finished(function, result)
            except BaseException as exc:
                arguments = None
                getcurrent()._failed(exc)  # type: ignore[attr-defined]
                if isinstance(exc, (KeyboardInterrupt, SystemExit)) and not hasattr(
                    getcurrent(), "passed_on"
                ):
                    raise
                return
            arguments = _end_and_go_on(result)
            del result
    except BaseException as exc:
        getcurrent()._interrupted(exc)  # type: ignore[attr-defined]
        raise


def _begin() -> tuple[Any, ...] | None:
    """Take the first call, and see to it that others take the rest meanwhile."""
    current: Any = getcurrent()
    current._call = None
    feed = current._feed
    feed.worker_queued = False
    unstarted = feed.unstarted
    if len(unstarted) > 1:
        feed.queue_worker(at_once=True)
    if unstarted:
        feed.slots.running.add(current)
    return _take(current, feed)


def _take(current: Any, feed: Feed) -> tuple[Any, ...] | None:
    """Have the current worker make the first call that has not begun; else it ends."""
    slots = feed.slots
    if feed.unstarted:
        # To take it out and to have it is one step; see `mutex`.
        for call in feed.first_unstarted:
            current._serving = call
            current._slots = slots
            slots.unstarted -= 1
            break
        call.thread = current
        current.gr_context = call.context
        arguments = call.arguments
        call.arguments = ()
        return arguments
    current._end(DONE, None, None)
    return None


def _end_and_go_on(result: Any) -> tuple[Any, ...] | None:
    """End the current worker's call, and have it make the next one, if nobody can tell.

    Returns:
        The arguments of the next call; None if the worker has ended.
    """
    current: Any = getcurrent()
    feed = current._feed
    hub = feed.hub
    if (
        not feed.unstarted
        or not hub.handoffs
        or getrefcount(current) != _SERVING
        or hub.starting is not current
        or current._hub is not hub
        or current.__dict__
        or getweakrefcount(current)
        or current._watchers
        or current._links
    ):
        current._end(DONE, result, None)
        return None
    slots, call = feed.slots, current._serving
    try:
        hold()
        if not (
            slots.waiters
            or call.waiter is not None
            or (feed.takers and not feed.ordered)
        ):
            # What `Worker._end` does, for nobody else to see, in one step.
            call.value = result
            call.thread = None
            call.done = True
            current._serving = current._slots = None
            slots.free += 1
            hub.handoffs -= 1
            if not feed.ordered:
                feed.arrived.append(call)
    finally:
        drop()
    if current._serving is None:
        return _take(current, feed)
    current._end(DONE, result, None)
    return None


# How many references to a worker there are if there are no others than those of the run
# queue, of its slot and of its call.
_SERVING = STARTED + 2
