"""Heads and chunked bodies in any pieces, and against h11's opinion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fuzz import (
    SEEDS,
    TARGETS,
    channel,
    check_chunks,
    check_head,
    cut,
    read_body,
    read_classic_head,
    read_head,
)
from greenio._http.chunks import ChunkReader

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
    whole = read_head(HEAD + b"abcrest", [])
    assert whole.length == 3
    assert whole.rest == b"abcrest"
    assert read_head(HEAD + b"abcrest", cuts) == whole
    assert read_classic_head(HEAD + b"abcrest", cuts).length == 3


@given(changed(HEAD), CUTS)
def test_a_changed_head_means_the_same_to_all(data, cuts):
    """In pieces, on the classic path, to h11 and to llhttp alone."""
    check_head(data + b"abc", cuts)


@pytest.mark.parametrize(
    ("front", "cuts", "good"),
    [
        (b"\r\n", [1], True),
        (b"\r\n", [2], True),
        (b"\r\n", [1, 5], True),
        (b"\r\n", [1, 2, 3, 4], True),
        (b"\r\n\r\n", [], False),
        (b"\r\n\r\n", [2], False),
        (b"\r\n\r\n", [1, 3], False),
        (b"\r\r", [1], False),
        (b"\n", [1], False),
    ],
)
def test_one_empty_line_may_come_first_in_any_pieces(front, cuts, good):
    found = read_head(front + HEAD + b"abc", cuts)
    assert found == (read_head(HEAD + b"abc", []) if good else "400")


@given(st.binary(max_size=300), CUTS)
def test_no_bytes_break_the_reading_of_heads(data, cuts):
    check_head(data, cuts)


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
    check_chunks(data, cuts, size)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_of_a_chunked_body(size):
    reader = ChunkReader(channel(b"4\r\na\nbc\r\n3\r\nd\ne\r\n0\r\n\r\n", [size]))
    assert list(iter(lambda: reader.read_line(100), b"")) == [b"a\n", b"bcd\n", b"e"]


@pytest.mark.parametrize("name", TARGETS)
def test_the_targets_of_the_fuzzer_run(name):
    """See fuzz/run.py."""
    for seed in SEEDS[name]:
        TARGETS[name](seed)
        for end in range(len(seed)):
            TARGETS[name](seed[:end])
    assert cut(b"abc", [1]) == [b"a", b"bc"]
