"""Ending the green threads of a loop that ends.

Each gets GreenletExit, one that is a SystemExit too: loops that log whatever happens and go on
let SystemExit pass, if anything. What it still waits for in `finally` and `except` blocks has the
time that `set_shutdown_timeout` allows. Who swallows the exception and waits again is
ended again: nothing refers to the exception any more then, while a block that handles it
does. A finalizer that waits has half of the time; until then the exception waits for it. Who is still there when the time is up is reported, with where he waits.

Threads of a patched program are not killed: they go on elsewhere, see `outliving`.
"""

from __future__ import annotations

import asyncio
import math
import os
import weakref
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit

from .._loop.two_waiters import stack_of
from .entries import ThrowAtOnce, waits_in_finalizer

if TYPE_CHECKING:
    from .hub import Hub

_VARIABLE = "GREENIO_SHUTDOWN_TIMEOUT"
_POLL = 0.005
_timeout = 5.0


def shutdown_timeout() -> float:
    """Return how many seconds green threads have to clean up when their loop ends."""
    return _timeout


def set_shutdown_timeout(seconds: float) -> None:
    """Choose how long green threads may take over their clean-up when their loop ends.

    It is what `finally` blocks, and `except` blocks for GreenletExit, may wait
    altogether. Who then still runs is reported to the loop's exception handler, and left.
    The default is 5 seconds, or what the environment variable GREENIO_SHUTDOWN_TIMEOUT
    says.

    Args:
        seconds: How long; `math.inf` for as long as it takes.

    Raises:
        ValueError: `seconds` is negative or not a number.
    """
    global _timeout  # noqa: PLW0603 - one setting per process
    if not seconds >= 0:
        raise ValueError(f"the time for clean-up is 0 seconds or more, not {seconds!r}")
    _timeout = float(seconds)


def outlives_its_loop(thread: Any) -> bool:
    """Whether a green thread goes on when its loop ends."""
    return getattr(thread, "_outlives_loop", False)


class LoopEnds(GreenletExit, SystemExit):
    """What ends the green threads of a loop that ends."""


async def end_green_threads(hub: Hub, sparing: bool) -> None:
    """End the green threads of a hub.

    Args:
        hub: The hub; the caller is a Task of its loop.
        sparing: Leave those alone that outlive the loop.
    """
    seconds = _timeout
    deadline = hub.loop.time() + seconds
    # What finalizers wait for is cut short then, so that `finally` blocks run, too.
    finalizers_end = deadline - seconds / 2 if seconds < math.inf else math.inf
    alive: list[Any] = [
        thread
        for thread in hub.green_threads()
        if not (sparing and outlives_its_loop(thread))
    ]
    exits = {thread: _kill(thread) for thread in alive}
    while alive:
        await asyncio.sleep(0 if hub.ready else _POLL)
        alive = [thread for thread in alive if not thread.dead]
        if not alive:
            return
        if hub.loop.time() > deadline:
            hub.report(_still_running(alive, seconds), None)
            return
        cuts = hub.loop.time() > finalizers_end
        for thread in alive:
            if thread and exits[thread]() is None:
                exits[thread] = _kill(thread)
            elif thread and cuts and waits_in_finalizer(thread):
                thread._hub.wake(ThrowAtOnce(thread, (LoopEnds,)))


def _kill(thread: Any) -> weakref.ref[BaseException]:
    exit_ = LoopEnds()
    thread.kill(exit_)
    return weakref.ref(exit_)


def _still_running(threads: list[Any], seconds: float) -> str:
    count = len(threads)
    who = "1 green thread was" if count == 1 else f"{count} green threads were"
    places = "".join(f"{thread!r} waits at:\n{stack_of(thread)}" for thread in threads)
    return (
        f"{who} still running {seconds:g} seconds after their loop began to shut down; "
        "greenio.hubs.set_shutdown_timeout() gives them more time, or "
        f"less.\n{places.rstrip()}"
    )


def _from_environment() -> None:
    value = os.environ.get(_VARIABLE)
    if value:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not seconds >= 0:
            raise ValueError(f"{_VARIABLE}={value!r} is not a number of seconds")
        set_shutdown_timeout(seconds)


_from_environment()
