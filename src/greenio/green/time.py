"""The standard `time` module; `sleep` lets the others run."""

from typing import TYPE_CHECKING

from .._greenthread.holding_up import may_hold_up as _may_hold_up
from .._greenthread.holding_up import note_held_up as _note_held_up
from .._greenthread.sleeping import sleep as _sleep
from .._patch.modules import complete as _complete
from .._patch.modules import standard as _standard
from .._patch.signals import pthread_getcpuclockid as _pthread_getcpuclockid
from .._std.errors import BlockingInLoopError as _BlockingInLoopError
from .._std.originals import time_sleep as _time_sleep

if TYPE_CHECKING:
    from time import *


def sleep(seconds: float = 0) -> None:
    """Let the others run, and go on after some seconds.

    Args:
        seconds: How many; eventlet's program may leave them out.

    Raises:
        TypeError: `seconds` is not a number.
        ValueError: `seconds` is negative.
    """
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    try:
        _sleep(seconds)
        return
    except _BlockingInLoopError:
        if not _may_hold_up():
            raise
    _note_held_up("time.sleep()")
    _time_sleep(seconds)


if hasattr(_standard("time"), "pthread_getcpuclockid"):
    pthread_getcpuclockid = _pthread_getcpuclockid

_complete(globals(), "time")
