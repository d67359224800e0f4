"""A main program that has set an event loop of its own, and does not see the one below.

`asyncio.gather`, `Future()` and their kind take the running loop, and where there is none the
one that was set. A plain script that has set one means that: so it sees no running loop then,
whether it did so before its first green call or later. What it spawns sees the loop as ever.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable
from functools import wraps
from typing import Any

from greenlet import getcurrent

from .._bridge.loop_visibility import show_or_hide
from .._kernel import current as _current
from .._kernel.hub import Hub

_policy: Callable[[], Any] = getattr(
    events, "_get_event_loop_policy", events.get_event_loop_policy
)
_policy_class: Any = getattr(
    events,
    "_BaseDefaultEventLoopPolicy",
    getattr(events, "BaseDefaultEventLoopPolicy", None),
)


def follow_set_loops() -> None:
    """Have main programs that set an event loop see no other one."""
    set_event_loop = _policy_class.set_event_loop

    @wraps(set_event_loop)
    def setting(self: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        set_event_loop(self, loop)
        hub: Hub | None = getattr(getcurrent(), "_hub", None)
        if hub is not None and hub.main is getcurrent():
            _choose(hub, loop)

    _policy_class.set_event_loop = setting
    _current.prepare_own_hub = _prepare


def _prepare(hub: Hub) -> None:
    # What the policies of asyncio and uvloop have; a program's own may be anything.
    _choose(hub, getattr(getattr(_policy(), "_local", None), "_loop", None))


def _choose(hub: Hub, loop: asyncio.AbstractEventLoop | None) -> None:
    hides = loop is not None and loop is not hub.loop and not loop.is_closed()
    if hides and not hub.hides:
        show_or_hide(hub.main, hub, True)
        _hiding(hub).only_main = True
    elif not hides and hub.hides and _hiding(hub).only_main:
        _hiding(hub).only_main = False
        show_or_hide(hub.main, hub, False)


def _hiding(hub: Hub) -> Any:
    return hub if hub.hides else hub.twin
