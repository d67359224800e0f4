"""Whether green threads see the event loop that runs below them: for users."""

from __future__ import annotations

from asyncio import _set_running_loop
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import getcurrent

from .._kernel import current as _current
from .._kernel.hidden_loop import twin_of
from .._kernel.hub import Hub
from .._std.errors import BlockingInLoopError
from .portal import current_portal


@contextmanager
def loop_hidden(hidden: bool = True) -> Iterator[None]:
    """Hide the running loop from a green thread, or show it, for a block or a function.

    Where it is hidden, `asyncio.get_running_loop` raises RuntimeError and
    `asyncio.get_event_loop` and `asyncio.current_task` behave as in blocking code, so
    libraries that ask whether they are in a coroutine do not take a green thread for one.
    Waiting, `greenio.await_` and all else work as ever. Green threads that are spawned in
    the block are like the caller, for good; coroutines always see their loop.

    Use it with ``with``, or as the decorator ``@loop_hidden()`` of a blocking-style
    function.

    Args:
        hidden: False shows the loop where it would be hidden.

    Raises:
        BlockingInLoopError: The caller is a coroutine, also one in a portal.
    """
    if current_portal() is not None:
        raise BlockingInLoopError("loop_hidden()")
    current: Any = getcurrent()
    hub = _current.hub_to_park_in("loop_hidden()")
    if hub is None or (current is not hub.main and not hasattr(current, "_hub")):
        # An OS thread without a loop, or a greenlet that is not ours.
        yield
        return
    before = hub.hides
    show_or_hide(current, hub, hidden)
    try:
        yield
    finally:
        # In a forked child it has another hub than before.
        show_or_hide(current, getattr(current, "_hub", hub), before)


def show_or_hide(current: Any, hub: Hub, hides: bool) -> None:
    """Have the current green thread belong to one half of its hub."""
    if hub.hides is not hides:
        if hub.batch:
            # Who has started this one waits there to be switched to; see `Thread.start`.
            hub.resume_interrupted()
        hub = twin_of(hub)
    if current is hub.main:
        hub.mains_hub = hub
        if not hasattr(current, "_hub"):
            # Its loop does not run yet.
            return
    current._hub = hub
    # If not, the interpreter takes this one apart, and another loop may be running.
    if hub.loop.is_running():
        _set_running_loop(None if hides else hub.loop)


def hide_loop(hidden: bool = True) -> None:
    """Choose for the whole program whether green threads see the running loop.

    It is for the main program and for the green threads that coroutines, callbacks of
    the loop and other OS threads start from now on; what a green thread spawns is like
    itself. `loop_hidden` says what hiding means, and chooses for single green threads.

    The environment variable ``GREENIO_HIDE_LOOP=1`` and ``python -m greenio
    --hide-loop`` do the same from outside.

    Args:
        hidden: True hides it; False, the default of every program, shows it.
    """
    _current.hide_by_default(hidden)
    hub = _current.own_hub()
    current = getcurrent()
    if hub is not None and hub.main is current:
        show_or_hide(current, hub, hidden)
