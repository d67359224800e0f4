"""Python signal handlers run for the main thread, whoever is running.

The interpreter calls a handler in the middle of what its main thread does: on top of the
stack of the green thread that happens to run, or of the loop's callback. In a program
with real threads it would be on top of the main program's, so that is what `Handler`
makes of it:

* While it runs, it is the main thread: see `current.acting_greenlet`.
* What it raises is raised in the main program, where that waits; the green thread goes
  on. On a loop that somebody else runs, it is raised in a callback of that loop, from
  where KeyboardInterrupt and SystemExit reach whoever runs it.
* KeyboardInterrupt alone is raised where the handler ran, or Ctrl-C would do nothing to
  a green thread that never waits. It ends that one, and comes from there to the main
  program.

Locks do not follow that: a lock is the green thread's on whose stack the handler runs,
so the handler can take a re-entrant lock that it has interrupted the holder of.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from greenlet import getcurrent, greenlet

from .._kernel.current import acting, existing_hub
from .._kernel.entries import Raise
from .._kernel.hub import Hub


class Handler:
    """A signal handler that runs for the main thread.

    Args:
        function: The program's handler.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[int, FrameType | None], Any]) -> None:
        self.function = function

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Call the program's handler."""
        current = getcurrent()
        hub = _hub_of_interrupted(current)
        if hub is None:
            self.function(number, frame)
            return
        before = acting.get(current)
        acting[current] = _root_of(current)
        try:
            self.function(number, frame)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - the main program gets it
            hub.wake(Raise(exc))
        finally:
            if before is None:
                del acting[current]
            else:
                acting[current] = before


def wrapped(handler: Any) -> Any:
    """Return what to hand to `signal.signal` for a program's handler."""
    if not callable(handler) or handler is signal.default_int_handler:
        return handler
    return (
        handler if isinstance(handler, (Handler, signal.Handlers)) else Handler(handler)
    )


def unwrapped(handler: Any) -> Any:
    """Return the program's handler for what `signal.getsignal` returned."""
    return handler.function if isinstance(handler, Handler) else handler


def _hub_of_interrupted(current: greenlet) -> Hub | None:
    """Return the hub of who has been interrupted; None for the main program."""
    if current.parent is None:
        return None
    hub: Hub | None = getattr(current, "_hub", None)
    if hub is None:
        hub = existing_hub()
        if hub is None or not hub.owned or current is not hub.loop_greenlet:
            # A portal, or a greenlet of the program's: that is what a Task is made of.
            return None
    return hub


def _root_of(current: greenlet) -> greenlet:
    while current.parent is not None:
        current = current.parent
    return current
