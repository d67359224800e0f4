"""From bytes to messages, without sockets: any pieces, any bytes, and in step with
websockets' own reader."""

from __future__ import annotations

import itertools
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _websockets import closing, encoded
from greenio._ws import frames
from greenio._ws.deflate import Deflate
from greenio._ws.frames import apply_mask, mask_by_numbers
from greenio._ws.reader import Close, Ping, Pong, Reader

LIMIT = 1 << 20


def read(pieces, **options):
    reader = Reader(LIMIT, **options)
    events = []
    for piece in pieces:
        events.extend(reader.receive(piece))
    return events, reader.error and (reader.error.code, str(reader.error))


@st.composite
def messages(draw):
    """Frames of a well-behaved client, and the events that they are."""
    data, events = b"", []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["text", "binary", "ping", "pong"]))
        payload = draw(st.text() if kind == "text" else st.binary(max_size=125))
        raw = payload.encode() if kind == "text" else payload
        if kind in {"ping", "pong"}:
            data += encoded(9 if kind == "ping" else 10, raw)
            events.append((Ping if kind == "ping" else Pong)(raw))
            continue
        cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=3)))
        edges = [0, *cuts, len(raw)]
        opcode = 1 if kind == "text" else 2
        for number, (start, stop) in enumerate(itertools.pairwise(edges)):
            data += encoded(
                0 if number else opcode,
                raw[start:stop],
                fin=number == len(edges) - 2,
                mask=draw(st.binary(min_size=4, max_size=4)),
            )
        events.append(payload)
    return data, events


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


@given(messages(), st.lists(st.integers(0, 1 << 16), max_size=30))
def test_pieces_make_no_difference(message, places):
    data, events = message
    data += closing(1000, b"bye")
    wanted = [*events, Close(1000, "bye")]
    assert read([data]) == (wanted, None)
    assert read(cut(data, places)) == (wanted, None)
    assert read([bytes([byte]) for byte in data]) == (wanted, None)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=20))
def test_any_bytes_end_alike_in_any_pieces(data, places):
    whole = read([data])
    assert read(cut(data, places)) == whole
    for event in whole[0]:
        assert type(event) in {str, bytes, Ping, Pong, Close}


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=140)), max_size=6))
def test_refuses_what_websockets_refuses(parts):
    """The same messages, and an error in the same place, of the same kind."""
    protocol = pytest.importorskip("websockets.protocol")
    data = b"".join(
        encoded(first & 0xF, payload, fin=bool(first & 0x80), rsv=first >> 4 & 7)
        for first, payload in parts
    )
    events, error = read([data])
    theirs = protocol.Protocol(protocol.SERVER, max_size=LIMIT)
    theirs.receive_data(data)
    frames_seen = [
        frame for frame in theirs.events_received() if frame.opcode in {0, 1, 2, 9, 10}
    ]
    pings = [frame.data for frame in frames_seen if frame.opcode == 9]
    assert pings == [event.payload for event in events if isinstance(event, Ping)]
    if isinstance(events[-1] if events else None, Close) and error is None:
        # websockets 13 wants a message finished before Close; the RFC and later ones don't.
        refused = str(theirs.parser_exc or "")
        assert refused in ("", "incomplete fragmented message")
    elif error is None or error[0] != 1007:
        # Text is another layer's business there.
        assert (theirs.parser_exc is not None) == (error is not None)


@pytest.mark.parametrize("size", [0, 1, 64, 125, 126])
@pytest.mark.parametrize("masked", [False, True], ids=["not masked", "masked"])
@pytest.mark.parametrize("before", [b"", encoded(1, b"part", fin=False)])
def test_a_frame_that_comes_whole_reads_as_byte_by_byte(size, masked, before):
    for first, payload in itertools.product(range(256), (b"a" * size, b"\xff" * size)):
        data = bytearray(encoded(2, payload))
        data[0] = first
        if not masked:
            data[1] &= 0x7F
        for options in ({}, {"masked": False}):
            whole = read([before, bytes(data)], **options)
            assert whole == read([before, *(bytes([b]) for b in data)], **options)


