"""The rules of RFC 6455 and 7692, in bytes: what Autobahn's cases 1 to 7, 9, 10, 12 and
13 try, case by case.

The server echoes. Each case is what a client sends and the frames that must come back,
up to the end of the stream; each is sent at once and in pieces.
"""

from __future__ import annotations

import struct
import zlib

import pytest

import greenio
from _support import until
from _websockets import MASK, Peer, closing, encoded, serving
from greenio.websocket import WebSocketWSGI

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
LIMIT = 100_000


@WebSocketWSGI
def echo(ws):
    for message in ws:
        ws.send(message)


echo.max_frame_length = LIMIT


def closed(code=1000):
    return CLOSE, b"" if code is None else struct.pack("!H", code)


BYE = closing()
GOODBYE = closed()
PROTOCOL_ERROR, NOT_TEXT, TOO_BIG = 1002, 1007, 1009

GREEK = "κόσμε".encode()
SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536, 65537)

# What is sent, and the frames or the close code that come back.
CASES: dict[str, tuple[bytes, list]] = {}


def case(name, sent, *frames, error=None):
    expected = [*frames]
    if error is None:
        sent += BYE
        expected.append(GOODBYE)
    else:
        expected.append(error)
    CASES[name] = (sent, expected)


# 1: messages of all sizes
for size in SIZES:
    case(f"1.1 text of {size}", encoded(1, b"*" * size), (TEXT, b"*" * size))
    data = bytes(range(256)) * 257
    data = data[:size]
    case(f"1.2 binary of {size}", encoded(2, data), (BINARY, data))
case("1 mask of nothing", encoded(1, b"hello", mask=bytes(4)), (TEXT, b"hello"))

# 2: pings and pongs
case("2.1 ping", encoded(9), (PONG, b""))
case("2.2 ping with text", encoded(9, b"hello"), (PONG, b"hello"))
case("2.3 ping with bytes", encoded(9, b"\0\xff\xfe\xfd"), (PONG, b"\0\xff\xfe\xfd"))
case("2.4 longest ping", encoded(9, b"\xfe" * 125), (PONG, b"\xfe" * 125))
case("2.5 too long a ping", encoded(9, b"\xfe" * 126), error=PROTOCOL_ERROR)
case("2.7 pong unasked", encoded(10))
case("2.8 pong unasked with text", encoded(10, b"hello"))
case("2.9 pong, then ping", encoded(10, b"x") + encoded(9, b"y"), (PONG, b"y"))
case(
    "2.10 ten pings",
    b"".join(encoded(9, b"%d" % n) for n in range(10)),
    *((PONG, b"%d" % n) for n in range(10)),
)

# 3: reserved bits
for rsv in range(1, 8):
    case(
        f"3 reserved bits {rsv}",
        encoded(1, b"a") + encoded(1, b"b", rsv=rsv) + encoded(9),
        (TEXT, b"a"),
        error=PROTOCOL_ERROR,
    )
case("3 reserved bit in a ping", encoded(9, rsv=4), error=PROTOCOL_ERROR)
case("3 reserved bit in a close", closing(rsv=2), error=PROTOCOL_ERROR)

# 4: opcodes
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    case(
        f"4 opcode {opcode}",
        encoded(1, b"a") + encoded(opcode, b"b") + encoded(9),
        (TEXT, b"a"),
        error=PROTOCOL_ERROR,
    )

# 5: fragments
case("5.1 ping in fragments", encoded(9, b"a", fin=False), error=PROTOCOL_ERROR)
case("5.2 pong in fragments", encoded(10, b"a", fin=False), error=PROTOCOL_ERROR)
case(
    "5.3 text in two",
    encoded(1, b"frag", fin=False) + encoded(0, b"ments"),
    (TEXT, b"fragments"),
)
case(
    "5.6 a ping in between",
    encoded(1, b"a", fin=False) + encoded(9, b"p") + encoded(0, b"b"),
    (PONG, b"p"),
    (TEXT, b"ab"),
)
case("5.9 continuation of nothing", encoded(0, b"x"), error=PROTOCOL_ERROR)
case(
    "5.10 unfinished continuation of nothing",
    encoded(0, b"x", fin=False) + encoded(1, b"y"),
    error=PROTOCOL_ERROR,
)
case(
    "5.15 continuation after the end",
    encoded(1, b"a", fin=False)
    + encoded(0, b"b")
    + encoded(0, b"c", fin=False)
    + encoded(1, b"d"),
    (TEXT, b"ab"),
    error=PROTOCOL_ERROR,
)
case(
    "5.18 a message within a message",
    encoded(1, b"a", fin=False) + encoded(1, b"b"),
    error=PROTOCOL_ERROR,
)
case(
    "5.19 pings in between, many fragments",
    encoded(1, b"f0", fin=False)
    + encoded(0, b"f1", fin=False)
    + encoded(9, b"p1")
    + encoded(0, b"f2", fin=False)
    + encoded(0, b"", fin=False)
    + encoded(9, b"p2")
    + encoded(0, b"f3"),
    (PONG, b"p1"),
    (PONG, b"p2"),
    (TEXT, b"f0f1f2f3"),
)
case(
    "5 binary in three",
    encoded(2, b"\0", fin=False) + encoded(0, b"\1", fin=False) + encoded(0, b"\2"),
    (BINARY, b"\0\1\2"),
)
case(
    "5 empty in three",
    encoded(1, fin=False) + encoded(0, fin=False) + encoded(0),
    (TEXT, b""),
)

