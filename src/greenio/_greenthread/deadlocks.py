"""Noticing that the main program waits for what nobody can bring about any more.

Where the loop of an owned hub would wait without a limit it waits for a second at first,
and then for longer and longer. In between it looks for whoever could still wake somebody,
and if there is nobody, raises `DeadlockError` in the main program. A loop that has a timer
or anything else to do is not held up. uvloop cannot be asked before it waits; there a timer
looks, after a second at first, and then less and less often.

It must never be wrong, so it takes whatever it does not know for a waker: it knows the
standard loop and uvloop only, and whether there are other OS threads only where the system
says so.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from importlib import import_module
from typing import Any

from greenlet import getcurrent

from .._kernel import hub as _hub
from .._kernel.hub import Hub
from .._loop import uvloop_idle
from .._loop.loops import is_uvloop
from .._std.errors import DeadlockError
from .._std.originals import all_tasks, in_main_thread

_VARIABLE = "GREENIO_DETECT_DEADLOCKS"
_enabled = os.environ.get(_VARIABLE, "1") not in ("", "0")

# Seconds to the first look, and between the later ones at most.
_FIRST = 1.0
_LONGEST = 60.0

# One entry for each OS thread of the process, those of C libraries too.
_THREADS = "/proc/self/task"

# The real one, before a patch.
_waitid: Any = getattr(os, "waitid", None)

# What handlers in C, such as faulthandler's, are for when the process is to die.
_FATAL = {
    getattr(signal, name, None)
    for name in ("SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL")
}
_DEFAULT_HANDLERS = (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)


def detect_deadlocks(state: bool) -> None:
    """Choose whether a main program that would wait for ever gets DeadlockError.

    It is on by default, unless the environment variable GREENIO_DETECT_DEADLOCKS is 0.
    Programs that wait, with nothing else to do, for Ctrl-C or for the end by a signal
    turn it off.
    """
    global _enabled  # noqa: PLW0603 - one setting per process
    _enabled = state


def os_threads() -> int:
    """How many OS threads the process has, without those of the kernel.

    Under uvloop 0.20 the kernel polls for libuv, in a thread that is listed with ours.

    Raises:
        OSError: The system does not tell.
    """
    numbers = os.listdir(_THREADS)  # noqa: PTH208 - see `places`
    if len(numbers) == 1:
        return 1
    return sum(not _is_the_kernels(number) for number in numbers)


def _is_the_kernels(number: str) -> bool:
    try:
        with open(f"{_THREADS}/{number}/comm", "rb") as file:  # noqa: PTH123
            return file.read(4) == b"iou-"
    except OSError:
        # It has ended: what it did last may still be to come.
        return False


def watch(hub: Hub) -> bool:
    """Look for who could wake the main greenlet of an owned hub, when its loop idles.

    Returns:
        Whether the loop is one that can be watched.
    """
    loop = hub.loop
    if not os.access(_THREADS, os.F_OK):
        return False
    if is_uvloop(loop):
        _look_later(hub, _FIRST)
        return True
    if type(loop) is not asyncio.SelectorEventLoop:
        return False
    selector: Any = getattr(loop, "_selector")  # noqa: B009 - it is not in the stubs
    select = selector.select

    def watching(timeout: float | None = None) -> Any:
        if timeout is not None:
            return select(timeout)
        seconds = _FIRST
        while not (events := select(seconds)):
            if _enabled and _nobody_is_left(hub):
                loop.call_soon(_raise_in_main_program, hub, context=hub.context)
                break
            seconds = min(2 * seconds, _LONGEST)
        return events

    selector.select = watching
    return True


def _look_later(hub: Hub, seconds: float) -> None:
    loop = hub.loop

    def due() -> None:
        # Not yet: while this is called the loop has a timer.
        loop.call_soon(look, context=hub.context)

    def look() -> None:
        if hub.closed:
            return
        is_stuck = _enabled and _nobody_is_left(hub)
        # Again after twice the time.
        _look_later(hub, min(2 * seconds, _LONGEST))
        if is_stuck:
            _raise_in_main_program(hub)

    loop.call_later(seconds, due, context=hub.context)


def _raise_in_main_program(hub: Hub) -> None:
    hub.pass_on(DeadlockError(describe_who_waits()))


def _nobody_is_left(hub: Any) -> bool:
    """Whether nothing that could wake anybody is known, or might be unknown."""
    loop = hub.loop
    return (
        # It is the main program that waits, and this hub that runs the loop.
        bool(hub.main)
        and getattr(hub.main, "_hub", None) is not None
        and getcurrent() is hub.loop_greenlet
        and in_main_thread()
        and not hub.timers
        and not all_tasks(loop)
        and not any(half.ready or half.batch for half in (hub, hub.twin or hub))
        # Those who wait without being registered are about to be.
        and not (hub.get_readers() or hub.get_writers())
        and os_threads() == 1
        and not _may_be_signalled()
        and not _has_children()
        # Last: by an OS thread that has ended since.
        and _is_idle(loop, _registered_for_nobody(hub))
    )


def _registered_for_nobody(hub: Any) -> Counter[int]:
    """How often each descriptor is registered though nobody waits for it."""
    idle = Counter(
        entry.fd
        for entry in hub.descriptors.registered()
        if entry.waiter is None and not entry.others
    )
    # And what wakes the loop itself.
    idle.update(hub.signal_descriptors())
    return idle


def _is_idle(loop: Any, idle: Counter[int]) -> bool:
    """Whether a loop has nothing to call, and waits for no other descriptors."""
    if is_uvloop(loop):
        return uvloop_idle.is_idle(loop, idle)
    return (
        all(timer.cancelled() for timer in loop._scheduled)
        and all(
            key.fd == loop._ssock.fileno()
            or sum(handle is not None for handle in key.data) == idle[key.fd]
            for key in loop._selector.get_map().values()
        )
        and not loop._ready
    )


def _may_be_signalled() -> bool:
    """Whether a signal could do more than end the program."""
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if handler not in _DEFAULT_HANDLERS and not (
            handler is None and number in _FATAL
        ):
            return True
    return bool(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _has_children() -> bool:
    try:
        _waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def describe_who_waits() -> str:
    """Return the run info, as text."""
    try:
        return str(import_module("greenio.debug").format_run_info())
    except Exception as exc:
        # The error itself is to arrive.
        return f"(who waits is not known: {exc!r})"


_hub.watch_for_deadlocks = watch
