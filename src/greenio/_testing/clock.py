"""A loop whose clock jumps, so that sleeping takes no time.

The loop asks its selector to wait; this one looks whether something has come, and if not,
moves the clock to where the next timer is due. What it must not jump over is what comes
from outside: another OS thread, or the other end of a socket. While there is such a thing
and no timer, it waits in earnest.
"""

from __future__ import annotations

import asyncio
import selectors  # noqa: TID251 - a subclass that calls the real one
from typing import Any

from .._greenthread.deadlocks import describe_who_waits, os_threads
from .._kernel.hub import known_hubs
from .._std.errors import DeadlockError

# How long, in real seconds, to wait for a descriptor or an OS thread when there is no timer.
_PATIENCE = 5.0


def _has_other_threads() -> bool:
    try:
        return os_threads() > 1
    except OSError:
        return True


class _JumpingSelector(selectors.DefaultSelector):
    loop: VirtualClockLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None:
            self.loop.advance(timeout)
            return []
        if _has_other_threads() or self._others_may_come():
            ready = super().select(_PATIENCE)
            if ready:
                return ready
        raise DeadlockError(describe_who_waits())

    def _others_may_come(self) -> bool:
        """Whether somebody waits for a descriptor that is not the loop's own."""
        own = {getattr(self.loop, "_ssock").fileno()}  # noqa: B009 - not in the stubs
        for hub in known_hubs():
            own.update(hub.signal_descriptors())
        return any(key.fd not in own for key in self.get_map().values())


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on which sleeping takes no time.

    When everybody waits its clock jumps to the next timer. It starts at 1000 seconds. A
    day of `sleep`, `Timeout` and `asyncio.sleep` passes in milliseconds; `time.time()` and
    OS threads are not concerned.

    Raises:
        DeadlockError: From whatever waits in the main greenlet, when everybody waits and
            nothing is left that could wake anybody.
    """

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self._now = 1000.0
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock by hand, so that several timers are due at once.

        Args:
            seconds: By how much.

        Raises:
            ValueError: It is negative.
        """
        if seconds < 0:
            raise ValueError(f"advance() takes seconds of 0 or more, not {seconds!r}")
        self._now += seconds
