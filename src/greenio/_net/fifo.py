"""Opening a named pipe, which takes until somebody opens its other end.

The system offers no way to wait for that with other things, so a real thread makes the
call. If whoever waits for it is killed or out of time, the thread is let go by opening
the pipe for both reading and writing, which never waits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

from .._greenthread.holding_up import may_hold_up, note_held_up
from .._kernel.current import cannot_wait
from .._kernel.waiters import GreenWaiter, mutex, new_waiter
from .._std.originals import os_close, os_open, start_new_thread

_O_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)


def open_descriptor(
    path: Any, flags: int, mode: int = 0o777, dir_fd: int | None = None
) -> int:
    """Open a file without blocking others; see `os.open`.

    Args:
        path: Its path.
        flags: As for `os.open`.
        mode: As for `os.open`.
        dir_fd: As for `os.open`.

    Returns:
        The descriptor.

    Raises:
        OSError: It cannot be opened.
    """

    def opened() -> int:
        return os_open(path, flags, mode, dir_fd=dir_fd)

    if not flags & (os.O_RDWR | _O_NONBLOCK) and is_fifo(path, dir_fd):
        what = "opening a named pipe"
        if cannot_wait() and may_hold_up():
            note_held_up(what)
            return opened()
        waiter = new_waiter(what)
        if isinstance(waiter, GreenWaiter):
            return _Opening(waiter, opened).wait(path, dir_fd)
    return opened()


def is_fifo(path: Any, dir_fd: int | None = None) -> bool:
    """Whether a path is a named pipe's."""
    try:
        return stat.S_ISFIFO(os.stat(path, dir_fd=dir_fd).st_mode)
    except (OSError, ValueError, TypeError):
        # Whoever opens it gets the error.
        return False


class _Opening:
    """One call of `os.open` in a thread of its own."""

    def __init__(self, waiter: GreenWaiter, call: Callable[[], int]) -> None:
        self._waiter = waiter
        self._call = call
        self._fd = -1
        # Keeps both ends open until the call has returned, if nobody waits for it.
        self._both_ends = -1
        self._error: OSError | None = None

    def wait(self, path: Any, dir_fd: int | None) -> int:
        start_new_thread(self._run, ())
        try:
            self._waiter.block()
        except BaseException:
            both_ends = os_open(path, os.O_RDWR | _O_NONBLOCK, dir_fd=dir_fd)
            with mutex:
                ended = self._waiter.done
                self._waiter.done = True
                self._both_ends = both_ends
            if ended:
                self._drop()
            raise
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._fd

    def _run(self) -> None:
        try:
            self._fd = self._call()
        except OSError as exc:
            self._error = exc
        with mutex:
            wanted = not self._waiter.done
            if wanted:
                wanted = self._waiter.wake()
        if not wanted:
            self._drop()

    def _drop(self) -> None:
        for fd in (self._fd, self._both_ends):
            if fd >= 0:
                os_close(fd)
