"""Wake a loop that sleeps in its selector when a Python signal handler has run.

A handler installed with `signal.signal` may call `spawn` or `Event.send`. It runs in
the middle of the selector's system call, which then goes on sleeping (PEP 475), so
what the handler queued would wait for the next timer or descriptor. The interpreter
writes a byte to the wake-up descriptor for every signal; the loop only has to read it.
uvloop does so by itself.

There is one wake-up descriptor per process. `loop.add_signal_handler` sets the loop's own,
which does as well, and `loop.remove_signal_handler` leaves none; so while we listen, that
method sets ours again.

uvloop puts back, when a run ends, what it found when that began, and cannot be told that this is
of a loop that has been closed meanwhile. So ours stays open for as long as it may be put back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import sys
from collections.abc import Callable
from socket import socket as _Socket  # noqa: TID251 - a type, nothing is opened
from typing import Any

from .._std.originals import in_main_thread, socketpair
from .held_handlers import HeldHandlers
from .loops import is_uvloop
from .raised_by_handlers import RaisedByHandlers

# Reader and writer of loops that have ended, which somebody may have found as the wake-up
# descriptor, and put back.
_found: list[tuple[_Socket, _Socket]] = []


class SignalWakeup:
    """The wake-up descriptor of one loop; does nothing outside the main thread.

    Args:
        loop: The loop.
        interrupted: Called when a handler has raised in a callback of the loop's.
        removed: Called when a handler of the loop's own has been removed.
    """

    __slots__ = (
        "_loop",
        "_raised",
        "_reader",
        "_removed",
        "_watching",
        "_writer",
        "handlers",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interrupted: Callable[[], Any],
        removed: Callable[[], Any] | None = None,
    ) -> None:
        self._loop = loop
        self._raised = RaisedByHandlers(loop, interrupted)
        self._removed = removed
        self._reader: _Socket | None = None
        self._writer: _Socket | None = None
        self._watching = False
        self.handlers: HeldHandlers = HeldHandlers(loop)

    def arm(self) -> None:
        """Begin to listen, unless somebody else on this thread does already."""
        self._raised.watch()
        if (
            self._writer is not None
            or sys.platform == "win32"
            or is_uvloop(self._loop)
            or not in_main_thread()
        ):
            return
        self._watch_removals()
        try:
            self._listen()
        except BaseException:
            # A handler has raised, and the loop will begin again.
            self.disarm()
            raise

    def _watch_removals(self) -> None:
        loop: Any = self._loop
        # To ask for its `__dict__` would make one, and all its attributes slower.
        if self._watching or not type(loop).__dictoffset__:
            return
        remove = loop.remove_signal_handler

        @functools.wraps(remove)
        def remove_signal_handler(sig: int) -> bool:
            removed: bool = remove(sig)
            if self._watching and removed and not loop.is_closed():
                self._listen()
                if self._removed is not None:
                    self._removed()
            return removed

        loop.remove_signal_handler = remove_signal_handler
        self._watching = True

    def _listen(self) -> None:
        if self._writer is not None:
            current = signal.set_wakeup_fd(
                self._writer.fileno(), warn_on_full_buffer=False
            )
            if current not in (-1, self._writer.fileno()):
                signal.set_wakeup_fd(current)
            return
        reader, writer = socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        # Kept before it is set: a handler may raise in between.
        self._reader, self._writer = reader, writer
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        if (
            previous != -1
            and all(previous != end.fileno() for _, end in _found)
            and _set(previous)
        ):
            self._reader = self._writer = None
            reader.close()
            writer.close()
            return
        # Nobody listens, so nobody will put those back any more.
        while _found:
            for end in _found.pop():
                end.close()
        self._loop.add_reader(reader.fileno(), self._read)

    def _read(self) -> None:
        assert self._reader is not None
        try:
            self._reader.recv(4096)
        except (BlockingIOError, InterruptedError):
            pass

    def descriptors(self) -> list[int]:
        """What of it the loop reads."""
        return [] if self._reader is None else [self._reader.fileno()]

    def disarm(self) -> None:
        """Stop listening and leave the wake-up descriptor as it was found."""
        self._raised.unwatch()
        if self._watching:
            self._watching = False
            # As above: not by its `__dict__`.
            with contextlib.suppress(AttributeError):
                del self._loop.remove_signal_handler
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            return
        self._reader = self._writer = None
        if not self._loop.is_closed():
            self._loop.remove_reader(reader.fileno())
        if not in_main_thread():
            # Only that one can unset it. Its next loop finds it.
            _found.append((reader, writer))
            return
        ours = writer.fileno()
        current = signal.set_wakeup_fd(-1)
        if current not in (-1, ours) and self._put_back(current):
            _found.append((reader, writer))
            return
        reader.close()
        writer.close()

    def _put_back(self, descriptor: int) -> bool:
        """Set somebody else's again; return whether he may put back ours in turn."""
        if not _set(descriptor):
            return False
        # The standard loop's own does not.
        own = getattr(self._loop, "_csock", None)
        return own is None or own.fileno() != descriptor

    close = disarm


def _set(descriptor: int) -> bool:
    """Set the wake-up descriptor, unless it has been closed, with the loop that it was for."""
    try:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    except (OSError, ValueError):
        return False
    return True