@pytest.mark.parametrize("limit", [63, 64])
def test_a_frame_that_comes_whole_is_limited(limit):
    for opcode in (1, 2):
        reader = Reader(limit)
        events = reader.receive(encoded(opcode, b"x" * 64))
        if limit == 64:
            assert events == ["x" * 64 if opcode == 1 else b"x" * 64]
        else:
            assert events == []
            assert reader.error.code == 1009
            assert reader.receive(encoded(opcode, b"x")) == []


def test_masks():
    for size in (0, 1, 3, 4, 5, 64, 1000, 65537):
        data, mask = os.urandom(size), os.urandom(4)
        wanted = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        assert mask_by_numbers(data, mask) == wanted
        assert bytes(apply_mask(memoryview(data), mask)) == wanted


def test_a_reader_without_the_c_extension_reads_alike(monkeypatch):
    from greenio._ws import reader

    monkeypatch.setattr(reader, "apply_mask", mask_by_numbers)
    data = encoded(1, b"text") + encoded(2, bytes(70_000)) + encoded(9, b"p")
    assert read([data]) == (["text", bytes(70_000), Ping(b"p")], None)


def test_frames_are_what_the_tests_write():
    for size in (0, 1, 125, 126, 65535, 65536):
        payload = os.urandom(size)
        assert frames.frame(2, payload) == encoded(2, payload, mask=None)
        assert frames.frame(2, payload, rsv1=True) == encoded(
            2, payload, rsv=4, mask=None
        )
        masked = frames.frame(2, payload, mask=True)
        assert read([masked], masked=True) == ([payload], None)


def test_a_frame_that_comes_byte_by_byte_takes_its_own_memory_only():
    reader = Reader(LIMIT)
    data = encoded(2, bytes(LIMIT))
    for byte in data[:200_000]:
        assert reader.receive(bytes([byte])) == []
    assert reader._buffer == b""
    assert isinstance(reader._message, bytearray)
    assert len(reader._message) == 200_000 - len(data) + LIMIT
    assert reader.left == len(data) - 200_000
    assert reader.receive(data[200_000:]) == [bytes(LIMIT)]


def test_many_small_fragments_take_their_own_memory_only():
    reader = Reader(LIMIT)
    reader.receive(encoded(2, b"", fin=False))
    for _ in range(1000):
        reader.receive(encoded(0, b"x", fin=False) + encoded(0, b"", fin=False))
    assert reader.receive(encoded(0, b"")) == [b"x" * 1000]


@given(st.lists(st.binary(max_size=3000), max_size=8), st.booleans(), st.booleans())
def test_deflate_there_and_back(payloads, server_forgets, client_forgets):
    agreed = {
        "server_no_context_takeover": server_forgets,
        "client_no_context_takeover": client_forgets,
        "server_max_window_bits": 9,
        "client_max_window_bits": 12,
    }
    server, client = Deflate(agreed), Deflate(agreed, client=True)
    for payload in payloads:
        assert client.inflate(server.compress(payload), LIMIT) == payload
        assert server.inflate(client.compress(payload), LIMIT) == payload


