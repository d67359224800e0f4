"""Greenlets that serve one call after another.

A new greenlet costs more than all the rest of a short call: from Python 3.11 on ten times
as much, since the interpreter gets memory for its frames from the system and gives it back
at the end. So greenlets that have done their work wait for more, if nobody can tell: nobody
else has a reference to them, weak or strong, and no attribute was set.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._kernel.hub import Hub

# The one by which it can be found: `RunQueue.keep_track`, or `GreenletCache.keep_track`.
_OUR_REFERENCES = 1

# How many of a kind a hub keeps; each has some 20 KiB of memory for its frames.
MOST = 32


class GreenletCache:
    """What the bridge keeps with a hub, in its slot `Hub.extension`."""

    __slots__ = ("_portals", "inline_threads", "portal_hub", "portals")

    def __init__(self) -> None:
        # Every portal that there is, and not only those with nothing to do.
        self._portals: dict[weakref.ref[Any], None] = {}
        self.inline_threads: list[Any] = []
        self.portals: list[Any] = []
        # The hub as portals see it; see `portal`.
        self.portal_hub: Any = None

    def keep_track(self, portal: Any) -> None:
        """Know a portal until it goes away, which this does not put off."""
        known = self._portals
        known[weakref.ref(portal, known.pop)] = None

    def known(self) -> list[Any]:
        """Return every portal of the hub; from any OS thread."""
        found = [reference() for reference in self._portals.copy()]
        return [portal for portal in found if portal is not None]

    def clear(self) -> None:
        """Let go of every greenlet."""
        self.inline_threads.clear()
        self.portals.clear()


def cache_of(hub: Hub) -> GreenletCache:
    """Return the cache of a hub, made if need be."""
    cache: GreenletCache | None = hub.extension
    if cache is None:
        cache = hub.extension = GreenletCache()
    return cache


def keep(idle: list[Any], one: Any, calls: int = 1) -> bool:
    """Keep a greenlet for its next use, if nobody can tell.

    Args:
        idle: Where to.
        one: The greenlet, which stands in one variable.
        calls: How many calls passed it on from there to here.

    Returns:
        Whether it is kept.
    """
    if (
        sys.getrefcount(one) != _PASSED_ON_ONCE + (calls - 1) * _BY_CALL
        or len(idle) >= MOST
        or one.__dict__
        or weakref.getweakrefcount(one) != _OUR_REFERENCES
    ):
        return False
    idle.append(one)
    return True


# How many references `keep` sees if there are no others; it depends on the interpreter.


def _once(thing: object) -> int:
    return sys.getrefcount(thing)


def _twice(thing: object) -> int:
    return _once(thing)


def _count() -> tuple[int, int]:
    thing = object()
    return _once(thing), _twice(thing)


_PASSED_ON_ONCE, _passed_on_twice = _count()
_BY_CALL = _passed_on_twice - _PASSED_ON_ONCE
