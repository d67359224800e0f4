"""`sleep`: let the others run."""

from __future__ import annotations

import math
from typing import Any

from greenlet import getcurrent, greenlet

from .._kernel.current import hub_to_park_in
from .._kernel.hub import Hub
from .._loop.mutex import JUMPS_ARE_SAFE, in_section, park_outside
from .._reactor.moments import join_moment
from .._std.errors import BlockingInLoopError
from .._std.interpreter_exit import is_exiting
from .._std.originals import time_sleep
from .arguments import checked_seconds


def sleep(seconds: float = 0) -> None:
    """Let the others run, and go on after some seconds.

    Args:
        seconds: How long; 0 or less yields for one turn of the loop.

    Raises:
        TypeError: `seconds` is not a number.
        BlockingInLoopError: Called in the loop greenlet with more than 0 seconds; a
            coroutine uses ``await asyncio.sleep(seconds)``.
    """
    current = getcurrent()
    hub: Hub | None
    try:
        hub = current._hub  # type: ignore[attr-defined]
    except AttributeError:
        hub = None
    if hub is None:
        hub = _hub_to_sleep_in(seconds)
        if hub is None:
            return
    if seconds != 0:
        seconds = checked_seconds(seconds, "sleep")
        if seconds:
            joins = hub.defers and seconds != math.inf
            sleep_on = _sleep_until_moment if joins else _sleep_until_called
            sleep_on(hub, current, seconds)
            return
    if in_section():
        park_outside(sleep)
        return
    ready = hub.ready
    if ready:
        ready.append(current)
    elif hub.batch or hub.lone:
        hub.lone = hub.hides
        hub.schedule(current)
    else:
        # Past the run queue: nobody else is ready.
        hub.lone = current
        try:
            call_soon = hub.loop_call_soon
            call_soon(current.switch, context=hub.context)
            loop_switch = hub.loop_switch
            loop_switch()
        finally:
            hub.lone = False
        return
    # Hub.park, written out: that saves a fifteenth of a yield among others.
    batch = hub.batch
    if batch and (JUMPS_ARE_SAFE or batch[0]):
        for successor in hub.successors:  # noqa: B007
            break
        if successor:
            successor.switch()
            return
        batch.appendleft(successor)
        del successor
    loop_switch = hub.loop_switch
    loop_switch()


def _sleep_until_moment(hub: Hub, current: greenlet, seconds: float) -> None:
    hub.timers += 1
    try:
        moment = join_moment(hub, seconds, current)
        try:
            while not moment.due:
                hub.park()
        except BaseException:
            moment.leave(current)
            # What is raised keeps this frame.
            del moment
            raise
    finally:
        hub.timers -= 1


def _sleep_until_called(hub: Hub, current: greenlet, seconds: float) -> None:
    loop = hub.loop
    # What its timer passes, so that no other resume is taken for the end; not even that
    # of an earlier sleep which was interrupted before it knew its timer. Always a new object.
    time_is_up: Any = loop.time() + seconds if seconds != math.inf else [seconds]
    timer: Any = None
    hub.timers += 1
    try:
        if seconds != math.inf:
            # Hub.call_later, written out: that saves a twentieth of a sleep.
            switch = current.switch
            timer = loop.call_at(time_is_up, switch, time_is_up, context=hub.context)
        while hub.park() is not time_is_up:
            pass
    except BaseException:
        if timer is not None:
            timer.cancel()
        raise
    finally:
        hub.timers -= 1


def _hub_to_sleep_in(seconds: float) -> Hub | None:
    """The hub for a caller that is not a green thread; None if it has slept."""
    seconds = checked_seconds(seconds, "sleep")
    try:
        hub = None if is_exiting() else hub_to_park_in(f"sleep({seconds!r})")
    except BlockingInLoopError:
        if seconds == 0:
            return None
        raise
    if hub is None:
        time_sleep(seconds)
    return hub
