"""What was running when a signal came, as told by the frame that its handler gets."""

from __future__ import annotations

import _weakrefset
import functools
import signal
import sys
import weakref
from types import CodeType, FrameType, TracebackType
from typing import Any

# What an exception leaves by is printed there, and then forgotten by the interpreter: a
# finalizer, or the callback of a weak reference.
_FINALIZER = "__del__"
_WEAK_REFERENCES = vars(weakref)
_WEAK_SETS = vars(_weakrefset)

_NOT_THE_USERS = sys.stdlib_module_names | {"greenio", "uvloop"}
# Of the classes that `collections.namedtuple` makes.
_NAMED_TUPLE = "namedtuple_"


def is_finalizing(frame: FrameType | None) -> bool:
    """Whether an exception would end in a finalizer, instead of in who is running."""
    while frame is not None:
        if frame.f_code.co_name == _FINALIZER:
            return True
        module = frame.f_globals
        if module is _WEAK_REFERENCES or module is _WEAK_SETS:
            return True
        frame = frame.f_back
    return False


def is_about_to_wait(frame: FrameType | None) -> bool:
    """Whether greenio has queued a waiter, and nobody would take it out again yet.

    That is so from where it joins a queue up to where its owner parks.
    """
    if frame is None or not is_ours(frame):
        return False
    waiter = frame.f_locals.get("waiter")
    return waiter is not None and getattr(waiter, "done", None) is False


def is_ours(frame: FrameType | None) -> bool:
    """Whether it is a function of greenio's that is running."""
    return frame is not None and _package(frame) == "greenio"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def runs_users_code(frame: FrameType | None) -> bool:
    """Whether a function of the user's is running, or has called what is.

    That is one of neither greenio's nor the standard library's.
    """
    while frame is not None:
        package = _package(frame)
        if package not in _NOT_THE_USERS and not package.startswith(_NAMED_TUPLE):
            return True
        frame = frame.f_back
    return False


def traceback_to(
    frame: FrameType | None, traceback: TracebackType | None
) -> TracebackType | None:
    """Return the traceback that an exception raised in a frame would have by now.

    Args:
        frame: The frame.
        traceback: The exception's, from further in.
    """
    while frame is not None:
        traceback = TracebackType(traceback, frame, frame.f_lasti, frame.f_lineno or 0)
        frame = frame.f_back
    return traceback


def comes_from_handler(error: BaseException) -> bool:
    """Whether it is a signal handler that has raised an exception."""
    codes = {
        _code_of(handler)
        for handler in map(signal.getsignal, signal.valid_signals())
        if callable(handler)
    }
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    if not hasattr(handler, "__code__"):
        handler = vars(type(handler)).get("__call__")
    return getattr(handler, "__code__", None)
