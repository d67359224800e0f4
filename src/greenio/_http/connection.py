"""A connection: its bytes, its phase, its end; and a green thread that serves all of it.

A `Channel` is the reading side of a connection for whoever needs it: heads, bodies
(`read` and `readline`, as a file), the socket itself when the application takes it. It
says in `phase` what it waits for and in `since` from when on, and the server's sweep,
once a second, ends those that take too long: so no read sets a timer, and a limit on
time costs a request two assignments.

A connection that the server ends while the client may still be sending is not simply
closed: the system would then reset it, and the client might lose the answer. It is shut
for writing, and what comes is read and dropped for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._net.borrowed import kind_of, look_at_lender
from .._net.socket import GreenSocket, say_goodbye
from .._std.originals import raw_socket
from . import settings
from .body import Input
from .errors import ClientGoneError, RequestError, bad_request
from .exchange import Exchange
from .head import HeadProbe, find_end, without_empty_line

if TYPE_CHECKING:
    from .server import Server

# What a connection waits for.
IDLE = 0
HEAD = 1
RUNNING = 2
BODY = 3
LINGERING = 4
CLOSED = 5

_SHUT_RD = 0
_SHUT_WR = 1
_SHUT_RDWR = 2
# How many pipelined requests of one connection are served before others have a turn.
_AT_ONCE = 16
# What no method begins with.
_NO_METHOD = frozenset({b"\r", b"\n", b" "})
_LINGER_BYTES = 1024 * 1024
_PEERS_FAULT = (OSError,)

_raw_send = raw_socket.send
_raw_shutdown = raw_socket.shutdown


class Channel:
    """A connection, as the server and its requests see it.

    Args:
        server: The server.
        sock: The socket.
        address: The peer's address.
    """

    __slots__ = (
        "__weakref__",
        "address",
        "buffer",
        "expired",
        "held",
        "local",
        "owed",
        "phase",
        "probe",
        "server",
        "since",
        "sock",
        "taken",
        "worker",
    )

    # Whether the loop waits for its next request, and not the protocol.
    rests = False

    def __init__(self, server: Server, sock: Any, address: Any) -> None:
        self.server: Server = server
        self.sock: Any = sock
        self.address: Any = address
        # What has been read, and not been used.
        self.buffer: bytes = b""
        self.phase: int = HEAD
        self.since: float = server.now
        # The seconds that a body was waited for, less what its bytes were worth.
        self.owed: float = 0.0
        self.expired: bool = False
        self.taken: bool = False
        # Whether the application that took it waits for its client, not the reverse.
        self.held: bool = False
        self.local: str | None = None
        self.probe: HeadProbe | None = None
        # The green thread that serves it now.
        self.worker: Any = None

    @property
    def send(self) -> Any:
        """The function that sends bytes."""
        return self.sock.sendall

    # -- as the file that a body is read from -------------------------------------------

    def receive(self) -> bytes:
        """Wait for more of a body; ``b""`` at the end.

        Raises:
            TimeoutError: Nothing came for too long.
        """
        if self.phase != RUNNING:
            data: bytes = self.sock.recv(settings.RECEIVE)
            if self.phase == IDLE:
                self.phase = HEAD
                self.since = self.server.now
            return data
        self.since = self.server.now
        self.phase = BODY
        try:
            data = self.sock.recv(settings.RECEIVE)
        except ConnectionError as exc:
            if not self.expired:
                raise ClientGoneError(
                    f"the client ended the connection: {exc}"
                ) from exc
            # What it sends after the end is answered by a reset.
            data = b""
        finally:
            if self.phase == BODY:
                self.phase = RUNNING
        if not data and self.expired:
            raise TimeoutError("the client sent too little of the body for too long")
        waited = self.server.now - self.since
        if waited or self.owed:
            worth = len(data) * self.server.seconds_per_byte
            self.owed = max(0.0, self.owed + waited - worth)
        return data

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes; less only at the end."""
        data = self.buffer
        if size < 0:
            pieces = [data, *iter(self.receive, b"")]
            self.buffer = b""
            return b"".join(pieces)
        if len(data) >= size:
            self.buffer = data[size:]
            return data[:size]
        pieces = [data]
        left = size - len(data)
        self.buffer = b""
        while left > 0:
            data = self.receive()
            if not data:
                break
            pieces.append(data)
            left -= len(data)
        if left < 0:
            self.buffer = data[left:]
            pieces[-1] = data[:left]
        return b"".join(pieces)

    def readline(self, size: int = -1) -> bytes:
        """Read up to and with the next LF, at most so many bytes."""
        data = self.buffer
        searched = 0
        while True:
            end = data.find(b"\n", searched) + 1
            if not end and 0 <= size <= len(data):
                end = size
            if end:
                if 0 <= size < end:
                    end = size
                self.buffer = data[end:]
                return data[:end]
            searched = len(data)
            self.buffer = data
            more = self.receive()
            if not more:
                self.buffer = b""
                return data
            data += more

    def write(self, data: bytes) -> int:
        """Send all of it."""
        self.sock.sendall(data)
        return len(data)

    def flush(self) -> None:
        """Nothing: what is written is sent."""

    def take_socket(self) -> Any:
        """Give the socket to the application, with what was read too far in front."""
        self.taken = True
        early, self.buffer = self.buffer, b""
        if not early:
            return self.sock
        if kind_of(self.sock) is GreenSocket:
            return _EarlySocket(self.sock, early)
        return _EarlyBytes(self.sock, early)

    # -- heads ----------------------------------------------------------------------------

    def split_head(self, data: bytes, searched: int, piece: bytes) -> bytes | None:
        """Take a head out of what has come.

        Args:
            data: What has come.
            searched: How much of it was looked at before.
            piece: What is new.

        Returns:
            The head, and the rest is in the buffer; None if it is not whole, and the
            buffer holds it.

        Raises:
            RequestError: It cannot become one.
        """
        if data[:1] in _NO_METHOD:
            if data == b"\r":
                self.buffer = data
                return None
            if self.probe is not None:
                # There was one before.
                raise bad_request("the request line is empty")
            data = piece = without_empty_line(data)
            searched = 0
            if not data:
                self.probe = HeadProbe()
        end = find_end(data, searched)
        if end:
            self.buffer = data[end:]
            self.probe = None
            return data[:end]
        self.buffer = data
        if data:
            probe = self.probe
            if probe is None:
                probe = self.probe = HeadProbe()
            probe.feed(piece, data, self.server.url_length_limit)
        return None

    def serve_request(self, head: bytes) -> bool:
        """Serve a request.

        Returns:
            Whether another one may follow.

        Raises:
            RequestError: Its head is refused.
        """
        server = self.server
        heads = server.heads or server.start_reading()
        environ, facts = heads.read(head, server.url_length_limit)
        length = facts.length
        if length:
            self.owed = 0.0
            body = Input(self, length if length > 0 else None, self.sock)
            if length < 0:
                body.chunked_input = True
            if facts.expects:
                body.wfile = self
        else:
            body = Input(self, 0, self.sock)
        environ["wsgi.input"] = environ["eventlet.input"] = body
        environ["eventlet.posthooks"] = []
        environ["eventlet.set_idle"] = self.set_idle
        address = self.address
        if type(address) is tuple:
            environ["REMOTE_ADDR"] = address[0]
            environ["REMOTE_PORT"] = str(address[1])
            if server.is_wildcard:
                environ["SERVER_NAME"] = self.local_name()
        else:
            environ["REMOTE_ADDR"] = "unix"
            environ["REMOTE_PORT"] = ""
        exchange = Exchange(server, self, environ, body, facts.http11, facts.keep_alive)
        return exchange.run()

    def local_name(self) -> str:
        """The address that the client connected to, where the server listens on all."""
        name = self.local
        if name is None:
            try:
                name = self.local = self.sock.getsockname()[0]
            except OSError:
                return "localhost"
        return name

    def refuse(self, error: RequestError) -> None:
        """Answer a request that is refused."""
        self.server.log_refused(self, error)
        try:
            self.sock.sendall(refusal(self.server, error))
        except OSError:
            pass

    # -- the end -----------------------------------------------------------------------

    def expire(self) -> None:
        """It took too long; called in the loop greenlet."""
        self.expired = True
        if self.phase == HEAD and self.buffer:
            error = RequestError("408 Request Timeout")
            self._send_now(refusal(self.server, error))
        self.shut()

    def shut(self) -> None:
        """Have whoever reads find the end."""
        say_goodbye(self.sock)
        try:
            _shutdown(self.sock, _SHUT_RDWR)
        except OSError:
            pass

    def cut_short(self) -> None:
        """An answer has broken off; a client by TLS must not take that for its end."""
        if getattr(self.sock, "_sslobj", None) is not None:
            try:
                # Before `say_goodbye`, which can say nothing then.
                _shutdown(self.sock, _SHUT_WR)
            except OSError:
                pass

    def end_idle(self) -> None:
        """The server stops, and this waits for a request: end it, unless one came."""
        try:
            # What has come can still be read, and answered.
            _shutdown(self.sock, _SHUT_RD)
        except OSError:
            pass

    def set_idle(self) -> None:
        """Let the server end this when it stops, though its request runs.

        For an application that has taken the socket, and waits for what comes.
        """
        self.held = True

    def end_held(self) -> None:
        """The server stops: have the application that reads find the end."""
        self.held = False
        try:
            _shutdown(self.sock, _SHUT_RD)
        except OSError:
            pass

    def _send_now(self, data: bytes) -> None:
        if kind_of(self.sock) is GreenSocket:
            try:
                look_at_lender(self.sock)
                _raw_send(self.sock, data)
            except OSError:
                pass

    def linger(self) -> None:
        """Read on for a while, so that the client gets what was sent."""
        say_goodbye(self.sock)
        try:
            _shutdown(self.sock, _SHUT_WR)
            self.phase = LINGERING
            self.since = self.server.now
            left = _LINGER_BYTES
            while left > 0:
                data = self.sock.recv(settings.RECEIVE)
                if not data:
                    break
                left -= len(data)
        except (OSError, ValueError):
            pass


