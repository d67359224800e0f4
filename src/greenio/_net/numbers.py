"""Which green sockets have told somebody the number of their descriptor.

A child process gets descriptors by number, and whoever passes one on has asked for it. So
this finds the sockets that a child will have, and costs nothing to all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import ref

from .._std.originals import os_fstat, raw_socket

_raw_fileno = raw_socket.fileno

# By descriptor: the socket, and which open file it was then. Several sockets may share
# one; some may be closed by now.
_Told = tuple[ref[Any], int | None]
_told: dict[int, tuple[_Told, ...]] = {}


def note_number(fd: int, sock: Any) -> None:
    """Find a socket by its number from now on, without keeping it.

    Args:
        fd: The number.
        sock: The socket.
    """
    told = _told.get(fd, ())
    reference = ref(sock)
    if not any(reference == known for known, _ in told):
        inode = _inode(fd)
        _told[fd] = (*(one for one in told if _is(one, fd, inode)), (reference, inode))


def sockets_with(fd: int) -> Iterator[Any]:
    """Return the green sockets that have told somebody this number of an open file.

    Args:
        fd: The number.
    """
    inode = _inode(fd)
    for one in _told.get(fd, ()):
        if _is(one, fd, inode):
            yield one[0]()


def _inode(fd: int) -> int | None:
    try:
        return os_fstat(fd).st_ino
    except OSError:
        # It has been closed behind its socket's back.
        return None


def _is(one: _Told, fd: int, inode: int | None) -> bool:
    # Whoever closes a descriptor behind a socket's back leaves it a number that is
    # somebody else's next.
    reference, noted = one
    sock = reference()
    return noted == inode and sock is not None and _raw_fileno(sock) == fd
