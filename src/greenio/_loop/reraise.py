"""Exceptions as they travel: in throw arguments, and raised more than once."""

from __future__ import annotations

import inspect
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from greenlet import GreenletExit


def fresh(error: BaseException) -> BaseException:
    """Return the same exception, with the traceback that its failure had.

    An exception that is raised again for every waiter would otherwise grow by the
    frames of each of them, and keep their locals alive.
    """
    try:
        original = error.__greenio_traceback__  # type: ignore[attr-defined]
    except AttributeError:
        original = error.__traceback__
        try:
            error.__greenio_traceback__ = original  # type: ignore[attr-defined]
        except AttributeError:
            return error
    return error.with_traceback(original)


# To clear the frame of a generator or coroutine that is waiting would close it, and an
# exception may have gone through one that has handled it.
_MAY_WAIT = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _clear(frame: FrameType) -> None:
    """Drop the local variables of a frame, if that has ended."""
    if not frame.f_code.co_flags & _MAY_WAIT:
        with suppress(RuntimeError):
            frame.clear()


def forget_locals(traceback: TracebackType | None) -> None:
    """Have a traceback keep its lines, and not what was in the local variables."""
    while traceback is not None:
        _clear(traceback.tb_frame)
        traceback = traceback.tb_next


# Where a greenlet stops, and is told so if it is killed or its time is up.
_WAITS = ("park", "block", "sleep")


def forget_own_frames(traceback: TracebackType | None) -> None:
    """Have the frames of greenio in a traceback keep nothing; those have all ended.

    They know the green thread that has failed, which keeps the traceback. It keeps those
    of the user's, without greenio's in between. The traceback of what was thrown into a
    wait ends with the line of the user's that waited.
    """
    last_of_users = None
    name = ""
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__", "").startswith("greenio."):
            name = frame.f_code.co_name
            _clear(frame)
        else:
            if name and last_of_users is not None:
                # What the user waited by, on the way from one function of his to another.
                last_of_users.tb_next = traceback
            name = ""
            last_of_users = traceback
        traceback = traceback.tb_next
    if name in _WAITS and last_of_users is not None:
        last_of_users.tb_next = None


def exception_from(throw_args: tuple[Any, ...]) -> BaseException:
    """Return the exception that `greenlet.throw(*throw_args)` would raise.

    Raises:
        TypeError: The first of them is neither an exception nor a class of exceptions.
    """
    if not throw_args:
        return GreenletExit()
    kind = throw_args[0]
    value = throw_args[1] if len(throw_args) > 1 else None
    traceback: TracebackType | None = throw_args[2] if len(throw_args) > 2 else None
    error: BaseException
    if isinstance(kind, BaseException):
        error = kind
    elif not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise TypeError(
            f"an exception or a class of exceptions can be raised, not {kind!r}"
        )
    elif isinstance(value, BaseException):
        error = value
    elif value is None:
        error = kind()
    elif isinstance(value, tuple):
        error = kind(*value)
    else:
        error = kind(value)
    return error if traceback is None else error.with_traceback(traceback)
