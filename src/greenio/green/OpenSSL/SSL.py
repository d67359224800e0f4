"""`OpenSSL.SSL` (pyOpenSSL) with connections that park the green thread."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module as _import_module
from typing import Any

from ..._net.socket import GreenSocket as _GreenSocket
from ..._patch.modules import complete as _complete
from ..._reactor.descriptors import READ as _READ
from ..._reactor.descriptors import WRITE as _WRITE
from ..._std.originals import socket_class as _socket_class

# Not by its name, of which type checkers make different things.
_SSL: Any = _import_module("OpenSSL.SSL")
_PlainConnection: Any = _SSL.Connection
_makefile: Any = _socket_class.makefile


class _UnderFile:
    """A connection as its files see it: they tell the end of TLS by no more data."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @property
    def _io_refs(self) -> int:
        return self._connection._io_refs

    @_io_refs.setter
    def _io_refs(self, value: int) -> None:
        self._connection._io_refs = value

    def recv_into(self, buffer: Any) -> int:
        try:
            return self._connection.recv_into(buffer)
        except _SSL.ZeroReturnError:
            return 0


# More than one TLS record, so that nothing is cut; and little enough to be tried again.
_PART = 1 << 16


class Connection(_PlainConnection):
    """A TLS connection over a green socket; without one, over memory, as pyOpenSSL's.

    Time limits are those of the socket: `settimeout` is its.

    Args:
        ctx: The `Context`.
        sock: The socket; one that is not green is given up for a green one.
    """

    def __init__(self, ctx: Any, sock: Any = None) -> None:
        if sock is not None and not isinstance(sock, _GreenSocket):
            sock = _GreenSocket(sock)
        self._io_refs = 0
        self._closed = False
        super().__init__(ctx, sock)

    def _wait(self, call: Callable[..., Any], *args: Any) -> Any:
        """Make a TLS call, as often as it takes; the time limit is for the whole."""
        sock = self._socket
        deadline = None if sock is None else sock._deadline()
        while True:
            try:
                return call(self, *args)
            except _SSL.WantReadError:
                event = _READ
                if sock is None or not sock.getblocking():
                    raise
            except _SSL.WantWriteError:
                event = _WRITE
                if sock is None or not sock.getblocking():
                    raise
            sock._wait(event, sock._remaining(deadline))

    def do_handshake(self) -> None:
        """Shake hands with the peer."""
        self._wait(_PlainConnection.do_handshake)

    def recv(self, size: int, flags: int | None = None) -> bytes:
        """Receive up to `size` bytes.

        Raises:
            ZeroReturnError: The peer has ended TLS.
        """
        data: bytes = self._wait(_PlainConnection.recv, size, flags)
        return data

    read = recv

    def recv_into(
        self, buffer: Any, nbytes: int | None = None, flags: int | None = None
    ) -> int:
        """Receive into a buffer.

        Raises:
            ZeroReturnError: The peer has ended TLS.
        """
        count: int = self._wait(_PlainConnection.recv_into, buffer, nbytes, flags)
        return count

    def send(self, data: Any, flags: int = 0) -> int:
        """Send some of the data; the result is how many bytes went."""
        sent: int = self._wait(_PlainConnection.send, data, flags)
        return sent

    write = send

    def sendall(self, data: Any, flags: int = 0) -> int:
        """Send all of the data."""
        with memoryview(data) as view, view.cast("B") as octets:
            size = len(octets)
            sent = 0
            while sent < size:
                sent += self.send(bytes(octets[sent : sent + _PART]), flags)
        return sent

    def shutdown(self) -> bool:
        """End TLS; True if the peer has done so, too."""
        return bool(self._wait(_PlainConnection.shutdown))

    def accept(self) -> tuple[Connection, Any]:
        """Wait for a connection; it shakes hands when it is first used."""
        sock, address = self._socket.accept()
        connection = type(self)(self._context, sock)
        connection.set_accept_state()
        return connection, address

    def dup(self) -> Connection:
        """Return a connection on a duplicate of the descriptor, without TLS so far."""
        return type(self)(self._context, self._socket.dup())

    def makefile(self, mode: str = "r", bufsize: int | None = -1) -> Any:
        """Return a file for the connection, as `socket.makefile`."""
        buffering = None if bufsize is None or bufsize < 0 else bufsize
        return _makefile(_UnderFile(self), mode, buffering)

    def _decref_socketios(self) -> None:
        self._io_refs -= 1
        if self._closed:
            self.close()

    def close(self) -> None:
        """Close the socket, once the files of `makefile` are closed."""
        self._closed = True
        if self._io_refs <= 0:
            self._socket.close()


GreenConnection = ConnectionType = Connection

_complete(globals(), "OpenSSL.SSL")
