"""What becomes of an exception that ends a thread of `threading` or `_thread`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from greenlet import GreenletExit, getcurrent

from .._std.originals import in_main_thread


def report_ignored(function: Callable[..., Any], error: Exception) -> None:
    """Report an exception in a thread that `_thread` has started, as it does."""
    # From the frame of the function itself.
    traceback = error.__traceback__ and error.__traceback__.tb_next
    message = "Exception ignored in thread started by"
    where: tuple[object, ...] = (message, function)
    if sys.version_info >= (3, 13):
        where = (f"{message} {function!r}", None)
    details = (type(error), error.with_traceback(traceback), traceback, *where)
    sys.unraisablehook(_unraisable_type()(details))


@cache
def _unraisable_type() -> Callable[[tuple[Any, ...]], Any]:
    """The type of what the hook is called with, which has no name."""

    class Failing:
        def __del__(self) -> None:
            raise RuntimeError

    seen: list[Any] = []
    hook, sys.unraisablehook = sys.unraisablehook, seen.append
    try:
        Failing()
    finally:
        sys.unraisablehook = hook
    return type(seen[0])


def note_failure(invoke: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap what a `threading.Thread` calls when its `run` has failed.

    A green thread that was killed has not failed, and an interrupt is not its own: it
    goes on to the main thread.
    """

    def invoke_excepthook(thread: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, GreenletExit):
            return
        if isinstance(error, KeyboardInterrupt) and in_main_thread():
            getcurrent()._thread_interrupt = error  # type: ignore[attr-defined]
            return
        invoke(thread)

    return invoke_excepthook
