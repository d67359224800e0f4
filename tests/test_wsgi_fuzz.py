"""Heads and chunked bodies in any pieces, and against h11's opinion."""

from __future__ import annotations

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenio._http.chunks import ChunkReader
from greenio._http.connection import Channel
from greenio._http.errors import ChunkReadError, RequestError
from greenio._http.head import HeadParser


class Pieces:
    """A socket from which bytes come in given pieces."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        self.pieces = [data[a:b] for a, b in itertools.pairwise(edges)]

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


class FakeServer:
    now = 0.0
    url_length_limit = 8192


def channel(data: bytes, cuts: list[int]) -> Channel:
    return Channel(FakeServer(), Pieces(data, cuts), None)  # type: ignore[arg-type]


def read_head(data: bytes, cuts: list[int]) -> tuple[dict, bytes] | str:
    """The environment and the bytes after the head, or why it is refused."""
    one = channel(data, cuts)
    environ: dict = {}
    try:
        while piece := one.sock.recv(65536):
            before = one.buffer
            head = one.split_head(before + piece, len(before), piece)
            if head is not None:
                HeadParser().parse(head, environ, 8192)
                return environ, one.buffer + b"".join(one.sock.pieces)
    except RequestError as exc:
        return exc.status[:3]
    return "incomplete"


def read_body(data: bytes, cuts: list[int], size: int) -> bytes | None:
    reader = ChunkReader(channel(data, cuts))
    try:
        return b"".join(iter(lambda: reader.read(size), b""))
    except ChunkReadError:
        return None


HEAD = (
    b"POST /path?query HTTP/1.1\r\nHost: example\r\nX-One: 1\r\n"
    b"Content-Length: 3\r\nX-Two:  two \r\n\r\n"
)
CHUNKS = b"5\r\nhello\r\n3;ext=1\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n"
# What decides where things end, and what looks like it.
SPICE = st.sampled_from(
    [
        *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b","),
        *(b"0", b"a", b"-", b"+", b"_", b"0x", b"\x0b", b"\x85", b"\xff"),
        *(b"Host: b\r\n", b"Content-Length: 4\r\n", b"GET / HTTP/1.1\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n"),
    ]
)
CUTS = st.lists(st.integers(0, 200), max_size=6)


@st.composite
def changed(draw, base):
    """Bytes with a few insertions, deletions and replacements."""
    data = base
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        until = at + draw(st.integers(0, 3))
        data = data[:at] + draw(SPICE | st.just(b"")) + data[until:]
    return data


@given(CUTS)
def test_pieces_make_no_difference_to_a_head(cuts):
    assert read_head(HEAD + b"abcrest", cuts) == read_head(HEAD + b"abcrest", [])


@given(changed(HEAD), CUTS)
def test_pieces_make_no_difference_to_what_is_refused(data, cuts):
    whole, pieces = read_head(data + b"abc", []), read_head(data + b"abc", cuts)
    if isinstance(whole, str) and isinstance(pieces, str):
        # Refused in any case; with which status, may depend on what is seen first.
        return
    assert whole == pieces


@given(changed(HEAD))
def test_a_head_that_is_taken_means_the_same_to_h11(data):
    """h11 reads it with other code; where it refuses, so do we."""
    found = read_head(data, [])
    if isinstance(found, str):
        return
    environ, _ = found
    other = h11.Connection(h11.SERVER)
    # It knows nothing of the empty line that RFC 9112 (2.2) allows.
    other.receive_data(data.removeprefix(b"\r\n"))
    request = other.next_event()
    assert isinstance(request, h11.Request)
    assert request.method.decode() == environ["REQUEST_METHOD"]
    theirs = [
        (name.decode().lower(), value.decode("latin-1"))
        for name, value in request.headers
    ]
    ours = [
        (name.lower(), value.strip(" \t")) for name, value in environ["headers_raw"]
    ]
    assert sorted(theirs) == sorted(ours)


@given(st.binary(max_size=300), CUTS)
def test_no_bytes_break_the_reading_of_heads(data, cuts):
    read_head(data, cuts)


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    CUTS,
    st.integers(1, 50),
    st.sampled_from([b"", b";a=b", b' ; a="b"']),
)
def test_chunks_in_any_pieces(pieces, cuts, size, extension):
    data = b"".join(
        b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces
    )
    assert read_body(data + b"0\r\n\r\n", cuts, size) == b"".join(pieces)


@given(changed(CHUNKS), CUTS, st.integers(1, 50))
def test_a_changed_chunked_body_means_the_same_to_h11(data, cuts, size):
    ours = read_body(data, cuts, size)
    assert ours == read_body(data, [], 1000)
    if ours is None:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data
    )
    theirs = b""
    other.next_event()
    while isinstance(event := other.next_event(), h11.Data):
        theirs += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert theirs == ours


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_of_a_chunked_body(size):
    reader = ChunkReader(channel(b"4\r\na\nbc\r\n3\r\nd\ne\r\n0\r\n\r\n", [size]))
    assert list(iter(lambda: reader.read_line(100), b"")) == [b"a\n", b"bcd\n", b"e"]
