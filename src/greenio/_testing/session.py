"""One test in a green thread on a hub of its own: what the plugin and the case share."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from .._greenthread.spawning import spawn
from .._greenthread.thread import GreenThread
from .._kernel.current import close_thread_hub, get_hub, use_hub
from .leaks import LeakCheck, Leaks

# What `use_hub` takes.
Loop = Any


class TestHub:
    """A fresh hub for a test, from its first fixture to its last.

    Args:
        loop: ``"asyncio"``, ``"uvloop"``, or a function that makes a loop.
    """

    # Not a test, for pytest.
    __test__ = False

    def __init__(self, loop: Loop) -> None:
        close_thread_hub()
        use_hub(loop)
        try:
            self.hub = get_hub()
        except BaseException:
            use_hub()
            raise
        # Reports of green threads that failed while nobody waited, and the like.
        self.unseen: list[dict[str, Any]] = []
        self.hub.loop.set_exception_handler(self._note)
        self._check: LeakCheck | None = None

    def _note(self, loop: object, context: dict[str, Any]) -> None:
        self.unseen.append(context)

    def run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in a green thread; return what it returns, or raise that."""
        __tracebackhide__ = True
        return spawn(func, *args, **kwargs).wait()

    def expect_no_leaks(self) -> None:
        """From here on, whatever comes has to go; see `leaks`."""
        self._check = LeakCheck(self.hub)

    def leaks(self) -> Leaks:
        """Return what was left since `expect_no_leaks`, or nothing without it."""
        return Leaks() if self._check is None else self._check.leaks()

    def take_unseen(self) -> str:
        """Return, as text, what failed unseen, and forget it; empty if nothing did."""
        unseen, self.unseen[:] = list(self.unseen), []
        return "\n".join(_describe(context) for context in unseen)

    def close(self) -> None:
        """End the hub with all its green threads."""
        try:
            close_thread_hub()
        finally:
            use_hub()


def _describe(context: dict[str, Any]) -> str:
    thread = context.get("greenthread")
    lines = [str(context.get("message", "an error that nobody waited for"))]
    if isinstance(thread, GreenThread):
        lines.append(f"in {thread!r}")
    error = context.get("exception")
    if error is not None:
        lines += traceback.format_exception(type(error), error, error.__traceback__)
    return "\n".join(line.rstrip("\n") for line in lines)