# 6: UTF-8
case("6.1 empty", encoded(1), (TEXT, b""))
case("6.2 text", encoded(1, GREEK), (TEXT, GREEK))
case(
    "6.2 cut within characters",
    b"".join(encoded(0 if n else 1, GREEK[n : n + 1], fin=False) for n in range(11))
    + encoded(0),
    (TEXT, GREEK),
)
for name, wrong in {
    "6.3 surrogate": GREEK + b"\xed\xa0\x80edited",
    "6.6 half a character": GREEK + b"\xce",
    "6.8 first of 5 bytes": b"\xf8\x88\x80\x80\x80",
    "6.10 beyond Unicode": b"\xf4\x90\x80\x80",
    "6.12 continuation alone": b"\x80",
    "6.13 lonely start": b"\xc0 ",
    "6.14 overlong slash": b"\xc0\xaf",
    "6.19 overlong zero": b"\xf0\x80\x80\x80",
    "6.20 low surrogate": b"\xed\xb0\x80",
    "6.20 pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
}.items():
    case(name, encoded(1, wrong), error=NOT_TEXT)
    case(
        f"{name}, in two",
        encoded(1, wrong[:1], fin=False) + encoded(0, wrong[1:]),
        error=NOT_TEXT,
    )
case(
    "6.4 seen before the message ends",
    encoded(1, GREEK + b"\xf4", fin=False) + encoded(0, b"\x90", fin=False),
    error=NOT_TEXT,
)
for name, right in {
    "6.7 shortest": b"\0",
    "6.7 of 2": b"\xc2\x80",
    "6.7 of 3": b"\xe0\xa0\x80",
    "6.7 of 4": b"\xf0\x90\x80\x80",
    "6.9 last": b"\xf4\x8f\xbf\xbf",
    "6.22 no character": b"\xef\xbf\xbe\xef\xbf\xbf",
    "6.23 replacement": b"\xef\xbf\xbd",
}.items():
    case(name, encoded(1, right), (TEXT, right))

# 7: closing
CASES["7.1 close after a message"] = (
    encoded(1, b"a") + BYE + encoded(9) + encoded(1, b"b") + BYE,
    [(TEXT, b"a"), GOODBYE],
)
CASES["7.1 close within a message"] = (
    encoded(1, b"a", fin=False) + BYE + encoded(0, b"b"),
    [GOODBYE],
)
CASES["7.3 without a code"] = (closing(None), [closed(None)])
CASES["7.3 with half a code"] = (encoded(8, b"\x03"), [PROTOCOL_ERROR])
CASES["7.3 with a reason"] = (closing(1000, b"bye"), [GOODBYE])
CASES["7.3 longest reason"] = (closing(1000, b"*" * 123), [GOODBYE])
CASES["7.3 too long a reason"] = (closing(1000, b"*" * 124), [PROTOCOL_ERROR])
CASES["7.5 reason not in UTF-8"] = (closing(1000, b"\xce\xba\xe1\xbd"), [NOT_TEXT])
CASES["7 in fragments"] = (closing(fin=False), [PROTOCOL_ERROR])
for code in (
    1000,
    1001,
    1002,
    1003,
    1007,
    1008,
    1009,
    1010,
    1011,
    1012,
    1014,
    3000,
    4999,
):
    CASES[f"7.7 code {code}"] = (closing(code), [closed(code)])
for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
    CASES[f"7.9 code {code}"] = (closing(code), [PROTOCOL_ERROR])