def test_a_bomb_is_not_inflated():
    compressor = zlib.compressobj(wbits=-15)
    bomb = compressor.compress(bytes(50_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    deflate = Deflate({})
    events, error = read([encoded(2, bomb[:-4], rsv=4)], deflate=deflate)
    assert events == []
    assert error[0] == 1009


def until_refused(data, step=1, **options):
    """Read byte by byte; return after how many bytes which error came."""
    reader = Reader(LIMIT, **options)
    for end in range(step, len(data) + step, step):
        reader.receive(data[end - step : end])
        if reader.error is not None:
            return end, reader.error.code
    return None


# What ends well, and the byte with which the rest cannot become text any more.
NOT_TEXT = [
    (b"good\x80", 4),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80", 12),
    (b"\xf4\x90", 1),
    (b"a\xc0\xaf", 1),
    (b"\xff", 0),
    ("ὐ".encode()[:2] + b"x", 2),
]


@pytest.mark.parametrize("fragments", [False, True], ids=["one frame", "fragments"])
@pytest.mark.parametrize(("payload", "at"), NOT_TEXT)
def test_bytes_that_are_no_text_are_refused_when_they_come(payload, at, fragments):
    """Autobahn's 6.3 and 6.4: not when the frame is whole, nor the message."""
    tail = b"much more" * 10
    if fragments:
        first = encoded(1, payload[:at], fin=False)
        data = first + encoded(0, payload[at:] + tail, fin=False)
        header = len(first) + 6
        wanted = header + 1
    else:
        data = encoded(1, payload + tail)
        header = 6
        wanted = header + at + 1
    end, code = until_refused(data)
    assert code == 1007
    # The decoder may need one byte more than Unicode's tables do.
    assert wanted <= end <= wanted + 1


@pytest.mark.parametrize("fragments", [False, True], ids=["one frame", "fragments"])
def test_compressed_bytes_that_are_no_text_are_refused_when_they_come(fragments):
    compressor = zlib.compressobj(wbits=-15)
    bad = compressor.compress(b"good\xff") + compressor.flush(zlib.Z_SYNC_FLUSH)
    more = compressor.compress(os.urandom(5000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    if fragments:
        data = encoded(1, bad, rsv=4, fin=False)
        wanted = len(data)
        data += encoded(0, more[:-4])
    else:
        data = encoded(1, bad + more[:-4], rsv=4)
        wanted = len(data) - len(more) + 4
    end, code = until_refused(data, deflate=Deflate({}))
    assert code == 1007
    assert end <= wanted
    assert until_refused(data, len(data), deflate=Deflate({}))[1] == 1007


@given(
    st.lists(st.text(max_size=400), min_size=1, max_size=5),
    st.lists(st.integers(0, 1 << 16), max_size=20),
    st.booleans(),
    st.data(),
)
def test_compressed_messages_in_any_pieces(texts, places, forgets, data):
    agreed = {"client_no_context_takeover": forgets}
    client = Deflate(agreed, client=True)
    stream = b""
    for text in texts:
        raw = client.compress(text.encode())
        at = data.draw(st.integers(0, len(raw)))
        stream += encoded(1, raw[:at], rsv=4, fin=False) + encoded(9, b"p")
        stream += encoded(0, raw[at:])
    events, error = read(cut(stream, places), deflate=Deflate(agreed))
    assert error is None
    assert [event for event in events if event != Ping(b"p")] == texts


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_message_of_several_streams(step):
    """RFC 7692, 7.2.3.4: a last block may be followed by others."""
    first = zlib.compressobj(wbits=-15)
    one = first.compress(b"stream one ") + first.flush(zlib.Z_FINISH)
    second = zlib.compressobj(wbits=-15, zdict=b"stream one ")
    two = second.compress(b"stream two") + second.flush(zlib.Z_SYNC_FLUSH)
    frame = encoded(1, one + two[:-4], rsv=4)
    pieces = [frame[at : at + step] for at in range(0, len(frame), step)]
    wanted = ["stream one stream two"]
    assert read(pieces, deflate=Deflate({})) == (wanted, None)


def test_many_empty_streams_are_refused():
    """Each costs a thousand times its two bytes."""
    events, error = read([encoded(2, b"\x03\x00" * 5000, rsv=4)], deflate=Deflate({}))
    assert (events, error[0]) == ([], 1002)


def test_a_compressed_message_is_limited_while_it_comes():
    compressor = zlib.compressobj(wbits=-15)
    bomb = compressor.compress(bytes(50_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    end, code = until_refused(encoded(2, bomb[:-4], rsv=4), deflate=Deflate({}))
    assert code == 1009
    assert end < len(bomb) / 10
