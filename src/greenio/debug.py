"""Looking into a running hub, and switches for tracking mistakes down."""

from __future__ import annotations

import traceback

from greenlet import getcurrent, greenlet

from ._core._current import get_hub
from ._core._descriptors import set_prevent_multiple_waiters

__all__ = [
    "format_hub_listeners",
    "format_threads_info",
    "hub_exceptions",
    "hub_prevent_multiple_readers",
]


def hub_prevent_multiple_readers(state: bool = True) -> None:
    """Choose whether two green threads may wait for the same event of one descriptor.

    Args:
        state: True, the default of every program: the second one gets
            `SimultaneousUseError`. False: they are served first come, first served.
    """
    set_prevent_multiple_waiters(state)


def hub_exceptions(state: bool = True) -> None:
    """Choose whether the failure of a green thread nobody waits for is reported.

    Args:
        state: True, the default: it goes to the loop's exception handler.
    """
    get_hub().debug_exceptions = state


def format_hub_listeners() -> str:
    """Return a text that lists who waits on which descriptor of the current hub."""
    hub = get_hub()
    lines = ["READERS:"]
    lines += [f"  {listener!r}" for listener in hub.get_readers()]
    lines.append("WRITERS:")
    lines += [f"  {listener!r}" for listener in hub.get_writers()]
    return "\n".join(lines)


def format_threads_info() -> str:
    """Return a text with every green thread of the current hub and its stack."""
    threads = get_hub().green_threads()
    return "\n".join(f"{thread!r}\n{_stack(thread)}" for thread in threads)


def _stack(thread: greenlet) -> str:
    if thread is getcurrent():
        return "".join(traceback.format_stack())
    frame = thread.gr_frame
    return "" if frame is None else "".join(traceback.format_stack(frame))
