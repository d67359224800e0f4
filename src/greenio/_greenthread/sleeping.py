"""`sleep`: let the others run."""

from __future__ import annotations

import math
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from .._kernel.current import hub_to_park_in
from .._kernel.hub import Hub
from .._loop.interrupted_waits import look_again
from .._loop.mutex import JUMPS_ARE_SAFE, in_section, park_outside
from .._reactor.moments import join_moment
from .._std.errors import BlockingInLoopError
from .._std.interpreter_exit import is_exiting
from .._std.originals import time_sleep
from .arguments import checked_seconds

# If more timers than this are to come for each second that somebody sleeps, he shares his
# with others, likely.
_MANY = 8000


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
    if seconds != 0 and (seconds := checked_seconds(seconds, "sleep")):
        _sleep_for(hub, current, seconds)
        return
    if in_section():
        park_outside(sleep)
        return
    turn = None
    try:
        ready = hub.ready
        if ready:
            ready.append(current)
        elif hub.batch or hub.lone:
            hub.lone = hub.hides
            hub.schedule(current)
        else:
            # Past the run queue: nobody else is ready.
            hub.lone = current
            call_soon = hub.loop_call_soon
            turn = call_soon(current.switch, context=hub.context)
            loop_switch = hub.loop_switch
            loop_switch()
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
    except BaseException as exc:
        _leave(hub, current, turn, exc)
        raise


def _leave(hub: Hub, current: greenlet, turn: Any, error: BaseException) -> None:
    """Leave the run queue, as one who has yielded and is resumed by an exception.

    His next yield would use up this turn and leave another one, and so for ever.

    Args:
        hub: Where he yielded.
        current: Who.
        turn: The loop's handle of his turn, if nobody else was ready.
        error: The exception.
    """
    if hub.lone is current:
        hub.lone = False
    if turn is not None:
        turn.cancel()
    # Who is killed has no other turn, and there may be thousands of them.
    elif not isinstance(error, GreenletExit):
        hub.forget_turn(current)


def _sleep_for(hub: Hub, current: greenlet, seconds: float) -> None:
    shares = hub.defers or (hub.timers > seconds * _MANY and hub.moments.ticks)
    if not shares or seconds == math.inf:
        _sleep_until_called(hub, current, seconds)
        return
    hub.timers += 1
    try:
        moment = join_moment(hub, seconds, current)
        try:
            if not moment.due:
                resumed = hub.park()
                if not moment.due:
                    look_again(hub, hub.park, lambda: moment.due, resumed)
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
        resumed = hub.park()
        if resumed is not time_is_up:
            _look_again_until(time_is_up, hub, resumed)
    except BaseException:
        if timer is not None:
            timer.cancel()
        raise
    finally:
        hub.timers -= 1


def _look_again_until(time_is_up: Any, hub: Hub, resumed: Any) -> None:
    """Sleep on, having been resumed for something else."""
    now = hub.loop.time

    def park() -> Any:
        nonlocal resumed
        resumed = hub.park()
        return resumed

    def is_over() -> bool:
        # A wait that has interrupted this one may have got what the timer has passed.
        return resumed is time_is_up or (
            type(time_is_up) is float and now() >= time_is_up
        )

    if not is_over():
        look_again(hub, park, is_over, resumed)


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
