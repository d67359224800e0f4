"""Where KeyboardInterrupt is raised while an owned hub runs.

Python's own handler raises it in whatever line is running. That may be one of the loop's,
which has just taken a callback out of its queue and then makes no call of it; or one of a
green thread that has ended and is about to tell those who wait for it; or a finalizer,
whose exceptions are printed and forgotten. So an owned hub of the main thread puts another
handler in its place:

* where the user's code runs, or something that it has called, and in the main program, it
  raises as Python's does;
* elsewhere in the loop greenlet, and where a green thread begins and ends, it has the
  main program get the interrupt in its turn, with the traceback of what was running;
* in a finalizer it waits until that has returned, and where somebody has joined the waiters
  of a primitive until he parks: it has itself called again wherever the interpreter looks for
  signals.

It does so only where Python's own handler would, and is gone with the hub. Nothing of it is
on the way of a program that is not interrupted.
"""

from __future__ import annotations

import functools
import signal
from types import FrameType, TracebackType
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from .._std.errors import HubClosedError
from .._std.originals import in_main_thread, interrupt_main, monotonic
from .interrupted import (
    is_about_to_wait,
    is_finalizing,
    is_ours,
    runs_users_code,
    traceback_to,
)

# Not those of a patched program, where ours passes for Python's.
_getsignal = signal.getsignal
_set_signal = signal.signal

# What takes longer than this many seconds gets the interrupt after all.
_PATIENCE = 1.0


class Owner(Protocol):
    """A hub that runs its loop itself, to who interrupts it."""

    closed: bool
    main: greenlet | None
    loop_greenlet: greenlet

    def raise_in_main(
        self, error: BaseException, traceback: TracebackType | None
    ) -> None:
        """Raise in the main greenlet when its turn comes."""


# The one of the main thread.
_owner: Owner | None = None


class _LikePythons(type):
    """Has a handler pass for Python's own with those who compare it."""

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is signal.default_int_handler

    def __hash__(cls) -> int:
        return hash(signal.default_int_handler)


class InterruptHandler(metaclass=_LikePythons):
    """The handler. To call it is to make one, and making one ends by raising.

    The interpreter makes an object by calling `__new__` and then, if that returned one of
    the class, `__init__`. The latter is Python's handler, which is not written in Python.
    So what it raises has no line of ours in its traceback.
    """

    # See `held_handlers`.
    puts_off = True

    _waits_since: float | None = None

    def __new__(cls, number: int, frame: FrameType | None) -> Any:
        if _owner is None:
            return super().__new__(cls)
        if is_finalizing(frame) or is_about_to_wait(frame):
            now = monotonic()
            since = cls._waits_since
            if since is None:
                cls._waits_since = since = now
            if now - since < _PATIENCE:
                return _again(number)()
        cls._waits_since = None
        if put_off(KeyboardInterrupt(), frame):
            return None
        return super().__new__(cls)

    __init__ = signal.default_int_handler


@functools.cache
def _again(number: int) -> Any:
    """Return a class; when one of it goes away, the handler is called once more.

    Called by a function, it would interrupt that one.
    """
    call = staticmethod(functools.partial(interrupt_main, number))
    return type("_Again", (), {"__slots__": (), "__del__": call})


def put_off(error: BaseException, frame: FrameType | None) -> bool:
    """Have the main program get what a signal handler raises, if that must not be here.

    Args:
        error: The exception, with the traceback that it has in the handler.
        frame: What the handler has interrupted.

    Returns:
        False if it is to be raised here.
    """
    owner = _owner
    if owner is None or owner.closed or owner.main is None:
        return False
    current = getcurrent()
    if current.parent is None or runs_users_code(frame):
        return False
    # A thread that the main program is just starting has not waited yet, and what it raises
    # goes to who starts it.
    is_starting = current.parent is owner.main and current is not owner.loop_greenlet
    if is_starting and not is_ours(frame):
        return False
    traceback = traceback_to(frame, error.__traceback__)
    try:
        owner.raise_in_main(error, traceback)
    except HubClosedError:
        return False
    return True


def take_over(owner: Owner) -> None:
    """Handle for an owned hub what Python would raise KeyboardInterrupt for."""
    global _owner  # noqa: PLW0603 - one main thread
    if not in_main_thread():
        return
    _owner = owner
    for number in signal.valid_signals():
        if _getsignal(number) is signal.default_int_handler:
            _set_signal(number, InterruptHandler)


def give_up(owner: Owner) -> None:
    """Have Python raise KeyboardInterrupt again, when the hub has ended."""
    global _owner  # noqa: PLW0603 - one main thread
    if _owner is not owner or not in_main_thread():
        return
    for number in signal.valid_signals():
        if _getsignal(number) is InterruptHandler:
            _set_signal(number, signal.default_int_handler)
    _owner = None


def as_pythons(handler: Any) -> Any:
    """Return Python's own handler for the one that stands in its place."""
    return signal.default_int_handler if handler is InterruptHandler else handler


def instead_of_pythons() -> Any:
    """Return what is to stand in the place of Python's own handler now."""
    return signal.default_int_handler if _owner is None else InterruptHandler