class GreenConnection:
    """Serves a connection in the current green thread."""

    __slots__ = ("channel", "conn_state")

    def __init__(self, channel: Channel, conn_state: list[Any]) -> None:
        self.channel = channel
        self.conn_state = conn_state

    def run(self) -> None:
        """Serve one request after the other, until the end."""
        channel = self.channel
        state = self.conn_state
        served = 0
        try:
            while True:
                head = self._next_head()
                if head is None:
                    return
                if state[2] == settings.STATE_CLOSE:
                    return
                state[2] = settings.STATE_REQUEST
                channel.phase = RUNNING
                if not channel.serve_request(head):
                    break
                if state[2] == settings.STATE_CLOSE:
                    break
                state[2] = settings.STATE_IDLE
                channel.since = channel.server.now
                served += 1
                if served >= _AT_ONCE and channel.buffer:
                    served = 0
                    channel.server.yield_turn()
        except RequestError as error:
            channel.refuse(error)
        except _PEERS_FAULT:
            return
        if not channel.taken:
            channel.linger()

    def _next_head(self) -> bytes | None:
        channel = self.channel
        data = channel.buffer
        first = channel.phase == HEAD and not data
        head = None
        if data:
            channel.phase = HEAD
            head = channel.split_head(data, 0, data)
        elif not first:
            channel.phase = IDLE
        while head is None:
            data = channel.buffer
            piece = channel.sock.recv(settings.RECEIVE)
            if not piece:
                return None
            if channel.phase == IDLE:
                channel.phase = HEAD
                channel.since = channel.server.now
            head = channel.split_head(data + piece, len(data), piece)
        return head


