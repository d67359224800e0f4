"""A server under test, and a client that speaks in raw bytes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import greenio
from greenio import wsgi

# A request, and one that is its connection's last.
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class GreenPath(wsgi.HttpProtocol):
    """Changes nothing of how requests are read: a green thread per connection."""

    def __init__(self, *args: Any) -> None:
        # Of its own, so that the connection has to be served within it.
        super().__init__(*args)


class RestingPath(wsgi.HttpProtocol):
    """Overrides a parsing method, and leaves it to the loop to wait for requests."""

    def get_environ(self) -> dict[str, Any]:
        environ = super().get_environ()
        environ["test.path"] = "classic"
        return environ


class ClassicPath(RestingPath, GreenPath):
    """Overrides a parsing method, in a green thread per connection."""


# How a connection is served: read by the loop, by a green thread, or by the methods of
# the protocol, without a green thread between requests or in one.
PATHS: dict[str, dict[str, Any]] = {
    "loop": {},
    "green": {"protocol": GreenPath},
    "resting": {"protocol": RestingPath},
    "classic": {"protocol": ClassicPath},
}


class Lines:
    """A log."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Site:
    """A server that runs, what its application has seen, and its log."""

    def __init__(self, app: Any, sock: Any, keywords: dict[str, Any]) -> None:
        self.seen: list[str] = []
        self.log = Lines()
        self.app = app
        self.address = sock.getsockname()
        self.family = sock.family
        keywords.setdefault("log", self.log)
        self.thread = greenio.spawn(wsgi.server, sock, self._call, **keywords)

    def _call(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return self.app(environ, start_response)

    def connect(self) -> Any:
        sock = greenio.connect(self.address, self.family)
        sock.settimeout(20)
        return sock

    def ask(self, raw: bytes) -> Answers:
        """Send bytes, and read until the server ends the connection."""
        with contextlib.closing(self.connect()) as sock:
            sock.sendall(raw)
            return Answers(read_all(sock))


class Answers:
    """What a server sent on a connection that it has ended."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.statuses = [
            int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n", raw)
        ]
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.headers = {
            name.lower(): value
            for name, value in re.findall(
                r"([^:\r\n]+): ([^\r\n]*)", head.decode("latin-1")
            )
        }


def read_all(sock: Any) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_answer(sock: Any) -> tuple[int, dict[str, str], bytes]:
    """Read one answer of a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    answer = Answers(head + b"\r\n\r\n")
    length = int(answer.headers.get("content-length", 0))
    while len(body) < length:
        piece = sock.recv(length - len(body))
        assert piece, body
        body += piece
    assert len(body) == length
    return answer.statuses[0], answer.headers, body


@contextlib.contextmanager
def serving(app: Any, sock: Any = None, **keywords: Any) -> Iterator[Site]:
    """Run a server for a while; it must end by itself when it is killed."""
    if sock is None:
        sock = greenio.listen(("127.0.0.1", 0), backlog=1024)
    site = Site(app, sock, keywords)
    try:
        yield site
    finally:
        site.thread.kill()
        with contextlib.suppress(greenio.greenlet.GreenletExit):
            site.thread.wait()


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [body]
