"""Whether a uvloop loop has anything left to call, which it tells nobody.

The collector knows, since uvloop's objects are in its care: the loop refers to its queue, to its
timers and to what watches descriptors, and whatever else is open on it (a transport, a server, a
process, a request) refers to the loop. What is not known here counts as something to come.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Mapping
from typing import Any

from .._std.originals import socket_class

# What every loop has; and the callbacks, which do nothing by themselves.
_HARMLESS = {"UVAsync", "UVIdle", "UVCheck", "UVPoll", "Handle", "TimerHandle"}


def is_idle(loop: Any, idle: Mapping[int, int]) -> bool:
    """Whether nothing will be called any more on a loop whose callback is running.

    Args:
        loop: The loop.
        idle: How often a descriptor is registered for nobody, by its number.
    """
    inside = gc.get_referents(loop)
    # Calls, timers, and streams that have something to write.
    if any(thing for thing in inside if type(thing) in (deque, set)):
        return False
    own = {thing.fileno() for thing in inside if isinstance(thing, socket_class)}
    for things in inside:
        if type(things) is dict:
            for fd, thing in things.items():
                if _is(thing, "UVPoll") and fd not in own:
                    watching = [
                        one for one in gc.get_referents(thing) if _is(one, "Handle")
                    ]
                    if len(watching) != idle.get(fd, 0):
                        return False
    return all(
        type(thing).__name__ in _HARMLESS or "closed=True" in repr(thing)
        for thing in gc.get_referrers(loop)
        if type(thing).__module__ == "uvloop.loop"
    )


def _is(thing: object, name: str) -> bool:
    return type(thing).__module__ == "uvloop.loop" and type(thing).__name__ == name
