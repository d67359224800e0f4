"""The Task by which a hub learns that a loop of somebody else's ends.

Who ends a loop cancels its tasks, and so this one with them; it is in `asyncio.all_tasks()`
for that. But a program may also *wait* for all tasks, before its end, and this one would not
end by itself. So who waits for it without having cancelled it waits for the next turn of the
loop only: the Task ends, and another one takes its place. That one is not in `all_tasks()`
while the loop runs, or a program that waits until none is left would go on for ever; when the
loop has stopped it is, since whoever ends the loop then looks there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

# The loops that run and whose supervisor is shown when they stop.
shown_loops: set[asyncio.AbstractEventLoop] = set()


class Supervisor(asyncio.Task[None]):
    """The Task; it is cancelled when its loop ends.

    Args:
        coroutine: What it runs, until it is cancelled or `released` is done.
        loop: Its loop.
        replace: Called with this one when somebody waits for it.
    """

    # Whether it has been cancelled, and whether somebody waits for it.
    is_told = False
    _is_waited_for = False
    # Whether `all_tasks` does not find it.
    _is_hidden = False
    # What it waits for; there from its first step on.
    released: asyncio.Future[None] | None = None

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        loop: asyncio.AbstractEventLoop,
        replace: Callable[[Supervisor], None],
    ) -> None:
        super().__init__(coroutine, loop=loop, name="greenio-supervisor")
        # A loop that is closed without cancelling its tasks, as many scripts do, is no
        # reason to print "Task was destroyed but it is pending".
        self._log_destroy_pending = False
        self._replace = replace

    def cancel(self, msg: Any = None) -> bool:
        """Have the green threads ended: the loop ends."""
        self.is_told = True
        return super().cancel(msg)

    def add_done_callback(
        self, fn: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Have a function called at its end, which comes soon."""
        super().add_done_callback(fn, context=context)
        if not (self._is_waited_for or self.done()):
            self._is_waited_for = True
            # Not at once: who waits for it may cancel it next.
            self.get_loop().call_soon(self._end)

    def when_done(self, fn: Callable[[Supervisor], object]) -> None:
        """Have a function called at its end, whenever that is."""
        super().add_done_callback(fn)

    def _end(self) -> None:
        if not (self.is_told or self.done()):
            self._replace(self)

    def hide(self) -> None:
        """Have `asyncio.all_tasks` not find it."""
        self._is_hidden = True
        asyncio.tasks._unregister_task(self)

    def show(self) -> None:
        """Have `asyncio.all_tasks` find it again."""
        if self._is_hidden and not self.done():
            self._is_hidden = False
            asyncio.tasks._register_task(self)


class Ending(asyncio.Task[None]):
    """The Task that ends the green threads when the supervisor could not.

    Whoever ends the loop may cancel it before its first step, and then it would do nothing.
    So it is not cancelled: what it does is to be done, and has an end.
    """

    def cancel(self, msg: Any = None) -> bool:
        """Do nothing."""
        return False
