"""What must hold for any bytes: targets for fuzzing, and for hypothesis.

Each takes bytes and raises AssertionError if the readers of heads, chunks or frames say
something about them that they must not. `fuzz/run.py` has a fuzzer look for such bytes;
`test_wsgi_fuzz` and `test_websocket_reader` try their own.
"""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from typing import Any

import h11
import httptools

from greenio._http.chunks import ChunkReader
from greenio._http.connection import Channel
from greenio._http.errors import ChunkReadError, RequestError
from greenio._http.head import HeadParser
from greenio._http.protocol import HttpProtocol
from greenio._ws.deflate import Deflate
from greenio._ws.reader import Close, Ping, Pong, Reader


class Pieces:
    """A socket from which bytes come in given pieces."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        self.pieces = cut(data, cuts)

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def sendall(self, data: bytes) -> None:
        pass


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


class FakeServer:
    now = 0.0
    url_length_limit = 8192
    debug = False
    header_defaults: dict[str, Any] = {}

    def log_refused(self, channel: Any, error: Any) -> None:
        pass


def channel(data: bytes, cuts: list[int]) -> Channel:
    return Channel(FakeServer(), Pieces(data, cuts), None)  # type: ignore[arg-type]


# -- heads -------------------------------------------------------------------------------


class Head(SimpleNamespace):
    """What was understood of a head: the environment, the body's length, the rest."""

    environ: dict[str, Any]
    length: int
    rest: bytes


def read_head(data: bytes, cuts: list[int]) -> Head | str:
    """What a head says, or why it is refused."""
    one = channel(data, cuts)
    environ: dict[str, Any] = {}
    parser = HeadParser()
    try:
        while piece := one.sock.recv(65536):
            before = one.buffer
            head = one.split_head(before + piece, len(before), piece)
            if head is not None:
                parser.parse(head, environ, 8192)
                rest = one.buffer + b"".join(one.sock.pieces)
                return Head(environ=environ, length=parser.length, rest=rest)
    except RequestError as exc:
        return exc.status[:3]
    return "incomplete"


class _Classic(HttpProtocol):
    """Reads one head, as protocols that override a method of it do."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        self.server = FakeServer()
        self.channel = channel(data, cuts)
        self.client_address = ("test", 1)
        self.request = self.channel.sock
        self.setup()
        self.raw_requestline = self._read_request_line()
        self.good = bool(self.raw_requestline) and self._read_head()

    def send_error(self, code: int, *_: Any) -> None:
        raise RequestError(str(int(code)))

    def _refuse(self, error: RequestError) -> None:
        raise error


def read_classic_head(data: bytes, cuts: list[int]) -> Head | str:
    """The same, as the classic path reads it."""
    try:
        one = _Classic(data, cuts)
        if not one.good:
            return "incomplete"
    except (RequestError, OSError) as exc:
        return str(exc)[:3] or "refused"
    headers = one.headers
    coded = headers.get("transfer-encoding") is not None
    length = -1 if coded else int(headers.get("content-length") or 0)
    pieces = one.channel.sock.pieces
    environ = {
        "REQUEST_METHOD": one.command,
        "headers_raw": tuple(headers.items()),
    }
    return Head(
        environ=environ, length=length, rest=one.channel.buffer + b"".join(pieces)
    )


def _h11_head(data: bytes) -> tuple[Any, int]:
    """The request as h11 reads it, and the length of its body."""
    other = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    # It knows nothing of the empty line that RFC 9112 (2.2) allows.
    other.receive_data(data.removeprefix(b"\r\n"))
    request = other.next_event()
    assert isinstance(request, h11.Request), request
    fields = dict(request.headers)
    if b"transfer-encoding" in fields:
        return request, -1
    return request, int(fields.get(b"content-length", 0))


class _Llhttp:
    """The request as llhttp reads it, left alone."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.done = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        self.method = parser.get_method()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.done:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.done = True


def _fields(headers: Any) -> list[tuple[str, str]]:
    fields = []
    for name, value in headers:
        name, value = _text(name).lower(), _text(value).strip(" \t")
        # h11 writes codings in small letters.
        fields.append((name, value.lower() if "encoding" in name else value))
    return sorted(fields)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def check_head(data: bytes, cuts: list[int]) -> None:
    """A head means the same in any pieces, on both paths, and to other readers."""
    whole = read_head(data, [])
    pieces = read_head(data, cuts)
    # Refused in any case; with which status, may depend on what is seen first.
    assert whole == pieces or (isinstance(whole, str) and isinstance(pieces, str))
    classic = read_classic_head(data, cuts)
    for found in (whole, classic):
        if isinstance(found, str):
            continue
        request, length = _h11_head(_plain_target(data))
        assert found.length == length
        assert _text(request.method) == found.environ["REQUEST_METHOD"]
        assert _fields(request.headers) == _fields(found.environ["headers_raw"])
    if isinstance(whole, str):
        return
    if not isinstance(classic, str):
        assert (classic.length, classic.rest) == (whole.length, whole.rest)
    head = data[: len(data) - len(whole.rest)].removeprefix(b"\r\n")
    if head.startswith((b"GET ", b"POST ")):
        bare = _Llhttp(_plain_target(head))
        assert _text(bare.method) == whole.environ["REQUEST_METHOD"]
        assert _fields(bare.headers) == _fields(whole.environ["headers_raw"])


