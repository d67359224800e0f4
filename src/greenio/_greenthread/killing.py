"""Ending a green thread from outside, whether it runs, waits or has not started."""

from __future__ import annotations

from functools import partial
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from .._kernel.current import get_hub
from .._kernel.entries import Throw, throw_into, waits_in_finalizer
from .._kernel.hub import Hub
from .._loop.mutex import in_section, park_outside
from .._loop.reraise import exception_from
from .._std.errors import HubClosedError
from .._std.originals import get_ident
from .arguments import check_throwable


def kill(g: greenlet, *throw_args: Any) -> None:
    """End a green thread by raising an exception in it.

    It sees the exception before `kill` returns, wherever it waits, unless the caller
    is a coroutine, a loop callback or another OS thread: then it sees it in its next
    turn. Where a finalizer waits on top of it, it sees it when that has returned. A green
    thread that has not started never runs its function.

    Args:
        g: The green thread; nothing happens if it has ended.
        *throw_args: What to raise, as for `greenlet.throw`; GreenletExit by default.

    Raises:
        TypeError: That cannot be raised, or `g` is no green thread.
    """
    if throw_args:
        check_throwable(throw_args[0], "kill")
    try:
        if g.dead:
            return
    except AttributeError:
        raise TypeError(
            f"kill() takes a green thread, as spawn() returns it, not {g!r}"
        ) from None
    current = getcurrent()
    if g is current:
        raise exception_from(throw_args)
    hub: Hub = getattr(g, "_hub", None) or get_hub()
    args = throw_args or (GreenletExit,)
    if get_ident() != hub.thread_id:
        if not hub.call_threadsafe(Throw(g, args).switch):
            raise HubClosedError(repr(g))
    elif not g and hasattr(g, "_kill_unstarted"):
        g._kill_unstarted(throw_args)
    elif (
        g
        and (here := getattr(current, "_hub", None)) in (hub, hub.twin or hub)
        and not waits_in_finalizer(g)
    ):
        here.wake(current)
        if in_section():
            park_outside(partial(throw_into, g, args))
        else:
            throw_into(g, args)
    else:
        hub.wake(Throw(g, args))


def cancel(g: greenlet, *throw_args: Any) -> None:
    """Kill a green thread that has not started yet; leave a running one alone."""
    if not g and not g.dead:
        kill(g, *throw_args)
