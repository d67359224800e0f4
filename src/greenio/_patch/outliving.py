"""Green threads that go on when their loop ends: the threads of a patched program.

A real thread does not care which event loop ends. So a hub that has such green threads
*moves* when its loop does, to the loop of the OS thread's own hub. That one runs whenever
the main program waits, at the latest at the end of the program, where the interpreter
waits for threads that are not daemons.

A hub moves with what its green threads wait for: timers, descriptors, and their places in
the run queue. What they await on the old loop was that loop's, and is cancelled with it.

It moves when its old loop is closed (see `loop_closes`), not when the tasks there are
cancelled: what a runner does after that, such as waiting for the loop's executor, may need
the very threads that outlive the loop. And it moves when the main program waits and its
loop has only stopped (see `loops_have_stopped`): it may never run again. The first drain on
the new loop takes the green threads along.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import sys
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from greenlet import greenlet

from .._kernel import current as _current
from .._kernel import hub as _hub
from .._kernel.hub import Hub
from .._kernel.run_queue import RunQueue
from .._kernel.shutdown import outlives_its_loop
from .._loop.signals import SignalWakeup
from .._reactor.moments import Moment
from .._std.originals import get_ident, in_main_thread


def loop_closes(loop: asyncio.AbstractEventLoop) -> None:
    """Take those elsewhere who outlive a loop; called before it is closed."""
    hub = _current.attached_hubs.get(loop)
    if hub is None or loop.is_running():
        return
    if sys.version_info >= (3, 15):
        # The collector takes greenlets apart there that only a cycle keeps, and their
        # `finally` blocks do not run.
        hub.left_behind = tuple(hub.green_threads())
    if not _may_move(hub):
        return
    if _has_outliving(hub):
        _move(hub)


def loops_have_stopped() -> None:
    """Take those along who outlive a loop that has stopped; this thread has its own hub."""
    for loop, hub in tuple(_current.attached_hubs.items()):
        if (
            hub.thread_id == get_ident()
            and not (loop.is_running() or loop.is_closed())
            and _may_move(hub)
            and _has_outliving(hub)
            and not _has_portals(hub)
        ):
            _move(hub)


def _has_outliving(hub: Hub) -> bool:
    return any(outlives_its_loop(thread) for thread in hub.green_threads())


def _has_portals(hub: Hub) -> bool:
    """Whether somebody waits in the middle of a Task, which only its loop can step."""
    cache = hub.extension
    return cache is not None and not set(cache.known()) <= set(cache.portals)


def outlive_loop(thread: Any) -> None:
    """Have a green thread go on when its loop ends."""
    thread._outlives_loop = True


def _may_move(hub: Hub) -> bool:
    # The hub of another OS thread ends with that thread.
    return not hub.owned and not hub.moved and in_main_thread()


def _move(hub: Hub) -> None:
    """Attach a hub to the loop of this thread's own hub."""
    old = hub.loop
    own = _current.get_own_hub()
    _current.attached_hubs.pop(old, None)
    timers = _take_timers(hub, old)
    hub.moved = True
    queues: list[RunQueue] = [hub] if hub.twin is None else [hub, hub.twin]
    for queue in queues:
        queue.move_to_loop(own.loop)
        if isinstance(queue.lone, greenlet):
            # Its yield was the old loop's.
            queue.ready.append(queue.lone)
        # Before anything else that calls back from there.
        queue.schedule_drain()
    hub.set_loop_greenlet(hub.loop_greenlet, own.thread_id)
    hub._signals.disarm()
    hub._signals = SignalWakeup(own.loop, hub._resume_interrupted)
    hub.descriptors.move_to_loop(own.loop)
    for seconds, timer in sorted(timers, key=itemgetter(0)):
        timer(hub, seconds)
    hub.supervise()


_Rescheduling = Callable[[Hub, float], None]


def _take_timers(
    hub: Hub, loop: asyncio.AbstractEventLoop
) -> list[tuple[float, _Rescheduling]]:
    """Take a hub's timers from a loop, each with the seconds that are left."""
    now = loop.time()
    queues = (hub, hub.twin or hub)
    taken: list[tuple[float, _Rescheduling]] = [
        (moment.when() - now, moment.schedule_again)
        for moment in gc.get_objects()
        if type(moment) is Moment and any(moment.is_on(queue) for queue in queues)
    ]
    scheduled: list[Any] = getattr(loop, "_scheduled", [])
    ours = [
        handle
        for handle in scheduled
        if handle._context is hub.context
        and not handle.cancelled()
        and not isinstance(getattr(handle._callback, "__self__", None), Moment)
    ]
    for handle in ours:
        scheduled.remove(handle)
        handle._scheduled = False
        taken.append((handle.when() - now, _Moved(handle).schedule_again))
    heapq.heapify(scheduled)
    return taken


class _Moved:
    """The call of a timer that somebody may still cancel by its handle."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def schedule_again(self, hub: Hub, seconds: float) -> None:
        hub.call_later(max(0.0, seconds), self._due)

    def _due(self) -> None:
        handle = self._handle
        if not handle.cancelled():
            handle._callback(*handle._args)


_hub.may_move = _may_move
_current.bring_along = loops_have_stopped
