"""Telling a tracer when green threads are spawned, start, are switched to, and end.

Nothing of this costs anything without a tracer. With one, greenlet's own trace function
tells of switches, and so of the first one to a green thread and of the last one from it;
for what happens without a switch, two methods of `GreenThread` are replaced meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from greenlet import gettrace, greenlet, settrace

from .._bridge.greenlet_cache import cache_of
from .._greenthread.thread import GreenThread
from .._kernel.hub import all_hubs

_log = logging.getLogger("greenio.debug")


class Tracer:
    """What `set_tracer` takes. Override what you need; none of it may wait.

    It is called in the middle of a switch, often in another green thread than the one
    that it is about. What it raises is logged, and changes nothing.
    """

    def spawned(self, thread: GreenThread) -> None:
        """A green thread was made: by `spawn`, a pool, a group, `run_green`, a thread.

        Called in whoever made it, so in his context.
        """

    def started(self, thread: GreenThread) -> None:
        """A green thread is about to run for the first time; called in it."""

    def switched(self, origin: greenlet, target: greenlet) -> None:
        """Another greenlet runs now, of whatever kind: a green thread, or the loop's."""

    def ended(self, thread: GreenThread, error: BaseException | None) -> None:
        """A green thread has ended, or was killed before it had started.

        Args:
            thread: The green thread. To ask it for its failure, by `wait`, is to take note
                of that: then nobody else is told of it.
            error: What ended it: None if it returned, GreenletExit if it was killed.
        """


_init = GreenThread.__init__
_kill_unstarted = GreenThread._kill_unstarted

_tracer: Tracer | None = None
# Whether it wants to know of each switch.
_wants_switches = False
# greenlet's trace function before ours.
_other: Callable[..., Any] | None = None

# What a traced green thread has in this attribute. One with an attribute of its own serves
# no other call; see `greenlet_cache`.
_MARK = "_traced"
_SPAWNED, _STARTED, _ENDED = "spawned", "started", "ended"


def set_tracer(tracer: Tracer | None) -> Tracer | None:
    """Have a tracer told of all green threads that are made from now on.

    It is for the calling OS thread: in others, only `spawned` is called. Without a tracer,
    nothing is paid; with one, each switch costs a call.

    Args:
        tracer: The tracer; None for none.

    Returns:
        The one that was there before.

    Raises:
        TypeError: It is no `Tracer`.
    """
    global _tracer, _wants_switches  # noqa: PLW0603 - one per process
    if tracer is not None and not isinstance(tracer, Tracer):
        raise TypeError(
            f"set_tracer() takes an instance of a subclass of debug.Tracer, not {tracer!r}"
        )
    before, _tracer = _tracer, tracer
    _wants_switches = (
        tracer is not None and type(tracer).switched is not Tracer.switched
    )
    if tracer is not None and before is None:
        # Those that wait for another call were made without a tracer.
        for hub in tuple(all_hubs):
            if hub.extension is not None:
                cache_of(hub).clear()
        GreenThread.__init__ = _traced_init  # type: ignore[method-assign]
        GreenThread._kill_unstarted = _traced_kill  # type: ignore[method-assign]
    elif tracer is None and before is not None:
        GreenThread.__init__ = _init  # type: ignore[method-assign]
        GreenThread._kill_unstarted = _kill_unstarted  # type: ignore[method-assign]
    _trace_switches(tracer is not None)
    return before


def _trace_switches(state: bool) -> None:
    global _other  # noqa: PLW0603
    current = gettrace()
    if state and current is not _on_switch:
        _other = settrace(_on_switch)
    elif not state and current is _on_switch:
        settrace(_other)
        _other = None


def _traced_init(self: GreenThread, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    self.__dict__[_MARK] = _SPAWNED
    _tell("spawned", self)


def _traced_kill(self: GreenThread, throw_args: tuple[Any, ...]) -> None:
    _kill_unstarted(self, throw_args)
    _note_end(self)


def _on_switch(event: str, both: tuple[greenlet, greenlet]) -> None:  # while tracing
    origin, target = both
    if _other is not None:
        _other(event, both)
    if isinstance(origin, GreenThread):
        _note_end(origin)
    if (
        isinstance(target, GreenThread)
        and target.__dict__.get(_MARK) is _SPAWNED
        and target
    ):
        target.__dict__[_MARK] = _STARTED
        _tell("started", target)
    if _wants_switches:
        _tell("switched", origin, target)


def _note_end(thread: GreenThread) -> None:
    # In this order: one that is going away has no state any more.
    marks = thread.__dict__
    if marks.get(_MARK, _ENDED) is not _ENDED and thread.dead:
        marks[_MARK] = _ENDED
        _tell("ended", thread, thread._error)


def _tell(method: str, *args: Any) -> None:
    tracer = _tracer
    if tracer is None:
        return
    try:
        getattr(tracer, method)(*args)
    except Exception:  # noqa: BLE001 - the tracer is somebody else's
        _log.exception("%r failed in %s()", tracer, method)
