"""What becomes of hubs and green threads in a forked child.

Whoever forked goes on, on a loop of the child's own; the other green threads are the
parent's, as other OS threads are. So every hub that the child finds is disowned, and
every other green thread counts as ended, with GreenletExit. They are not taken apart:
their ``finally`` blocks belong to the parent, and the loops share the kernel's side of
their pollers with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from .._greenthread.thread import GreenThread
from .._kernel import current as _current
from .._kernel.hidden_loop import twin_of
from .._kernel.hub import Hub, known_hubs
from .._kernel.waiters import notice_fork
from .._std.originals import finish_threads, in_main_thread
from .await_ import InlineThread
from .greenlet_cache import cache_of
from .portal import Orphan, Portal

# What must never be taken apart: see above.
_inherited: list[object] = []


def _in_child() -> None:
    notice_fork()
    hubs = known_hubs()
    if not hubs:
        return
    forker: Any = getcurrent()
    others: list[Any] = [
        thread for hub in hubs for thread in hub.green_threads() if thread is not forker
    ]
    _inherited.append((hubs, others, [_tasks(hub) for hub in hubs]))
    for hub in hubs:
        _inherited.extend((half.ready, half.batch) for half in _halves(hub))
        cache = cache_of(hub)
        _inherited.append((*cache.inline_threads, *cache.portals))
        hub.disown()
    for thread in others:
        thread.lose("in the parent process", GreenletExit("it is the parent process's"))
    _current.forget_hubs()
    asyncio._set_running_loop(None)
    if in_main_thread():
        # What woke the parent's loop would go on doing so.
        signal.set_wakeup_fd(-1)
    if isinstance(forker, InlineThread):
        forker.detach_caller()
    if isinstance(forker, GreenThread):
        hub = _current.get_own_hub()
        # One that ran a loop was no green code then.
        hides = hasattr(forker, "_hub") and forker._hub.hides
        forker._hub = twin_of(hub) if hides else hub
        forker._hub.keep_track(forker)
        forker.parent = hub.loop_greenlet
        forker.link(_leave)
    elif isinstance(forker, Portal):
        Orphan.adopt(forker)


def _halves(hub: Hub) -> list[Hub]:
    return [hub] if hub.twin is None else [hub, hub.twin]


def _tasks(hub: Hub) -> object:
    return hub.loop.is_closed() or asyncio.all_tasks(hub.loop)


def _leave(forker: greenlet) -> None:
    """End the child when the green thread that goes on in it has ended.

    What comes below it on the stack (the loop, the main greenlet) is the parent's.
    """
    status: Any = 0
    error = getattr(forker, "_error", None)
    try:
        finish_threads()
        if isinstance(error, SystemExit):
            status = error.code
            if status is None:
                status = 0
            elif not isinstance(status, int):
                sys.stderr.write(f"{status}\n")
                status = 1
        elif error is not None and not isinstance(error, GreenletExit):
            status = 1
            sys.excepthook(type(error), error, error.__traceback__)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException as exc:
        status = 1
        sys.excepthook(type(exc), exc, exc.__traceback__)
    finally:
        os._exit(status & 0xFF)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
