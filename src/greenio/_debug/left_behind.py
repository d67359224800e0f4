"""Telling what still runs when a program ends."""

from __future__ import annotations

import atexit

from .._bridge.run import log_left_behind
from .._kernel.current import own_hub
from .._std.interpreter_exit import is_exiting


def report_left_behind() -> None:
    """Have what the main thread's own hub runs at the end of the program logged."""
    atexit.register(_report)


def _report() -> None:
    hub = own_hub()
    if hub is not None and not is_exiting():
        log_left_behind(hub, "the program")
