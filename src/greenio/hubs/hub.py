"""eventlet's names for the hub class and what it is made of."""

from __future__ import annotations

import signal as _signal
from types import FrameType

from .._kernel.hub import Hub as BaseHub
from .._reactor import descriptors as _descriptors
from .._reactor.descriptors import READ as READ
from .._reactor.descriptors import WRITE as WRITE
from .._reactor.fd_listeners import DebugListener as DebugListener
from .._reactor.fd_listeners import FdListener as FdListener
from .._reactor.fd_listeners import closed_callback as closed_callback
from .._std.public_names import claim
from .._std.settable import make_settable as _make_settable
from .._std.settable import setting as _setting

__all__ = [
    "READ",
    "WRITE",
    "BaseHub",
    "DebugListener",
    "FdListener",
    "alarm_handler",
    "alarm_itimer",
    "arm_alarm",
    "closed_callback",
]

claim(globals())

# Whether a second waiter on one descriptor is an error; see
# `greenio.debug.hub_prevent_multiple_readers`.
g_prevent_multiple_readers: bool


def alarm_handler(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Interrupt who blocks the loop, as a handler of SIGALRM.

    Raises:
        RuntimeError: Always: that is how it interrupts.
    """
    raise RuntimeError(f"Blocking detector ALARMED at {frame!r}")


def alarm_itimer(seconds: float) -> None:
    """Have SIGALRM come after some seconds; 0 calls it off."""
    _signal.setitimer(_signal.ITIMER_REAL, seconds)


arm_alarm = alarm_itimer

_make_settable(
    __name__,
    g_prevent_multiple_readers=_setting(_descriptors, "prevent_multiple_waiters"),
)
