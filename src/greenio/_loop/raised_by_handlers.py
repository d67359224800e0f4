"""Let out of the loop what a signal handler raises in one of its callbacks.

A loop reports what a callback raises and goes on: so it does with what a signal handler has
raised there, unless that is KeyboardInterrupt or SystemExit. The callback has been cut short
then, and that may be the run queue's. So such an exception leaves the loop as those two do,
for the main program, or for whoever runs the loop. A uvloop that somebody else runs has no
way out for it: there it is reported, and the run queue goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any

from .._std.originals import in_main_thread
from .interrupted import comes_from_handler
from .loops import is_uvloop, lets_out_itself


class RaisedByHandlers:
    """What watches the callbacks of one loop; does nothing outside the main thread.

    Args:
        loop: The loop.
        interrupted: Called before an exception leaves it.
    """

    __slots__ = ("_interrupted", "_loop", "_watching")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, interrupted: Callable[[], Any]
    ) -> None:
        self._loop = loop
        self._interrupted = interrupted
        self._watching = False

    def watch(self) -> None:
        """Begin to."""
        loop: Any = self._loop
        if self._watching or not in_main_thread() or lets_out_itself(loop):
            return
        # To ask for its `__dict__` would make one, and all its attributes slower.
        if not type(loop).__dictoffset__:
            return
        has_way_out = not is_uvloop(loop)
        report = loop.call_exception_handler
        interrupted = self._interrupted

        @functools.wraps(report)
        def call_exception_handler(context: dict[str, Any]) -> None:
            error = context.get("exception")
            if error is not None and "handle" in context and comes_from_handler(error):
                interrupted()
                if has_way_out:
                    try:
                        raise error
                    finally:
                        del context, error
            report(context)

        loop.call_exception_handler = call_exception_handler
        self._watching = True

    def unwatch(self) -> None:
        """Leave the loop as it was."""
        if self._watching:
            self._watching = False
            # As above: not by its `__dict__`.
            with contextlib.suppress(AttributeError):
                del self._loop.call_exception_handler
