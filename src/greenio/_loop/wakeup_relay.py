"""The wake-up descriptor of a program's own, while uvloop has its place.

A program may have set one (`signal.set_wakeup_fd`) and wait until it can be read: the server
process of `multiprocessing` that forks the others does, to know which of them have ended.
There is one such descriptor per process, and uvloop takes it for as long as it runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from .._std.originals import os_write, socketpair


class WakeupRelay:
    """Gets what is written for each signal, and writes it for both.

    Args:
        loop: A loop of uvloop's, which is about to run in the main thread.
        descriptor: The program's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self._loop = loop
        self._reader, self._writer = socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._targets = [descriptor]
        # uvloop sets its own when it begins to run.
        self._start: asyncio.Handle | None = loop.call_soon(self._listen)

    def _listen(self) -> None:
        self._start = None
        uvloops = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._targets.append(uvloops)
        self._loop.add_reader(self._reader.fileno(), self._pass_on)

    def _pass_on(self) -> None:
        try:
            numbers = self._reader.recv(4096)
        except BlockingIOError:
            return
        for target in self._targets:
            # One that is full has been written to, and one that is closed is not read.
            with suppress(OSError):
                os_write(target, numbers)

    def close(self) -> None:
        """Stop, when the loop has stopped and uvloop has given up its place."""
        if self._start is not None:
            self._start.cancel()
        elif not self._loop.is_closed():
            self._loop.remove_reader(self._reader.fileno())
            # What has come since, or with a signal whose handler has ended the run.
            self._pass_on()
        self._reader.close()
        self._writer.close()


def is_usable(descriptor: int) -> bool:
    """Whether a descriptor is still one that Python would write to."""
    try:
        return not os.get_blocking(descriptor)
    except OSError:
        return False
