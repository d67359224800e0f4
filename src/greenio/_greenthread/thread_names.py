"""Green threads as eventlet's are: made of a parent alone, and with their end in attributes.

A subclass of eventlet's `GreenThread` is made of a parent, and told what to run when it is
first switched to: ``hub.schedule_call_global(0, thread.switch, func, args, kwargs)``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet

from .._kernel.current import get_hub
from .._kernel.hidden_loop import hide_while

PENDING = "pending"
DONE = "done"


def exit_funcs(thread: Any) -> deque[Any]:
    """Return whom a green thread tells of its end: eventlet's ``_exit_funcs``, a copy."""
    return deque((thread._links or {}).values())


class ExitEvent:
    """The end of a green thread, in the form of an event: eventlet's ``_exit_event``."""

    __slots__ = ("_thread",)

    def __init__(self, thread: Any) -> None:
        self._thread = thread

    def ready(self) -> bool:
        """Whether it has ended."""
        return bool(self._thread.dead)

    def has_exception(self) -> bool:
        """Whether it has ended with an exception."""
        return self.ready() and self._thread._error is not None

    def has_result(self) -> bool:
        """Whether it has ended with a result."""
        return self.ready() and self._thread._error is None

    def poll(self, notready: Any = None) -> Any:
        """Return the result or raise the exception, if it has ended."""
        return self._thread.outcome() if self.ready() else notready

    def poll_result(self, notready: Any = None) -> Any:
        """Return the result, if it has ended with one."""
        return self.poll() if self.has_result() else notready

    def poll_exception(self, notready: Any = None) -> Any:
        """Raise the exception, if it has ended with one."""
        return self.poll() if self.has_exception() else notready

    def wait(self) -> Any:
        """Wait for the end; see `GreenThread.wait`."""
        return self._thread.wait()


def hidden(run: Callable[..., None], loop: Any) -> Callable[..., None]:
    """Return a body that takes arguments and does not see the loop."""

    def unseeing(*args: Any) -> None:
        hide_while(partial(run, *args), loop)()

    return unseeing


def init_by_parent(thread: Any, parent: Any, init: Callable[..., None]) -> None:
    """Initialize a green thread that is made of the greenlet to run beneath."""
    hub = get_hub()
    if parent is not None and not isinstance(parent, greenlet):
        raise TypeError(
            "GreenThread() takes the greenlet to run beneath, as in "
            f"GreenThread(hubs.get_hub().greenlet), not {parent!r}; a function is "
            "started with spawn(func, ...)"
        )
    init(thread, hub, thread.main)
    # It is started by whoever switches to it, and not by the run queue.
    hub.keep_track(thread)
    thread.run = hidden(begin, hub.loop) if hub.hides else begin
    if parent is not None:
        thread.parent = parent


def begin(*call: Any) -> None:
    """The body of a green thread that is told by its first switch what to run."""
    thread: Any = getcurrent()
    if thread._state is not PENDING:
        return
    thread._call = None
    try:
        thread.main(*call)
    except BaseException as exc:
        if thread._state is PENDING:
            thread._failed(exc)
        elif isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise
    if thread._state is PENDING:
        # Its own `main` has not run anything.
        thread._end(DONE, None, None)
