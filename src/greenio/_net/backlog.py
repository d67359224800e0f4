"""Connecting to a server of the same process without overrunning its backlog.

Where clients and server are OS threads, the server accepts while the clients connect.
Green clients all connect in one turn of the loop, before the server's green thread has
its turn; what exceeds the backlog the kernel drops, and sends again a second later. So a
client lets the loop go round while as many connections wait as the backlog holds.
"""

from __future__ import annotations

from typing import Any

from .._greenthread.sleeping import sleep

# How many turns of the loop a client waits in which nobody accepts: it may be another
# process that does, which is not seen here.
_TURNS = 10
_OWN_HOSTS = ("127.", "::1", "::ffff:127.")


class Backlog:
    """The connections to one port of this process that have not been accepted."""

    __slots__ = ("_accepted", "_host", "_size", "waiting")

    def __init__(self, host: str, size: int) -> None:
        self._host = host
        self._size = max(1, size)
        self.waiting = 0
        self._accepted = 0

    def serves(self, host: object) -> bool:
        """Whether connections to this host come here, as far as one can see."""
        return host == self._host or str(host).startswith(_OWN_HOSTS)

    def let_accept(self) -> None:
        """Give the server the time to accept, if its backlog is full."""
        turns = 0
        while self.waiting >= self._size:
            accepted = self._accepted
            sleep(0)
            turns = turns + 1 if self._accepted == accepted else 0
            if turns == _TURNS:
                self.waiting = 0

    def accepted(self) -> None:
        """The server has taken a connection."""
        self._accepted += 1
        if self.waiting:
            self.waiting -= 1


# By port. A few numbers each, so those of sockets that are closed may stay.
_backlogs: dict[int, Backlog] = {}


def note_listening(address: Any, size: int) -> Backlog | None:
    """Remember that a green socket of this process listens.

    Returns:
        Where to count its connections; None if that needs no counting.
    """
    if not isinstance(address, tuple):
        return None
    host, port, *_ = address
    backlog = _backlogs[port] = Backlog(host, size)
    return backlog


def backlog_for(address: Any) -> Backlog | None:
    """Return the backlog that a connection to an address would go to."""
    if not _backlogs or not isinstance(address, tuple) or len(address) < 2:
        # What is wrong with it, the system call says.
        return None
    host, port, *_ = address
    backlog = _backlogs.get(port)
    return backlog if backlog is not None and backlog.serves(host) else None
