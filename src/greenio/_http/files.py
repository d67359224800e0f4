"""`rfile` and `wfile` of a protocol that reads requests by itself.

They are a connection's two sides as files, as `socket.makefile` has them: with all that
`io` promises, each to be closed by itself, and without a buffer of their own. What the
channel has read too far stays in it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import Channel


class ReadingFile(io.BufferedIOBase):
    """What comes from the client.

    Args:
        channel: The connection.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes; less only at the end."""
        self._check()
        return self._channel.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """Read what is there, waiting for some."""
        self._check()
        channel = self._channel
        data = channel.buffer or channel.receive()
        if size < 0:
            size = len(data)
        channel.buffer = data[size:]
        return data[:size]

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read up to and with the next LF, at most so many bytes."""
        self._check()
        return self._channel.readline(-1 if size is None else size)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._channel.sock.fileno()  # type: ignore[no-any-return]

    def take_socket(self) -> Any:
        """Give the socket away, with what was read too far in front."""
        return self._channel.take_socket()

    def set_idle(self) -> None:
        """Let the server end the connection when it stops."""
        self._channel.set_idle()

    @property
    def server(self) -> Any:
        """The connection's server."""
        return self._channel.server

    def _check(self) -> None:
        if self.closed:
            raise ValueError("reading from a connection whose rfile is closed")


class WritingFile(io.BufferedIOBase):
    """What goes to the client, at once.

    Args:
        channel: The connection.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Send all of it."""
        if self.closed:
            raise ValueError("writing to a connection whose wfile is closed")
        return self._channel.write(data)

    def writelines(self, lines: Iterable[Any], /) -> None:
        """Send several pieces as one."""
        self.write(b"".join(lines))

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._channel.sock.fileno()  # type: ignore[no-any-return]
