"""Signal handlers that wait while uvloop begins and ends a run.

uvloop makes and closes its own wake-up descriptor in Python code, in which the interpreter
calls handlers. What one of them raises there leaves the loop half begun: it says that it is
running, and can neither be run nor closed any more. asyncio's loop can be helped, see
`loops.finish_run`, uvloop's cannot. So where a hub runs uvloop, the handlers that may raise
stand aside for as long: whatever signal comes then is raised once more afterwards.

Not those that know what to do: `puts_off` says that a handler raises nothing in the loop.
"""

from __future__ import annotations

import asyncio
import signal
from types import FrameType
from typing import Any

from greenlet import getcurrent, greenlet

from .._std.originals import in_main_thread
from .interrupted import runs_users_code
from .loops import is_uvloop, lets_out_itself

# Not those of a patched program, which show the program its own handlers.
_getsignal = signal.getsignal
_set_signal = signal.signal


class _Held:
    """Stands in the place of a handler."""

    puts_off = True

    def __init__(self, handler: Any, runner: greenlet) -> None:
        self.handler = handler
        # The greenlet that runs the loop, until the handler is let go.
        self.runner: greenlet | None = runner
        self.has_come = False

    def __eq__(self, other: object) -> bool:
        return other is self or other == self.handler

    def __hash__(self) -> int:
        return hash(self.handler)

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        if getcurrent() is self.runner and not runs_users_code(frame):
            self.has_come = True
            return None
        return self.handler(number, frame)


class HeldHandlers:
    """The handlers that are held for one loop.

    Args:
        loop: The loop.
    """

    __slots__ = ("_held", "_loop", "_runner")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._held: dict[int, _Held] = {}
        self._loop = loop
        self._runner: greenlet | None = None

    def hold(self, runner: greenlet) -> bool:
        """Hold those that may raise, while the loop begins to run in a greenlet.

        Returns:
            Whether there are any, to be let go afterwards.
        """
        if not is_uvloop(self._loop) or not in_main_thread():
            return False
        self._runner = runner
        if lets_out_itself(self._loop):
            # Until it has ended to run.
            self._loop.held_handlers = self  # type: ignore[attr-defined]
        for number in signal.valid_signals():
            handler: Any = _getsignal(number)
            if callable(handler) and not getattr(handler, "puts_off", False):
                # Noted before it is set: one of the others may raise in between.
                self._held[number] = _Held(handler, runner)
                _set_signal(number, self._held[number])
        for held in self._held.values():
            held.runner = runner
        return bool(self._held)

    def hold_again(self) -> None:
        """Hold them while the loop ends to run."""
        if self._runner is not None:
            self.hold(self._runner)

    def let_go(self) -> None:
        """Set them again, and raise the signals that have come.

        Whatever a handler raises leaves this; what is left then is done by the next call.
        """
        while self._held:
            number, held = next(iter(self._held.items()))
            held.runner = None
            if _getsignal(number) is held:
                _set_signal(number, held.handler)
            self._held.pop(number, None)
            if held.has_come:
                signal.raise_signal(number)
