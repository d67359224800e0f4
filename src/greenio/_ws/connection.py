"""A WebSocket connection on a green socket.

One green thread reads (`wait`), any number write (`send`); pings are answered by whoever
reads. A write that is interrupted in the middle leaves half a frame behind, after which
nothing can be sent any more: the connection counts as closed then.

Closing: who closes first sends a close frame and then only its end of the stream
(`SHUT_WR`), and reads on until the peer's close frame or the end, for `CLOSE_TIMEOUT`
seconds at most. Were the socket closed at once with something unread in it, the system
would reset the connection, and the peer might never see the close frame. While one green
thread is in `wait`, another's `close` leaves the reading to it.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .._greenthread.timeout import Timeout
from .._net.constants import SHUT_RDWR, SHUT_WR
from .._sync.event import Event
from .._sync.semaphore import Semaphore
from .deflate import NAME, SMALLEST, Deflate
from .frames import (
    BINARY,
    CLOSE,
    CLOSE_CODES,
    PING,
    PONG,
    TEXT,
    close_payload,
    frame,
)
from .reader import NO_STATUS, Close, Ping, Pong, Reader

DEFAULT_MAX_FRAME_LENGTH = 8 << 20
# How long whoever closes first waits for the peer to do so too.
CLOSE_TIMEOUT = 2.0

# With these, the peer has gone away without a word.
ACCEPTABLE_CLIENT_ERRORS: Final = {errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN}
_GONE: Final = frozenset(
    {*ACCEPTABLE_CLIENT_ERRORS, errno.ECONNABORTED, errno.ENOTCONN, errno.EBADF}
)

# What is asked of the socket at once, and at most when a long frame is arriving.
_RECEIVE: Final = 65536
_RECEIVE_MOST: Final = 1 << 18


class WebSocket:
    """A WebSocket connection.

    Handlers get an `RFC6455WebSocket`; this is what is common to all protocol versions.

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
    """

    def __init__(self, sock: Any, environ: dict[str, Any], version: int = 13) -> None:
        self.socket = sock
        self.environ = environ
        self.version = version
        self.path: str = environ.get("PATH_INFO") or "/"
        self.origin: str | None = environ.get("HTTP_ORIGIN")
        self.protocol: str | None = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")
        self.log: Any = environ.get("wsgi.errors")
        self.websocket_closed = False
        host = environ.get("HTTP_HOST")
        self.log_context = f"server={host}{self.path} client={_client_of(environ)}"

    def __repr__(self) -> str:
        state = "closed" if self.websocket_closed else "open"
        return f"<{type(self).__name__} {state} {self.log_context} at {id(self):#x}>"

    def send(self, message: Any) -> None:
        """Send a message."""
        raise NotImplementedError("RFC6455WebSocket does this")

    def wait(self) -> Any:
        """Wait for a message."""
        raise NotImplementedError("RFC6455WebSocket does this")

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError("RFC6455WebSocket does this")

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the messages until the connection is closed."""
        while (message := self.wait()) is not None:
            yield message


def _client_of(environ: Mapping[str, Any]) -> str:
    address = environ.get("REMOTE_ADDR", "")
    port = environ.get("REMOTE_PORT")
    return f"{address}:{port}" if port else str(address)


