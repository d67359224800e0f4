"""`signal.pause`, `sigwait` and their like that park the green thread; thread numbers.

No descriptor becomes ready when a signal is pending that is blocked, so who waits for one
looks again and again. Who waits for any handler to run has those that are there call back;
handlers that are installed meanwhile are noticed a moment later.

Some functions take the number of a thread, and of one that is none of the system's they
make an address. So for a green thread's they get that of the OS thread that it runs in.
"""

from __future__ import annotations

import errno
import os
import signal
import time  # noqa: TID251 - a function that takes a thread's number
from collections.abc import Iterable
from types import FrameType
from typing import Any

from .._greenthread.sleeping import sleep
from .._kernel.current import existing_hub, hub_to_park_in
from .._kernel.hub import known_hubs
from .._loop.interrupts import as_pythons
from .._std.originals import get_ident as native_ident
from .._std.originals import in_main_thread, monotonic
from .._sync.event import Event
from .signal_handlers import Handler, unwrapped
from .threads import FIRST_IDENT, get_ident, running_hub

_getsignal = signal.getsignal
_set_signal = signal.signal
_native_pause = getattr(signal, "pause", None)
_native_sigwait = getattr(signal, "sigwait", None)
_native_sigtimedwait = getattr(signal, "sigtimedwait", None)
_native_sigwaitinfo = getattr(signal, "sigwaitinfo", None)
_native_pthread_kill = getattr(signal, "pthread_kill", None)
_native_getcpuclockid = getattr(time, "pthread_getcpuclockid", None)

# From the first pause between two looks to the longest, in seconds.
_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


def _may_block() -> bool:
    """Whether nobody else runs in this OS thread."""
    return existing_hub() is None and hub_to_park_in("") is None


# -- waiting ----------------------------------------------------------------------------


def pause() -> None:
    """Wait until a signal handler has run; see `signal.pause`."""
    assert _native_pause is not None
    if not in_main_thread():
        # Only the main thread may say what handlers call.
        _native_pause()
        return
    hub_to_park_in("signal.pause()")
    caught: Event[None] = Event()
    catching: dict[int, _Catching] = {}
    try:
        while not caught.ready():
            for each in signal.valid_signals():
                number = int(each)
                handler: Any = _getsignal(number)
                if _is_called(handler) and handler is not catching.get(number):
                    catching[number] = _Catching(handler, caught)
                    _set_signal(number, catching[number])
            caught.wait(_LONGEST_PAUSE)
    finally:
        for number, catcher in catching.items():
            present: Any = _getsignal(number)
            if present is catcher:
                _set_signal(number, catcher.handler)


def _is_called(handler: Any) -> bool:
    # KeyboardInterrupt goes to the main program, whoever pauses.
    return callable(handler) and as_pythons(handler) is not signal.default_int_handler


class _Catching(Handler):
    """A handler that also says that it has run."""

    __slots__ = ("caught", "handler")

    def __init__(self, handler: Any, caught: Event[None]) -> None:
        # What the program sees when it asks.
        super().__init__(unwrapped(handler))
        self.handler = handler
        self.caught = caught

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handler(number, frame)
        finally:
            if not self.caught.ready():
                self.caught.send()


def sigwait(sigset: Iterable[int], /) -> Any:
    """Wait for one of some blocked signals; see `signal.sigwait`."""
    assert _native_sigwait is not None
    if _may_block():
        return _native_sigwait(sigset)
    signals = set(sigset)
    _wait_until_pending(signals, "signal.sigwait()", None)
    return _native_sigwait(signals)


def sigwaitinfo(sigset: Iterable[int], /) -> Any:
    """Wait for one of some blocked signals; see `signal.sigwaitinfo`."""
    assert _native_sigwaitinfo is not None
    if _may_block():
        return _native_sigwaitinfo(sigset)
    signals = set(sigset)
    _wait_until_pending(signals, "signal.sigwaitinfo()", None)
    return _native_sigwaitinfo(signals)


def sigtimedwait(sigset: Iterable[int], timeout: float, /) -> Any:
    """Wait for one of some blocked signals, but not for ever; see `signal.sigtimedwait`.

    Returns:
        None if the time was up first.
    """
    assert _native_sigtimedwait is not None
    signals = set(sigset)
    # It also refuses what it cannot take.
    info = _native_sigtimedwait(signals, timeout if timeout <= 0 or _may_block() else 0)
    if info is not None or timeout <= 0 or _may_block():
        return info
    deadline = monotonic() + timeout
    _wait_until_pending(signals, "signal.sigtimedwait()", deadline)
    return _native_sigtimedwait(signals, 0)


def _wait_until_pending(signals: set[int], what: str, deadline: float | None) -> None:
    hub_to_park_in(what)
    seconds = _PAUSE
    while not signals & signal.sigpending():
        if deadline is not None:
            left = deadline - monotonic()
            if left <= 0:
                return
            seconds = min(seconds, left)
        sleep(seconds)
        seconds = min(seconds * 2, _LONGEST_PAUSE)


# -- numbers of threads -----------------------------------------------------------------


def pthread_kill(thread_id: int, signalnum: int, /) -> None:
    """Send a signal to a thread, or to the one that a green thread runs in.

    Raises:
        ProcessLookupError: The green thread has ended.
    """
    assert _native_pthread_kill is not None
    _native_pthread_kill(_os_thread(thread_id), signalnum)


def pthread_getcpuclockid(thread_id: int, /) -> int:
    """Return the clock of a thread, or of the one that a green thread runs in.

    Raises:
        ProcessLookupError: The green thread has ended.
    """
    assert _native_getcpuclockid is not None
    return _native_getcpuclockid(_os_thread(thread_id))  # type: ignore[no-any-return]


def _os_thread(number: int) -> int:
    if not FIRST_IDENT <= number < 2 * FIRST_IDENT:
        return number
    if number == get_ident():
        return native_ident()
    hub = running_hub(number)
    if hub is not None:
        return hub.thread_id
    for known in known_hubs():
        for thread in known.green_threads():
            if getattr(thread, "_thread_ident", None) == number:
                return known.thread_id
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