# 9, 10: sizes, up to the limit and beyond
case("9 as long as allowed", encoded(2, bytes(LIMIT)), (BINARY, bytes(LIMIT)))
case(
    "9 as long as allowed, in pieces",
    encoded(2, bytes(LIMIT - 9000), fin=False)
    + b"".join(encoded(0, bytes(1000), fin=False) for _ in range(9))
    + encoded(0),
    (BINARY, bytes(LIMIT)),
)
case("9 one more than allowed", encoded(2, bytes(LIMIT + 1)), error=TOO_BIG)
# The size is enough: nothing of it has to arrive.
case("9 claims too much", encoded(2, b"", size=1 << 62, form=64), error=TOO_BIG)
case(
    "9 too long altogether",
    encoded(1, b"*" * (LIMIT - 10), fin=False)
    + encoded(9, b"p")
    + encoded(0, b"*" * 11),
    (PONG, b"p"),
    error=TOO_BIG,
)
case(
    "10 in the 64-bit form, too big",
    encoded(2, b"", size=1 << 63, form=64),
    error=PROTOCOL_ERROR,
)

# Beyond the suite's: masks and lengths
case("unmasked", encoded(1, b"a", mask=None), error=PROTOCOL_ERROR)
case("unmasked close", closing(mask=None), error=PROTOCOL_ERROR)
case("length 125 in 16 bits", encoded(1, b"*" * 125, form=16), error=PROTOCOL_ERROR)
case("length 65535 in 64 bits", encoded(2, bytes(65535), form=64), error=PROTOCOL_ERROR)
case("ping in the 16-bit form", encoded(9, b"a" * 20, form=16), error=PROTOCOL_ERROR)


def check(frames, expected):
    assert len(frames) == len(expected), (frames, expected)
    for got, wanted in zip(frames, expected, strict=True):
        if isinstance(wanted, int):
            # An error: the code, and a reason for whoever reads it.
            assert got[0] == CLOSE
            assert struct.unpack("!H", got[1][:2])[0] == wanted, got
            assert got[1][2:].decode()
        else:
            assert got == wanted


@pytest.mark.parametrize("how", ["at once", "in pieces"])
@pytest.mark.parametrize("name", CASES)
def test_rule(hub_name, name, how):
    sent, expected = CASES[name]
    with serving(echo) as server, Peer(server) as peer:
        if how == "at once":
            peer.send(sent)
        else:
            peer.send_slowly(sent, 1 if len(sent) < 400 else 7919)
        check(peer.rest(), expected)
    assert not server.errors


# -- 12, 13: permessage-deflate -----------------------------------------------------------

DEFLATE = "permessage-deflate"


def deflated(data, bits=15, level=6, flush=zlib.Z_SYNC_FLUSH):
    compressor = zlib.compressobj(level, wbits=-bits)
    result = compressor.compress(data) + compressor.flush(flush)
    return result[:-4] if flush == zlib.Z_SYNC_FLUSH else result


def compressed_case(sent, *expected, offer=DEFLATE):
    with (
        serving(echo) as server,
        Peer(server, {"Sec-WebSocket-Extensions": offer}) as peer,
    ):
        assert peer.headers["Sec-WebSocket-Extensions"].startswith(DEFLATE)
        peer.send(sent)
        frames = peer.rest()
        assert not server.errors
    check(frames, expected)


def test_compressed_messages_are_inflated(hub_name):
    compressed_case(
        encoded(1, deflated(b"Hello"), rsv=4) + BYE, (TEXT, b"Hello"), GOODBYE
    )


def test_plain_messages_may_come_beside(hub_name):
    compressed_case(
        encoded(1, b"plain") + encoded(2, deflated(b"not"), rsv=4) + BYE,
        (TEXT, b"plain"),
        (BINARY, b"not"),
        GOODBYE,
    )


@pytest.mark.parametrize(
    "payload",
    [
        deflated(b"Hello" * 10),
        deflated(b"Hello" * 10, level=0),
        # RFC 7692, section 7.2.3: a last block, with the byte that belongs after it.
        deflated(b"Hello" * 10, flush=zlib.Z_FINISH) + b"\0",
    ],
    ids=["one block", "stored", "last block"],
)
def test_all_kinds_of_blocks(hub_name, payload):
    sent = encoded(1, payload, rsv=4)
    compressed_case(sent * 2 + BYE, *[(TEXT, b"Hello" * 10)] * 2, GOODBYE)


def test_compressed_in_fragments_with_a_ping_in_between(hub_name):
    data = deflated(bytes(range(50)))
    compressed_case(
        encoded(2, data[:9], rsv=4, fin=False)
        + encoded(9, b"p")
        + encoded(0, data[9:])
        + BYE,
        (PONG, b"p"),
        (BINARY, bytes(range(50))),
        GOODBYE,
    )


