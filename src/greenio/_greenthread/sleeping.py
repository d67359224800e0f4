"""`sleep`: let the others run."""

from __future__ import annotations

import math

from greenlet import getcurrent, greenlet

from .._kernel.current import hub_to_park_in
from .._kernel.hub import Hub
from .._std.errors import BlockingInLoopError
from .._std.interpreter_exit import is_exiting
from .._std.originals import time_sleep
from .arguments import checked_seconds

# Passed by the timer that ends a sleep, so that no other resume is taken for it.
_TIME_IS_UP = object()


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
            _sleep_for(hub, current, seconds)
            return
    ready = hub.ready
    batch = hub.batch
    if not (ready or batch or hub.lone):
        _yield_alone(hub, current)
        return
    if ready:
        ready.append(current)
    else:
        hub.lone = False
        hub.schedule(current)
    # Hub.park, written out: that saves a fifteenth of a yield among others.
    if batch:
        successor = batch[0]
        if successor:
            del batch[0]
            successor.switch()
            return
    loop_switch = hub.loop_switch
    loop_switch()


def _yield_alone(hub: Hub, current: greenlet) -> None:
    """Wait for a turn of the loop, past the run queue: nobody else is ready."""
    hub.lone = current
    try:
        call_soon = hub.loop_call_soon
        call_soon(current.switch, context=hub.context)
        loop_switch = hub.loop_switch
        loop_switch()
    finally:
        hub.lone = False


def _sleep_for(hub: Hub, current: greenlet, seconds: float) -> None:
    hub.timers += 1
    timer = None
    if seconds != math.inf:
        timer = hub.call_later(seconds, current.switch, _TIME_IS_UP)
    try:
        while hub.park() is not _TIME_IS_UP:
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
