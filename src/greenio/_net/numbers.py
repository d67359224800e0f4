"""Which green sockets have told somebody the number of their descriptor.

A child process gets descriptors by number, and whoever passes one on has asked for it. So
this finds the sockets that a child will have, and costs nothing to all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import ref

from .._std.originals import raw_socket

_raw_fileno = raw_socket.fileno

# By descriptor. Several sockets may share one; some may be closed by now.
_told: dict[int, tuple[ref[Any], ...]] = {}


def note_number(fd: int, sock: Any) -> None:
    """Find a socket by its number from now on, without keeping it.

    Args:
        fd: The number.
        sock: The socket.
    """
    told = _told.get(fd, ())
    reference = ref(sock)
    if reference not in told:
        _told[fd] = (*(one for one in told if _has(one(), fd)), reference)


def sockets_with(fd: int) -> Iterator[Any]:
    """Return the green sockets that have told somebody this number."""
    for reference in _told.get(fd, ()):
        sock = reference()
        if _has(sock, fd):
            yield sock


def _has(sock: Any, fd: int) -> bool:
    return sock is not None and _raw_fileno(sock) == fd
