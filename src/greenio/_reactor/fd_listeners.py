"""Callbacks for descriptors, as eventlet's hubs have them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent
from greenlet import greenlet as _greenlet

from .._loop.blocking import READ, WRITE
from .._std.errors import IOClosed
from .._std.originals import os_get_blocking, os_set_blocking
from .descriptors import Listener

Callback = Callable[..., Any]


class FdListener:
    """A callback for one direction of one descriptor, as `Hub.add` makes it.

    Args:
        evtype: ``hub.READ`` or ``hub.WRITE``.
        fileno: The descriptor.
        cb: Called with the descriptor, in the loop greenlet, each time it is ready.
        tb: Called with an exception when it is closed while it is waited for.
        mark_as_closed: Called before that, without arguments; or None.

    Attributes:
        greenlet: Who has added it.
        spent: Whether its descriptor has been closed.
    """

    def __init__(
        self,
        evtype: str,
        fileno: int,
        cb: Callback,
        tb: Callback,
        mark_as_closed: Callback | None,
    ) -> None:
        if evtype not in (READ, WRITE):
            raise ValueError(
                f"a listener is for {READ!r} or {WRITE!r} (hub.READ, hub.WRITE), not "
                f"{evtype!r}"
            )
        self.evtype = evtype
        self.fileno = fileno
        self.cb: Callback = cb
        self.tb = tb
        self.mark_as_closed = mark_as_closed
        self.greenlet: _greenlet = getcurrent()
        self.spent: bool = False
        self.resumption: Resumption | None = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.evtype!r}, {self.fileno!r}, {self.cb!r}, "
            f"{self.tb!r})"
        )

    @property
    def waiter(self) -> Any:
        """Who has added it."""
        return self.greenlet

    def defang(self) -> None:
        """Have nothing called any more: the descriptor has been closed."""
        self.cb = closed_callback
        if self.mark_as_closed is not None:
            self.mark_as_closed()
        self.spent = True


class DebugListener(FdListener):
    """A listener that knows where it was added.

    Attributes:
        where_called: The code that added it.
    """

    def __init__(
        self,
        evtype: str,
        fileno: int,
        cb: Callback,
        tb: Callback,
        mark_as_closed: Callback | None,
    ) -> None:
        super().__init__(evtype, fileno, cb, tb, mark_as_closed)
        import traceback

        self.where_called: str = "".join(traceback.format_stack(sys._getframe(1)))

    def __repr__(self) -> str:
        return f"{super().__repr__()}\n{self.where_called}"


def closed_callback(fileno: int) -> None:
    """Stands for the callback of a listener whose descriptor has been closed."""


class Resumption:
    """Stands for a greenlet in a `Listener`: to resume it is to call back.

    It is false, so that the loop greenlet does it.
    """

    # Nobody's stack is to be shown.
    gr_frame = None

    def __init__(self, hub: Any, entry: FdListener, listener: Listener) -> None:
        self.hub = hub
        self.entry = entry
        # To which it is a greenlet.
        self.listener: Any = listener
        self.removed: bool = False

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return repr(self.entry.cb)

    @property
    def pending(self) -> bool:
        """Whether it is still to be called."""
        return not self.removed

    def switch(self) -> None:
        if self.removed:
            return
        listener = self.listener
        if listener.closed:
            self.throw(IOClosed())
            return
        entry = self.entry
        # It stays until it is removed; its callback may do that.
        if listener.waiter is None:
            listener.waiter = self
        elif listener.waiter is not self:
            listener.others = listener.others or deque()
            listener.others.append(self)
        try:
            if not listener.registered:
                register(listener)
            entry.cb(entry.fileno)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            self.hub.squelch_exception(entry.fileno, sys.exc_info())

    def throw(self, *error: Any) -> None:
        self.removed = True
        entry = self.entry
        entry.defang()
        try:
            entry.tb(*error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            self.hub.squelch_generic_exception(sys.exc_info())

    def remove(self) -> None:
        self.removed = True
        listener = self.listener
        if listener.others and self in listener.others:
            listener.others.remove(self)
        elif listener.waiter is self:
            listener.give_up(self)
        if listener.waiter is None and not listener.closed:
            listener.release()
            listener.table.forget(listener)


def register(listener: Listener) -> None:
    """Have the loop tell a listener when its descriptor is ready, and leave that as it was."""
    blocking = os_get_blocking(listener.fd)
    listener.register()
    if blocking:
        # uvloop makes what it watches non-blocking, and it is the user's.
        os_set_blocking(listener.fd, True)
