"""eventlet's switches for tracking mistakes down, and its texts about a hub."""

from __future__ import annotations

import traceback

from greenlet import getcurrent, greenlet

from .._kernel.current import get_hub
from .._reactor.descriptors import set_prevent_multiple_waiters
from .._tpool import settings as _tpool
from . import hub_state as _hub_state
from .alarm import detect_blocking
from .run_info import format_run_info


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


def tpool_exceptions(state: bool = False) -> None:
    """Choose whether `greenio.tpool` prints what is raised in its threads.

    It is raised in the caller in any case.

    Args:
        state: True prints it too, to ``sys.stderr``.
    """
    _tpool.QUIET = not state


def hub_blocking_detection(state: bool = False, resolution: float = 1) -> None:
    """Choose whether code that blocks the current loop is interrupted.

    It gets a RuntimeError that tells where it was: a means for development, which lets
    no blocking call pass. `monitor` only reports. It uses SIGALRM, so it is for the main
    thread.

    Args:
        state: True begins it, False ends it.
        resolution: How long the loop may be kept from going on, in seconds.

    Raises:
        ValueError: Called in another OS thread than the main one, or `resolution` is
            not positive.
    """
    detect_blocking(state, resolution)


def hub_listener_stacks(state: bool = False) -> None:
    """Choose whether `format_hub_listeners` shows where each waits."""
    _hub_state.show_listener_stacks(state)


def hub_timer_stacks(state: bool = False) -> None:
    """Choose whether timers made from now on remember where they were made.

    `format_hub_timers` shows it.
    """
    _hub_state.note_timer_stacks(state)


def format_hub_listeners() -> str:
    """Return a text that lists who waits on which descriptor of the current hub."""
    return "\n".join(_hub_state.describe_listeners())


def format_hub_timers() -> str:
    """Return a text that lists the timers of the current hub, the next one first.

    These are the calls that `spawn_after`, `exc_after` and the hub's `schedule_call_...`
    are to make. Green threads that sleep are in `format_run_info`.
    """
    return "\n".join(_hub_state.describe_timers())


def format_threads_info() -> str:
    """Return a text with every green thread of the current hub and its stack."""
    threads = get_hub().green_threads()
    return "\n".join(f"{thread!r}\n{_stack(thread)}" for thread in threads)


def format_asyncio_info() -> str:
    """Return what `format_run_info` does, which has asyncio's tasks too."""
    return format_run_info()


def _stack(thread: greenlet) -> str:
    if thread is getcurrent():
        return "".join(traceback.format_stack())
    frame = thread.gr_frame
    return "" if frame is None else "".join(traceback.format_stack(frame))
