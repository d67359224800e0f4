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
  program. Where none of the user's code runs it is raised in the main program, too; see
  `_loop.interrupts`.

`wrap_all` does the same for handlers that were set before the patch.

Locks do not follow that: a lock is the green thread's on whose stack the handler runs,
so the handler can take a re-entrant lock that it has interrupted the holder of.
"""

from __future__ import annotations

import signal
from asyncio import _get_running_loop
from collections.abc import Callable
from types import FrameType
from typing import Any

from greenlet import getcurrent, greenlet

from .._kernel.current import acting, existing_hub, nested_runs
from .._kernel.entries import Raise
from .._kernel.hub import Hub
from .._loop.interrupts import as_pythons, instead_of_pythons, put_off
from .._std.originals import in_main_thread

_getsignal = signal.getsignal
_set_signal = signal.signal


class Handler:
    """A signal handler that runs for the main thread.

    Args:
        function: The program's handler.
    """

    __slots__ = ("function",)

    # See `held_handlers`.
    puts_off = True

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
        except KeyboardInterrupt as exc:
            traceback = exc.__traceback__
            # Without this line.
            exc.__traceback__ = traceback and traceback.tb_next
            del traceback
            if not put_off(exc, frame):
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
    if handler is signal.default_int_handler:
        return instead_of_pythons()
    if not callable(handler) or as_pythons(handler) is not handler:
        return handler
    return (
        handler if isinstance(handler, (Handler, signal.Handlers)) else Handler(handler)
    )


def unwrapped(handler: Any) -> Any:
    """Return the program's handler for what `signal.getsignal` returned."""
    return handler.function if isinstance(handler, Handler) else as_pythons(handler)


def wrap_all() -> Callable[[], None]:
    """Have the handlers that are set already run for the main thread.

    Those of event loops do nothing, or know what they do.

    Returns:
        What takes that back.
    """
    before: dict[int, Any] = {}
    if in_main_thread():
        for number in signal.valid_signals():
            handler: Any = _getsignal(number)
            if callable(handler) and not _is_of_a_loop(handler):
                wrapper = wrapped(handler)
                if wrapper is not handler:
                    _set_signal(number, wrapper)
                    before[number] = wrapper

    def unwrap() -> None:
        for number, wrapper in before.items():
            if _getsignal(number) is wrapper:
                _set_signal(number, unwrapped(wrapper))

    return unwrap


def _is_of_a_loop(handler: Any) -> bool:
    function = getattr(handler, "func", handler)
    module = str(getattr(function, "__module__", ""))
    return module.partition(".")[0] in ("asyncio", "uvloop")


def _hub_of_interrupted(current: greenlet) -> Hub | None:
    """Return the hub of who has been interrupted; None for the main program."""
    if current.parent is None:
        return None
    hub: Hub | None = getattr(current, "_hub", None)
    if hub is None:
        loop = _get_running_loop()
        run = None if loop is None else nested_runs.get(loop)
        # In a loop that a green thread runs, that one is who has been interrupted.
        hub = existing_hub() if run is None else run.hub
        if run is None and (
            hub is None or not hub.owned or current is not hub.loop_greenlet
        ):
            # A portal, or a greenlet of the program's: that is what a Task is made of.
            return None
    while hub is not None and (run := nested_runs.get(hub.loop)) is not None:
        hub = run.hub
    return hub


def _root_of(current: greenlet) -> greenlet:
    while current.parent is not None:
        current = current.parent
    return current
