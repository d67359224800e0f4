"""`go_on`: have a green thread that has ended run the next one's function.

To start a greenlet costs more than all the rest of a short call: from Python 3.11 on the
interpreter gets memory for its frames from the system, and gives it back at the end. So a
green thread that has ended without waiting goes on as the one that is to start next, if
nobody can tell: nobody refers to either of them, weakly or by a watcher or link, and neither
has got an attribute. So it is with most that `spawn_n` starts.
"""

from __future__ import annotations

from collections import deque
from sys import getrefcount
from types import SimpleNamespace
from typing import Any
from weakref import getweakrefcount

from greenlet import getcurrent, greenlet

from .thread_names import PENDING


def go_on() -> bool:
    """Have the caller, a `GreenThread` and no subclass, go on as the next one.

    Returns:
        Whether it is to do so.
    """
    current: Any = getcurrent()
    hub = current._hub
    batch = hub.batch
    if not batch:
        return False
    following = batch[0]
    if (
        following
        or getrefcount(following) != _QUEUED
        or type(following) is not type(current)
        or hub.starting is not current
        or getrefcount(current) != STARTED
        or not _is_unknown(following)
        or not _is_unknown(current)
        or following._state is not PENDING
        or following._hub is not hub
        or hub.hides
        or hasattr(following, "_spawned_at")
        or hasattr(current, "_spawned_at")
    ):
        return False
    if batch and batch[0] is following:
        # To take it and to have its call is one step; see `mutex`.
        for following in hub.successors:  # noqa: B007
            break
        current._state = PENDING
        current._call = following._call
        current._result = None
        current._name = following._name
        current.gr_context = following.gr_context
        return True
    return False


def _is_unknown(thread: Any) -> bool:
    """Whether nothing of a green thread is known elsewhere but by reference."""
    return not (
        thread.__dict__
        or getweakrefcount(thread)
        or thread._watchers
        or thread._links
        or thread.has_taker
    )


# How many references there are if there are no others; it depends on the interpreter.


def _references_to_first(batch: Any) -> int:
    following = batch[0]
    return getrefcount(following)


def _references_to_current() -> int:
    current: Any = getcurrent()
    return getrefcount(current)


def _references_while_starting() -> int:
    # As `RunQueue` does it.
    queue = SimpleNamespace(starting=None)
    counts: list[int] = []
    for target in map(greenlet, [lambda: counts.append(_references_to_current())]):
        queue.starting = target
        target.switch()
    return counts[0]


_QUEUED = _references_to_first(deque([object()]))
STARTED = _references_while_starting()
