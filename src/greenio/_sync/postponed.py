"""Exceptions that arrive where none may be raised, kept until one may.

Whoever takes a lock again after `Condition.wait` must have it before anything leaves
the ``with`` block, whatever arrives meanwhile::

    postponed = Postponed()
    while not there_yet():
        with postponed:
            wait()
    postponed.raise_if_any()
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from greenlet import GreenletExit

from .._std.errors import BlockingInLoopError, HubError
from .._std.interpreter_exit import is_exiting

# Whoever gets one of these is to end. The time limit of a part of what he does, which
# comes later, does not keep him from it.
_ENDS = (GreenletExit, asyncio.CancelledError, KeyboardInterrupt, SystemExit)


# The caller cannot wait here at all, or not any more.
_UNABLE = (GeneratorExit, BlockingInLoopError, HubError)


class Postponed:
    """Keeps the last exception that its ``with`` blocks raise."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or isinstance(error, _UNABLE) or is_exiting():
            return False
        if not (isinstance(self.error, _ENDS) and getattr(error, "is_timeout", False)):
            self.error = error
        return True

    def raise_if_any(self) -> None:
        """Raise the exception that was kept, if there is one."""
        error = self.error
        if error is None:
            return
        self.error = None
        try:
            raise error
        finally:
            # Not a cycle through this frame and the traceback.
            del error
