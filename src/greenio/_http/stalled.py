"""Clients that do not read what they asked for.

A green thread that sends waits for as long as its client takes, and there are only so
many that may run at once: a client that never reads would keep one for ever. So the sweep
looks at those that wait to send, and at what the system has of theirs to send. If for
the time that is allowed not a byte of it has gone, the connection is ended. One that is
merely slow is not.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Iterable
from typing import Any

from .connection import RUNNING, Channel

_TIOCOUTQ: int = getattr(termios, "TIOCOUTQ", 0)


class Stalled:
    """Remembers who waits to send, and since when nothing has gone.

    Args:
        limit: Seconds; None for no limit.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._seen: dict[Channel, tuple[int, float]] = {}

    def look(self, channels: Iterable[Channel], now: float) -> list[Channel]:
        """Return those whose time is up."""
        limit = self._limit
        if limit is None:
            return []
        before = self._seen
        seen: dict[Channel, tuple[int, float]] = {}
        late = []
        for channel in channels:
            if channel.phase != RUNNING or channel.taken:
                continue
            writer = getattr(channel.sock, "_writer", None)
            if writer is None or writer.waiter is None:
                continue
            queued = _queued(channel.sock)
            known = before.get(channel)
            if queued < 0:
                continue
            if known is None or known[0] != queued:
                seen[channel] = (queued, now)
            elif now - known[1] > limit:
                late.append(channel)
            else:
                seen[channel] = known
        self._seen = seen
        return late


def _queued(sock: Any) -> int:
    """How many bytes the system has of a socket to send; -1 if it does not say."""
    try:
        (queued,) = struct.unpack("i", fcntl.ioctl(sock, _TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):
        return -1
    return int(queued)