def _plain_target(data: bytes) -> bytes:
    """The head with a target that h11 takes: that is not what is compared."""
    data = data.removeprefix(b"\r\n")
    method, _, rest = data.partition(b" ")
    _, _, rest = rest.partition(b" ")
    return method + b" / " + rest


# -- chunks ------------------------------------------------------------------------------


def read_body(data: bytes, cuts: list[int], size: int) -> bytes | None:
    """What a chunked body holds; None if it is none."""
    reader = ChunkReader(channel(data, cuts))
    try:
        return b"".join(iter(lambda: reader.read(size), b""))
    except ChunkReadError:
        return None


def check_chunks(data: bytes, cuts: list[int], size: int) -> None:
    """A chunked body means the same in any pieces, by lines, and to h11."""
    ours = read_body(data, cuts, size)
    assert ours == read_body(data, [], 1000)
    reader = ChunkReader(channel(data, cuts))
    try:
        lines = list(iter(lambda: reader.read_line(size), b""))
    except ChunkReadError:
        assert ours is None
    else:
        assert b"".join(lines) == ours
        assert all(len(line) <= size and b"\n" not in line[:-1] for line in lines)
    if ours is None:
        return
    other = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    other.receive_data(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data
    )
    theirs = b""
    other.next_event()
    try:
        while isinstance(event := other.next_event(), h11.Data):
            theirs += bytes(event.data)
    except h11.RemoteProtocolError:
        # It knows nothing of spaces before extensions, which RFC 9112 (7.1.1) allows.
        if re.search(rb"^[0-9A-Fa-f]+[ \t]+;", data, re.MULTILINE):
            return
        raise
    assert isinstance(event, h11.EndOfMessage), event
    assert theirs == ours


# -- frames ------------------------------------------------------------------------------

LIMIT = 1 << 16


def read_frames(
    pieces: list[bytes], masked: bool = True, deflate: bool = False
) -> tuple[list[Any], Any]:
    """The events that frames are, and the error that ends them."""
    reader = Reader(LIMIT, masked, Deflate({}) if deflate else None)
    events: list[Any] = []
    for piece in pieces:
        events.extend(reader.receive(piece))
        assert len(reader._buffer) <= LIMIT
        assert len(reader._message) <= LIMIT
        assert 0 <= reader.left <= LIMIT
    return events, reader.error and reader.error.code


def check_frames(data: bytes, cuts: list[int], masked: bool, deflate: bool) -> None:
    """Frames mean the same in any pieces, and errors end them in the same place."""
    whole = read_frames([data], masked, deflate)
    if deflate:
        # What is inflated may be refused for one reason or the other.
        pieces = read_frames(cut(data, cuts), masked, deflate)
        assert pieces[0] == whole[0]
        assert (pieces[1] is None) <= (whole[1] is None) or whole[1] is not None
    else:
        events, error = read_frames(cut(data, cuts), masked, deflate)
        assert (events, error) == whole
    for event in whole[0]:
        assert type(event) in {str, bytes, Ping, Pong, Close}
        if type(event) in {str, bytes}:
            assert len(event) <= LIMIT


# -- for a fuzzer ------------------------------------------------------------------------


def _cuts(data: bytes) -> tuple[list[int], bytes]:
    """The first bytes say how the rest is cut."""
    number = data[0] % 5 if data else 0
    return list(data[1 : 1 + number]), data[1 + number :]


def heads(data: bytes) -> None:
    cuts, data = _cuts(data)
    check_head(data, cuts)


def chunks(data: bytes) -> None:
    cuts, data = _cuts(data)
    check_chunks(data, cuts, data[0] % 50 + 1 if data else 1)


def frames(data: bytes) -> None:
    cuts, data = _cuts(data)
    kind = data[0] if data else 0
    check_frames(data[1:], cuts, bool(kind & 1), bool(kind & 2))


TARGETS = {"heads": heads, "chunks": chunks, "frames": frames}

_REQUEST = (
    b"POST /path?query HTTP/1.1\r\nHost: example\r\nX-One: 1\r\n"
    b"Content-Length: 3\r\nX-Two:  two \r\n\r\nabc"
)
SEEDS = {
    "heads": [
        b"\0" + _REQUEST,
        b"\x02\x05\x20" + _REQUEST,
        b"\0\r\nGET http://a:1/b HTTP/1.0\r\nHost: c\r\nConnection: close\r\n\r\n",
        b"\0POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\0GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nUpgrade: x\r\n\r\n",
        b"\0P_ST /r HTTP/1.1\rHo\nt-: e\xc3p \r\n\r\nac",
        b"\0X-Y /\xff HTTP/1.1\r\nHost: a\r\nA_b: c\r\nCookie: d\r\nCookie: e\r\n\r\n",
    ],
    "chunks": [
        b"\x005\r\nhello\r\n3;ext=1\r\na\nc\r\n0\r\nTrailer: 1\r\n\r\n",
        b"\x03\x01\x02\x0a0A ; a\r\n0123456789\r\n00\r\n\r\n",
    ],
    "frames": [
        b"\0\1\x81\x85\1\2\3\4igomn\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8",
        b"\2\3\4\1\1\x82\0\0\0\0ab\x80\xfe\0\x7e\0\0\0\0" + b"c" * 126,
        b"\0\3\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0",
        b"\0\0\x82\x7f\0\0\0\0\0\1\0\0" + b"d" * 300,
    ],
}