def test_compressed_wrongly(hub_name):
    for wrong in (
        encoded(0, b"x", rsv=4),
        encoded(9, b"x", rsv=4),
        encoded(1, b"x", rsv=6),
        encoded(1, b"a", rsv=4, fin=False) + encoded(0, b"b", rsv=4),
        encoded(1, b"\xff\xff\xff\xff", rsv=4),
    ):
        compressed_case(wrong + BYE, PROTOCOL_ERROR)
    compressed_case(encoded(1, deflated(b"\xff"), rsv=4), NOT_TEXT)


def test_the_limit_holds_after_inflating(hub_name):
    exactly = deflated(bytes(LIMIT))
    with (
        serving(echo) as server,
        Peer(server, {"Sec-WebSocket-Extensions": DEFLATE}) as peer,
    ):
        peer.send(encoded(2, exactly, rsv=4))
        first, payload = peer.frame()
        assert first == BINARY | 0x40
        inflated = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
        assert inflated == bytes(LIMIT)
    compressed_case(encoded(2, deflated(bytes(LIMIT + 1)), rsv=4), TOO_BIG)
    # A bomb: 100 MB in 100 KB.
    compressed_case(encoded(2, deflated(bytes(95_000_000)), rsv=4), TOO_BIG)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (DEFLATE, "server_max_window_bits=12"),
        (f"{DEFLATE}; client_max_window_bits", "=12; client_max_window_bits=12"),
        (f"{DEFLATE}; client_max_window_bits=9", "=12; client_max_window_bits=9"),
        (f'{DEFLATE}; server_max_window_bits="10"', "server_max_window_bits=10"),
        (f"{DEFLATE}; server_no_context_takeover", "server_no_context_takeover"),
        (f"{DEFLATE}; client_no_context_takeover", "client_no_context_takeover"),
        (f"x-webkit-deflate-frame, {DEFLATE}", "server_max_window_bits=12"),
        # The first offer cannot be accepted, the second can.
        (f"{DEFLATE}; server_max_window_bits=8, {DEFLATE}", "_window_bits=12"),
    ],
)
def test_offers_that_are_accepted(hub_name, offer, answer):
    with (
        serving(echo) as server,
        Peer(server, {"Sec-WebSocket-Extensions": offer}) as peer,
    ):
        assert answer in peer.headers["Sec-WebSocket-Extensions"]


@pytest.mark.parametrize(
    "offer",
    [
        "x-webkit-deflate-frame",
        f"{DEFLATE}; server_max_window_bits",
        f"{DEFLATE}; server_max_window_bits=7",
        f"{DEFLATE}; server_max_window_bits=16",
        f"{DEFLATE}; server_max_window_bits=8",
        f"{DEFLATE}; client_max_window_bits=1x",
        f"{DEFLATE}; server_no_context_takeover=1",
        f"{DEFLATE}; server_no_context_takeover; server_no_context_takeover",
        f"{DEFLATE}; unknown",
        ",;=",
    ],
)
def test_offers_that_are_not_accepted(hub_name, offer):
    with (
        serving(echo) as server,
        Peer(server, {"Sec-WebSocket-Extensions": offer}) as peer,
    ):
        assert peer.status.startswith("101")
        assert "Sec-WebSocket-Extensions" not in peer.headers
        peer.send(encoded(1, deflated(b"x"), rsv=4))
        check(peer.rest(), [PROTOCOL_ERROR])


def test_every_mask_comes_off(hub_name):
    data = bytes(range(256)) * 20
    with serving(echo) as server, Peer(server) as peer:
        for mask in (MASK, b"\0\0\0\1", b"\xff\xff\xff\xff", b"\x80\0\0\0"):
            for size in (1, 2, 3, 4, 5, 63, 5119):
                peer.send(encoded(2, data[:size], mask=mask))
                assert peer.frame() == (BINARY, data[:size])


def test_after_an_interrupted_short_message_nothing_is_sent(hub_name):
    outcome = []

    @WebSocketWSGI
    def app(ws):
        # Until the peer, who does not read, has no room left.
        with greenio.Timeout(0.05, False):
            while True:
                ws.send(b"short")
        outcome.append(ws.websocket_closed)
        with pytest.raises(BrokenPipeError):
            ws.send(b"more")
        outcome.append("broken")

    with serving(app) as server, Peer(server):
        until(lambda: len(outcome) == 2)
        assert outcome == [True, "broken"]
        assert not server.errors
