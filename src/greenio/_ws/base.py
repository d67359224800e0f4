"""What all WebSocket connections have, and the drafts from before RFC 6455.

`WebSocket` speaks drafts 75 and 76 (2010), where a message is text between the bytes
``00`` and ``ff``. No browser has spoken them since 2012, so they are spoken only where a
program asks for it: `handshake` does the other half. `RFC6455WebSocket` is one too, and
overrides all that is about bytes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .._net.constants import SHUT_RDWR
from .._sync.semaphore import Semaphore

DEFAULT_MAX_FRAME_LENGTH = 8 << 20

# With these, the peer has gone away without a word.
ACCEPTABLE_CLIENT_ERRORS: Final = {errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN}
GONE: Final = frozenset(
    {*ACCEPTABLE_CLIENT_ERRORS, errno.ECONNABORTED, errno.ENOTCONN, errno.EBADF}
)

_RECEIVE: Final = 65536
_BEGIN: Final = 0x00
_END: Final = 0xFF
_GOODBYE: Final = b"\xff\x00"


class WebSocket:
    """A WebSocket connection.

    Handlers get an `RFC6455WebSocket`; one of this class itself only if the client
    speaks a draft from before it, and the application takes those.

    Args:
        sock: The connection's socket.
        environ: The WSGI environment of the request that it came from.
        version: The protocol version.

    Attributes:
        socket: The socket.
        environ: The WSGI environment.
        path: The path of the request.
        origin: Its ``Origin``, or None.
        protocol: The subprotocol that was agreed to, or None.
        version: The protocol version.
        websocket_closed: Whether the connection is closed, or being closed.
        log_context: Who talks with whom, for logs.
        max_frame_length: How long a message may be that arrives, in bytes.
    """

    def __init__(self, sock: Any, environ: dict[str, Any], version: int = 76) -> None:
        self.socket = sock
        self.environ = environ
        self.version = version
        self.path: str = environ.get("PATH_INFO") or "/"
        self.origin: str | None = environ.get(
            "HTTP_ORIGIN", environ.get("HTTP_SEC_WEBSOCKET_ORIGIN")
        )
        self.protocol: str | None = environ.get(
            "HTTP_SEC_WEBSOCKET_PROTOCOL", environ.get("HTTP_WEBSOCKET_PROTOCOL")
        )
        self.log: Any = environ.get("wsgi.errors")
        self.websocket_closed: bool = False
        self.max_frame_length = DEFAULT_MAX_FRAME_LENGTH
        host = environ.get("HTTP_HOST")
        self.log_context: str = f"server={host}{self.path} client={_client_of(environ)}"
        self._sending = Semaphore()
        self._buf = b""

    def __repr__(self) -> str:
        state = "closed" if self.websocket_closed else "open"
        return f"<{type(self).__name__} {state} {self.log_context} at {id(self):#x}>"

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the messages until the connection is closed."""
        while (message := self.wait()) is not None:
            yield message

    def send(self, message: Any) -> None:
        """Send a message: text. What is no text is sent as what `str` makes of it.

        Raises:
            ValueError: It has a byte in it that no text has.
            BrokenPipeError: The connection is closed.
            OSError: It breaks.
        """
        payload = message if isinstance(message, bytes) else str(message).encode()
        if _END in payload:
            raise ValueError(
                "drafts of WebSocket carry text only, and the byte ff ends it: "
                f"{payload[:40]!r}"
            )
        with self._sending:
            if self.websocket_closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self.socket.sendall(b"\x00%b\xff" % payload)

    def wait(self) -> Any:
        """Wait for a message.

        Returns:
            The message, or None when the connection is closed.

        Raises:
            ValueError: What came is no message, or too long.
            OSError: The connection breaks.
        """
        while not self.websocket_closed:
            message = self._next()
            if message is not None or self.websocket_closed:
                return message
            data = self.socket.recv(_RECEIVE)
            if not data:
                self.websocket_closed = True
            self._buf += data
        return None

    def _next(self) -> str | None:
        """Take a message out of what has come; None if there is none."""
        buffer = self._buf
        if not buffer:
            return None
        if buffer[0] == _END:
            # The byte after it is 00, and then there is nothing more.
            self.close()
            return None
        end = buffer.find(b"\xff")
        size = (len(buffer) if end < 0 else end) - 1
        if buffer[0] != _BEGIN or size > self.max_frame_length:
            self.close()
            raise ValueError(f"this is no message, or too long: {buffer[:40]!r}")
        if end < 0:
            return None
        self._buf = buffer[end + 1 :]
        return buffer[1:end].decode("utf-8", "replace")

    def close(self) -> None:
        """Close the connection; a second time it does nothing."""
        if not self.websocket_closed:
            self.websocket_closed = True
            try:
                if self.version == 76:
                    self.socket.sendall(_GOODBYE)
                self.socket.shutdown(SHUT_RDWR)
            except OSError as error:
                if error.errno not in GONE:
                    raise
            finally:
                self.socket.close()
        self.socket.close()


def _client_of(environ: Mapping[str, Any]) -> str:
    address = environ.get("REMOTE_ADDR", "")
    port = environ.get("REMOTE_PORT")
    return f"{address}:{port}" if port else str(address)
