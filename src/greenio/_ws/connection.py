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
from collections.abc import Callable, Mapping
from typing import Any, Final

from .._greenthread.timeout import Timeout
from .._net.constants import SHUT_RDWR, SHUT_WR
from .._sync.event import Event
from .base import ACCEPTABLE_CLIENT_ERRORS as ACCEPTABLE_CLIENT_ERRORS
from .base import DEFAULT_MAX_FRAME_LENGTH, GONE, WebSocket
from .deflate import NAME, SMALLEST, Deflate
from .errors import ProtocolError
from .frames import (
    BINARY,
    CLOSE,
    CLOSE_CODES,
    CONTINUATION,
    PING,
    PONG,
    SHORT_HEADS,
    TEXT,
    close_payload,
    frame,
)
from .messages import Message, UTF8Decoder
from .reader import NO_STATUS, Close, Ping, Pong, Reader

# How long whoever closes first waits for the peer to do so too.
CLOSE_TIMEOUT = 2.0

# What is asked of the socket at once, and at most when a long frame is arriving.
_RECEIVE: Final = 65536
_RECEIVE_MOST: Final = 1 << 18


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
        server_stops: Says whether the end of what comes is the doing of a server that
            stops, and not the peer's; then the peer is told so, by the code 1001.
    """

    Message = Message
    UTF8Decoder = UTF8Decoder

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
        self.extensions: dict[str, Mapping[str, Any]] = dict(extensions or {})
        self.max_frame_length = max_frame_length
        self.close_code: int | None = None
        self.close_reason: str = ""
        self.server_stops: Callable[[], bool] | None = None
        self._deflate: Deflate | None = None
        if NAME in self.extensions:
            self._deflate = Deflate(self.extensions[NAME], client)
        self._reader = Reader(max_frame_length, not client, self._deflate)
        self._events: deque[Any] = deque()
        self.websocket_closed: bool = False
        self._close_sent = False
        self._reading = False
        # Sent when the socket is closed.
        self._over: Event[None] | None = None

    # -- sending -----------------------------------------------------------------------

    def send(
        self,
        message: str | bytes | Any,
        *,
        continuation: bool = False,
        final: bool = True,
        control_code: int | None = None,
        masked: bool | None = None,
    ) -> None:
        """Send a message, waiting while the peer does not read.

        Args:
            message: Text, or bytes of any kind.
            continuation: Whether this goes on with a message that has been begun.
            final: False to begin or go on with a message that others will end. Such
                messages are not compressed.
            control_code: Send a control frame instead: 8 to close, 9 to ping, 10 for a
                pong.
            masked: Nothing; a client masks, and a server does not.

        Raises:
            TypeError: It is neither text nor bytes.
            ProtocolError: There is no such frame.
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
        if continuation or not final or control_code is not None:
            self._send_special(opcode, payload, continuation, final, control_code)
        else:
            self._send_frame(opcode, payload)

    def _send_special(
        self,
        opcode: int,
        payload: Any,
        continuation: bool,
        final: bool,
        control_code: int | None,
    ) -> None:
        """Send a fragment, or a control frame."""
        if control_code is None:
            opcode = CONTINUATION if continuation else opcode
        elif control_code not in (CLOSE, PING, PONG):
            raise ProtocolError(
                f"control_code is 8 (close), 9 (ping) or 10 (pong), not {control_code!r}"
            )
        elif continuation or not final:
            raise ProtocolError("a control frame is not fragmented")
        elif len(payload) > 125:
            raise ProtocolError(
                f"a control frame carries 125 bytes at most, not {len(payload)}"
            )
        else:
            opcode = control_code
        with self._sending:
            if self.websocket_closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self._write(frame(opcode, payload, mask=self.client, fin=final))
            if opcode == CLOSE:
                self.websocket_closed = self._close_sent = True
                self._end_stream()

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
            deflate = self._deflate
            size = len(payload)
            if size < 126 and not self.client and (size < SMALLEST or deflate is None):
                # What `frame` comes to; from here on as in `_write`.
                try:
                    self.socket.sendall(SHORT_HEADS[opcode][size] + payload)
                except BaseException:
                    self.websocket_closed = self._close_sent = True
                    raise
                return
            compressed = False
            if deflate is not None and opcode < CLOSE and size >= SMALLEST:
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
                self._end_stream()
            except OSError as error:
                # There is nobody to tell any more.
                if error.errno not in GONE and not isinstance(error, TimeoutError):
                    raise

    def _end_stream(self) -> None:
        """End this side of the stream; by TLS, too, or it might have been cut off."""
        sock = self.socket
        # A socket with TLS would forget by `shutdown` how the rest is to be read.
        end = getattr(sock, "_end_writing", None)
        if end is None:
            sock.shutdown(SHUT_WR)
        else:
            end()

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
                if self.server_stops is not None and self.server_stops():
                    self._send_close(1001, "")
                self.websocket_closed = self._close_sent = True
                self._close_socket()
                return None
            events.extend(self._reader.receive(data))

    def _receive(self) -> bytes:
        size = _RECEIVE
        if self._reader.left > size:
            size = min(self._reader.left, _RECEIVE_MOST)
        self._reading = True
        try:
            data: bytes = self.socket.recv(size)
        except OSError as error:
            if error.errno in GONE:
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
                    if error.errno not in GONE:
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
