"""Green sockets that a child process has too.

Whether calls block is a property of the open file, which parent and child share. A child
expects a socket that blocks as the parent's seemed to. So the file is made blocking, and
the parent's green socket asks the system each time not to wait for once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from stat import S_ISSOCK
from typing import Any

from .._greenthread.descriptor_waits import block_natively
from .._kernel.hub import Hub
from .._reactor.descriptors import READ, WRITE, Listener
from .._std.originals import os_fstat, os_get_blocking, os_set_blocking, raw_socket
from .borrowed import become, kind_of
from .constants import MSG_DONTWAIT
from .numbers import sockets_with
from .socket import GreenSocket

_raw_accept = raw_socket._accept  # type: ignore[attr-defined]
_raw_fileno = raw_socket.fileno

Call = Callable[..., Any]


class InheritedSocket(GreenSocket):
    """A green socket on a file that blocks, because a child has it too."""

    __slots__ = ()

    def _listener_on(self, hub: Hub, known: Listener | None, event: str) -> Listener:
        listener = super()._listener_on(hub, known, event)
        # uvloop makes what it watches non-blocking.
        os_set_blocking(listener.fd, True)
        return listener

    def _do(self, event: str, flags: int, call: Call, *args: Any) -> Any:
        return super()._do(event, flags, _WITHOUT_WAITING.get(call, call), *args)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive up to `bufsize` bytes; ``b""`` means the peer has shut down."""
        data: bytes = self._do(READ, flags, raw_socket.recv, bufsize, flags)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer; 0 means the peer has shut down."""
        call = raw_socket.recv_into
        count: int = self._do(READ, flags, call, buffer, nbytes, flags)
        return count

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send some of the data; the result is how many bytes went."""
        sent: int = self._do(WRITE, flags, raw_socket.send, data, flags)
        return sent

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of the data."""
        with memoryview(data) as view, view.cast("B") as octets:
            sent = 0
            while sent < len(octets):
                with octets[sent:] as rest:
                    sent += self.send(rest, flags)

    def settimeout(self, value: float | None, /) -> None:
        """Set the limit for each operation; with one, the file does not block."""
        super().settimeout(value)
        self._follow_limit()

    def setblocking(self, flag: bool, /) -> None:
        """Set no time limit (True), or 0 (False)."""
        super().setblocking(flag)
        self._follow_limit()

    def _follow_limit(self) -> None:
        if self._timeout is None:
            os_set_blocking(_raw_fileno(self), True)
        else:
            become(self, GreenSocket)


def _without_waiting(call: Call, position: int) -> Call:
    def quick(self: GreenSocket, *args: Any) -> Any:
        *before, flags = args[: position + 1]
        return call(self, *before, flags | MSG_DONTWAIT, *args[position + 1 :])

    return quick


def _sendto(self: GreenSocket, data: Any, *args: Any) -> int:
    *flags, address = args
    return raw_socket.sendto(self, data, sum(flags) | MSG_DONTWAIT, address)


def _accept(self: GreenSocket) -> Any:
    if not block_natively(_raw_fileno(self), READ, 0):
        raise BlockingIOError
    return _raw_accept(self)


_WITHOUT_WAITING: dict[Call, Call] = {
    _raw_accept: _accept,
    raw_socket.sendto: _sendto,
    **{
        getattr(raw_socket, name): _without_waiting(getattr(raw_socket, name), position)
        for name, position in (
            ("recv", 1),
            ("send", 1),
            ("recvfrom", 1),
            ("recv_into", 2),
            ("recvfrom_into", 2),
            ("recvmsg", 2),
            ("recvmsg_into", 2),
            ("sendmsg", 2),
        )
        if hasattr(raw_socket, name)
    },
}


def _blocks(fd: int) -> bool:
    try:
        return os_get_blocking(fd)
    except OSError:
        # It is not open; whoever starts the child is told.
        return True


def share_with_children(descriptors: Iterable[int]) -> None:
    """Make the green sockets among some descriptors block for the child that gets them.

    Those with a time limit do not block without greenio either.
    """
    for fd in {fd for fd in descriptors if fd >= 0 and not _blocks(fd)}:
        for sock in tuple(sockets_with(fd)) or _found_among_all(fd):
            if kind_of(sock) is GreenSocket and sock._timeout is None:
                become(sock, InheritedSocket)
                sock._drains = False
                os_set_blocking(fd, True)


def _found_among_all(fd: int) -> list[GreenSocket]:
    """Find the sockets whose number was known without their telling."""
    if not S_ISSOCK(os_fstat(fd).st_mode):
        return []
    # Nobody keeps a list of all sockets; that would cost each of them.
    return [
        candidate
        for candidate in gc.get_objects()
        if issubclass(type(candidate), GreenSocket) and _raw_fileno(candidate) == fd
    ]