def _shutdown(sock: Any, how: int) -> None:
    """Shut a socket down beneath TLS."""
    look_at_lender(sock)
    _raw_shutdown(sock, how)


def refusal(server: Server, error: RequestError) -> bytes:
    """The answer to a request that is refused."""
    kind, body = server.error_page(error)
    return (
        f"HTTP/1.1 {error.status}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode("latin-1") + body


# -- sockets with bytes in front -------------------------------------------------------


class _EarlySocket(GreenSocket):
    """A connection's socket, from which comes first what was read already."""

    __slots__ = ("_early",)

    def __init__(self, sock: GreenSocket, early: bytes) -> None:
        super().__init__(sock)
        self._early = early

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive up to `bufsize` bytes."""
        early = self._early
        if not early:
            return super().recv(bufsize, flags)
        if not flags:
            self._early = early[bufsize:]
        return early[:bufsize]

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer."""
        early = self._early
        if not early:
            return super().recv_into(buffer, nbytes, flags)
        with memoryview(buffer) as view, view.cast("B") as octets:
            size = min(nbytes or len(octets), len(octets), len(early))
            octets[:size] = early[:size]
        if not flags:
            self._early = early[size:]
        return size


class _EarlyBytes:
    """The same for sockets of other kinds: everything else is the socket's."""

    def __init__(self, sock: Any, early: bytes) -> None:
        self._sock = sock
        self._early = early

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive up to `bufsize` bytes."""
        early = self._early
        if not early:
            return self._sock.recv(bufsize, flags)  # type: ignore[no-any-return]
        self._early = early[bufsize:]
        return early[:bufsize]

    read = recv

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into a buffer."""
        early = self._early
        if not early:
            return self._sock.recv_into(buffer, nbytes, flags)  # type: ignore[no-any-return]
        with memoryview(buffer) as view, view.cast("B") as octets:
            size = min(nbytes or len(octets), len(octets), len(early))
            octets[:size] = early[:size]
        self._early = early[size:]
        return size