class RFC6455WebSocket(WebSocket):
    """A connection as RFC 6455 has it.

    Args:
        sock: The connection's socket.
        environ: The WSGI environment of the request that it came from.
        version: The protocol version.
        protocol: The subprotocol that was agreed to.
        client: Whether this is the client's end.
        extensions: What was agreed to, by extension; only ``"permessage-deflate"``.
        max_frame_length: How long a message may be that arrives, in bytes, all its
            fragments together, before and after inflating. A longer one closes the
            connection with the code 1009.

    Attributes:
        close_code: What the peer closed with; 1005 if it named nothing, 1006 if it went
            away without, None before that.
        close_reason: What it gave as the reason.
    """

    def __init__(
        self,
        sock: Any,
        environ: dict[str, Any],
        version: int = 13,
        protocol: str | None = None,
        client: bool = False,
        extensions: Mapping[str, Mapping[str, Any]] | None = None,
        max_frame_length: int = DEFAULT_MAX_FRAME_LENGTH,
    ) -> None:
        super().__init__(sock, environ, version)
        self.protocol = protocol
        self.client = client
        self.extensions = dict(extensions or {})
        self.max_frame_length = max_frame_length
        self.close_code: int | None = None
        self.close_reason = ""
        self._deflate: Deflate | None = None
        if NAME in self.extensions:
            self._deflate = Deflate(self.extensions[NAME], client)
        self._reader = Reader(max_frame_length, not client, self._deflate)
        self._events: deque[Any] = deque()
        self._sending = Semaphore()
        self._close_sent = False
        self._reading = False
        # Sent when the socket is closed.
        self._over: Event[None] | None = None

    # -- sending -----------------------------------------------------------------------

    def send(self, message: str | bytes | Any, **kw: Any) -> None:
        """Send a message, waiting while the peer does not read.

        Args:
            message: Text, or bytes of any kind.
            **kw: Nothing; eventlet takes more here.

        Raises:
            TypeError: It is neither.
            BrokenPipeError: The connection is closed.
            OSError: It breaks.
        """
        if isinstance(message, str):
            opcode = TEXT
            payload: Any = message.encode()
        elif isinstance(message, (bytes, bytearray)):
            opcode = BINARY
            payload = message
        elif isinstance(message, memoryview):
            opcode = BINARY
            payload = message.tobytes()
        else:
            raise TypeError(
                "a WebSocket message is a str (text) or bytes (binary), not "
                f"{message!r}; encode it first, for example with json.dumps()"
            )
        self._send_frame(opcode, payload)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping; the peer answers with a pong, which `wait` takes off.

        Args:
            payload: 125 bytes at most.

        Raises:
            ValueError: It is longer.
        """
        if len(payload) > 125:
            raise ValueError(f"a ping carries 125 bytes at most, not {len(payload)}")
        self._send_frame(PING, payload)

    def _send_frame(self, opcode: int, payload: Any) -> None:
        with self._sending:
            if self.websocket_closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            compressed = False
            deflate = self._deflate
            if deflate is not None and opcode < CLOSE and len(payload) >= SMALLEST:
                payload = deflate.compress(payload)
                compressed = True
            self._write(frame(opcode, payload, rsv1=compressed, mask=self.client))

    def _write(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except BaseException:
            # Perhaps a part of it has gone.
            self.websocket_closed = self._close_sent = True
            raise

    def _send_close(self, code: int, reason: str | bytes) -> None:
        """Send a close frame, once, and end this side of the stream."""
        with self._sending:
            if self._close_sent:
                return
            self.websocket_closed = self._close_sent = True
            payload = close_payload(code, reason) if code != NO_STATUS else b""
            try:
                self.socket.sendall(frame(CLOSE, payload, mask=self.client))
                self.socket.shutdown(SHUT_WR)
            except OSError as error:
                # There is nobody to tell any more.
                if error.errno not in _GONE and not isinstance(error, TimeoutError):
                    raise

    # -- receiving ---------------------------------------------------------------------

    def wait(self) -> str | bytes | None:
        """Wait for a message.

        Returns:
            The message: str if it is text, bytes if it is binary; None when the
            connection is closed.

        Raises:
            OSError: It breaks, other than by the peer going away; `TimeoutError` if the
                socket has a time limit.
        """
        events = self._events
        while True:
            while events:
                event = events.popleft()
                if type(event) is str or type(event) is bytes:
                    if not self._close_sent:
                        return event
                elif not self._handle(event):
                    return None
            error = self._reader.error
            if error is not None:
                self._end(error.code, str(error))
                return None
            if self._over is not None and self._over.ready():
                return None
            data = self._receive()
            if not data:
                if self.close_code is None:
                    self.close_code = 1006
                self.websocket_closed = self._close_sent = True
                self._close_socket()
                return None
            events.extend(self._reader.receive(data))

    def _receive(self) -> bytes:
        size = _RECEIVE
        missing = self._reader.missing
        if missing > size:
            size = min(missing, _RECEIVE_MOST)
        self._reading = True
        try:
            data: bytes = self.socket.recv(size)
        except OSError as error:
            if error.errno in _GONE:
                return b""
            raise
        finally:
            self._reading = False
        return data

    def _handle(self, event: Ping | Pong | Close) -> bool:
        """Do what a control frame asks for; whether the connection goes on."""
        if type(event) is Ping:
            if not self._close_sent:
                try:
                    self._send_frame(PONG, event.payload)
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
            return True
        if type(event) is Close:
            self.close_code, self.close_reason = event
            code = event.code if event.code in CLOSE_CODES else NO_STATUS
            self._send_close(code, "")
            self._close_socket()
            return False
        return True

    # -- closing -----------------------------------------------------------------------

    def close(self, close_data: tuple[int, str | bytes] | int | None = None) -> None:
        """Close the connection; a second time it does nothing.

        It waits until the peer has closed it too, `CLOSE_TIMEOUT` seconds at most.

        Args:
            close_data: A code, or a pair of code and reason.

        Raises:
            ValueError: The code is none that may be sent.
        """
        code, reason = _close_data(close_data)
        if self._close_sent and self._over is None:
            self._close_socket()
        self._end(code, reason)

    def _end(self, code: int, reason: str | bytes) -> None:
        over = self._over
        if over is not None:
            if self._reading:
                over.wait(CLOSE_TIMEOUT)
            return
        over = self._over = Event()
        try:
            with Timeout(CLOSE_TIMEOUT, False):
                self._send_close(code, reason)
                self._read_to_the_end(over)
        finally:
            self._close_socket()

    def _read_to_the_end(self, over: Event[None]) -> None:
        if self._reading:
            # Somebody is in `wait`, and will come to it.
            over.wait()
            return
        if self._reader.closed:
            # Whatever comes is not to be understood; it has to be taken off all the same.
            while self._receive():
                pass
            return
        while self.wait() is not None:
            pass

    def _close_socket(self) -> None:
        over = self._over
        if over is None:
            over = self._over = Event()
        if over.ready():
            return
        over.send()
        try:
            self.socket.shutdown(SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def _close_data(data: Any) -> tuple[int, str | bytes]:
    if data is None:
        return NO_STATUS, ""
    code, reason = (data, "") if isinstance(data, int) else data
    if code not in CLOSE_CODES:
        raise ValueError(
            f"{code!r} is no code to close a WebSocket with; use 1000 (normal), 1001 "
            "(going away) or another of RFC 6455, or 3000 to 4999 for your own"
        )
    return code, reason or ""
