"""Waiting for a descriptor where nothing else can run meanwhile: with the whole OS thread."""

from __future__ import annotations

import math

from .._std.errors import IOClosed
from .._std.originals import POLLIN, POLLNVAL, POLLOUT, poll, select_select

READ = "read"
WRITE = "write"

# poll() takes milliseconds as a C int.
_LONGEST_POLL = 2**31 - 1


def block_natively(fd: int, event: str, timeout: float | None) -> bool:
    """Block this OS thread until a descriptor is ready.

    Returns:
        False if the time was up first.

    Raises:
        IOClosed: The descriptor is closed.
    """
    if poll is None:  # pragma: no cover - Windows
        readers, writers = ([fd], []) if event == READ else ([], [fd])
        return any(select_select(readers, writers, [fd], timeout))
    poller = poll()
    poller.register(fd, POLLIN if event == READ else POLLOUT)
    if timeout is None or timeout == math.inf:
        milliseconds = None
    else:
        milliseconds = min(math.ceil(timeout * 1000), _LONGEST_POLL)
    events = poller.poll(milliseconds)
    if events and events[0][1] & POLLNVAL:
        raise IOClosed
    return bool(events)
