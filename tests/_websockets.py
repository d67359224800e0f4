"""What the tests of WebSocket share: a small server, and peers that speak in bytes."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import greenio
from _fresh import PATIENCE
from greenio._net.socket import GreenSocket

KEY = base64.b64encode(bytes(range(16))).decode()
HANDSHAKE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
MASK = b"\x37\xfa\x21\x3d"
# For clients of websockets, whose own ten seconds may be too few on a busy machine.
PATIENT = {"open_timeout": PATIENCE, "close_timeout": PATIENCE}


class _Input:
    """Lends the socket, as greenio's and eventlet's WSGI servers do."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.taken = False

    def get_socket(self) -> Any:
        self.taken = True
        return self._sock


class Server:
    """Serves a WSGI application, one request per connection."""

    def __init__(self, app: Callable[..., Any], family: int = socket.AF_INET) -> None:
        self.app = app
        self.errors: list[BaseException] = []
        self.listener = GreenSocket(family)
        if family == socket.AF_INET:
            self.listener.bind(("127.0.0.1", 0))
        else:
            self.listener.bind("")
        self.listener.listen(128)
        self.address = self.listener.getsockname()
        self.handlers: list[greenio.GreenThread] = []
        self._accepting = greenio.spawn(self._accept)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.address[1]}/chat"

    def _accept(self) -> None:
        while True:
            sock, _ = self.listener.accept()
            self.handlers.append(greenio.spawn(self._serve, sock))

    def _serve(self, sock: Any) -> None:
        with sock:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            request, *lines = head.decode().rstrip().split("\r\n")
            method, path, protocol = request.split()
            environ: dict[str, Any] = {
                "REQUEST_METHOD": method,
                "PATH_INFO": path,
                "SERVER_PROTOCOL": protocol,
                "REMOTE_ADDR": "127.0.0.1",
                "eventlet.input": _Input(sock),
            }
            for line in lines:
                name, _, value = line.partition(":")
                variable = "HTTP_" + name.strip().upper().replace("-", "_")
                environ[variable] = value.strip()

            def start_response(status: str, headers: list[tuple[str, str]]) -> None:
                answer = [f"HTTP/1.1 {status}", *(f"{n}: {v}" for n, v in headers)]
                sock.sendall(("\r\n".join(answer) + "\r\n\r\n").encode())

            try:
                body = b"".join(self.app(environ, start_response))
                if not environ["eventlet.input"].taken:
                    sock.sendall(body)
            except Exception as error:
                self.errors.append(error)

    def close(self) -> None:
        self._accepting.kill()
        self.listener.close()
        for handler in self.handlers:
            handler.kill()


@contextlib.contextmanager
def serving(app: Callable[..., Any], family: int = socket.AF_INET) -> Iterator[Server]:
    """Serve an application on this machine."""
    server = Server(app, family)
    try:
        yield server
    finally:
        server.close()


def encoded(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    size: int | None = None,
    form: int | None = None,
) -> bytes:
    """Return a frame, right or wrong, written apart from the code under test.

    `size` is the length it claims, `form` (7, 16 or 64) how that is written.
    """
    size = len(payload) if size is None else size
    if form is None:
        form = 7 if size < 126 else 16 if size < 65536 else 64
    masked = 0 if mask is None else 0x80
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if form == 7:
        head += bytes([masked | size])
    elif form == 16:
        head += bytes([masked | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", size)
    if mask is None:
        return head + payload
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def closing(code: int | None = 1000, reason: bytes = b"", **options: Any) -> bytes:
    """Return a close frame."""
    payload = b"" if code is None else struct.pack("!H", code) + reason
    return encoded(8, payload, **options)


class Peer:
    """A client that speaks in bytes, in green code."""

    def __init__(
        self, server: Server, headers: dict[str, str | None] | None = None
    ) -> None:
        self.sock = GreenSocket(server.listener.family)
        self.sock.settimeout(20)
        self.sock.connect(server.address)
        self._buffer = b""
        wanted = {**HANDSHAKE, **(headers or {})}
        lines = [f"{n}: {v}" for n, v in wanted.items() if v is not None]
        request = ["GET /chat HTTP/1.1", *lines]
        self.sock.sendall(("\r\n".join(request) + "\r\n\r\n").encode())
        head = self._until(b"\r\n\r\n").decode().split("\r\n")
        self.status = head[0].split(" ", 1)[1]
        self.headers = dict(line.split(": ", 1) for line in head[1:] if line)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(self._buffer)
        self._buffer += data

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_slowly(self, data: bytes, piece: int = 1) -> None:
        """Send in pieces, each of which the other side may read before the next."""
        for start in range(0, len(data), piece):
            self.sock.sendall(data[start : start + piece])
            greenio.sleep(0)

    def frame(self) -> tuple[int, bytes]:
        """Read a frame: its first byte and what it carries."""
        first, second = self._take(2)
        assert not second & 0x80, "a server masks no frame"
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return first, self._take(size)

    def rest(self) -> list[tuple[int, bytes]]:
        """Read all frames up to the end of the stream."""
        frames = []
        while True:
            try:
                frames.append(self.frame())
            except (EOFError, ConnectionResetError):
                return frames

    def body(self) -> bytes:
        """Read the rest as it is."""
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        return self._buffer

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
