"""What a WebSocket server must refuse, as raw bytes, on each path that serves requests.

Each attack is followed by a message and by a request in the same bytes: neither the
handler nor the application may see them, and the connection must end.
"""

from __future__ import annotations

import random
import struct
import time
import zlib

import pytest

from _http import PATHS, read_all, serving
from _websockets import HANDSHAKE, closing, encoded
from greenio._ws import frames
from greenio._ws.frames import mask_by_numbers
from greenio.websocket import WebSocketWSGI

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1024 * 1024
LIMIT = MIB
PROTOCOL_ERROR, NOT_TEXT, TOO_BIG = 1002, 1007, 1009


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def handshake(without=(), **more):
    wanted = {name: v for name, v in HANDSHAKE.items() if name not in without}
    wanted |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in wanted.items())
    return f"GET /chat HTTP/1.1\r\n{lines}\r\n".encode()


def deflated(data, level=6):
    compressor = zlib.compressobj(level, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


PLAIN = handshake()
DEFLATE = handshake(Sec_WebSocket_Extensions="permessage-deflate")

# The handshake, the frames, and the code that the connection ends with.
FRAMES = {
    "frame over the limit": (PLAIN, encoded(2, bytes(LIMIT + 1)), TOO_BIG),
    "frame that claims 4 EiB": (PLAIN, encoded(2, size=1 << 62, form=64), TOO_BIG),
    "message over the limit, each frame within it": (
        PLAIN,
        encoded(2, bytes(LIMIT // 2), fin=False)
        + encoded(0, bytes(LIMIT // 2), fin=False)
        + encoded(0, b"x"),
        TOO_BIG,
    ),
    "text over the limit, each frame within it": (
        PLAIN,
        encoded(1, b"x" * (LIMIT - 1), fin=False) + encoded(0, b"x" * 2),
        TOO_BIG,
    ),
    "over the limit once inflated": (
        DEFLATE,
        encoded(2, deflated(bytes(LIMIT + 1)), rsv=4),
        TOO_BIG,
    ),
    "over the limit once inflated, in fragments": (
        DEFLATE,
        encoded(2, deflated(bytes(LIMIT + 1))[:50], rsv=4, fin=False)
        + encoded(0, deflated(bytes(LIMIT + 1))[50:]),
        TOO_BIG,
    ),
    "over the limit before it is inflated": (
        DEFLATE,
        encoded(2, deflated(bytes(LIMIT), level=0), rsv=4),
        TOO_BIG,
    ),
    "text that is none": (PLAIN, encoded(1, b"\xff"), NOT_TEXT),
    "text that is none, in its first frame": (
        PLAIN,
        encoded(1, b"\xed\xa0\x80", fin=False),
        NOT_TEXT,
    ),
    "text that is none once inflated": (
        DEFLATE,
        encoded(1, deflated(b"\xff"), rsv=4),
        NOT_TEXT,
    ),
    "unmasked": (PLAIN, encoded(1, b"x", mask=None), PROTOCOL_ERROR),
    "reserved bits": (PLAIN, encoded(1, b"x", rsv=4), PROTOCOL_ERROR),
    "opcode": (PLAIN, encoded(3, b"x"), PROTOCOL_ERROR),
    "length not in its shortest form": (
        PLAIN,
        encoded(1, b"x", form=64),
        PROTOCOL_ERROR,
    ),
    "long ping": (PLAIN, encoded(9, b"x" * 126), PROTOCOL_ERROR),
    "no compressed data": (DEFLATE, encoded(1, b"\xff" * 9, rsv=4), PROTOCOL_ERROR),
    "closed": (PLAIN, closing(), 1000),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_refused_and_nothing_after_it_is_seen(name, path, hub_name):
    head, attack, code = FRAMES[name]
    messages, codes = [], []

    @WebSocketWSGI.configured(max_frame_length=LIMIT)
    def handler(ws):
        messages.extend(ws)
        codes.append(ws.close_code)

    with serving(handler, **path) as site:
        raw = head + encoded(1, b"before") + attack + encoded(1, b"after") + SMUGGLED
        answers = site.ask(raw)
    assert site.seen == ["GET /chat"]
    assert answers.statuses == [101]
    assert messages == ["before"]
    frame = answers.body
    assert frame[0] == 0x88
    assert len(frame) == 2 + frame[1]
    assert struct.unpack("!H", frame[2:4]) == (code,)


DRAFT = (
    b"GET /chat HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Host: a\r\nOrigin: https://good.example\r\n"
)
DRAFT_76_KEYS = (
    b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"
    b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
)
# What asks for a WebSocket, and the status of the answer.
HEADS = {
    "no key": (handshake(["Sec-WebSocket-Key"]), 400),
    "key of 15 bytes": (handshake(Sec_WebSocket_Key="YWFhYWFhYWFhYWFhYWFh"), 400),
    "no upgrade": (handshake(["Upgrade"]), 400),
    "no connection": (handshake(["Connection"]), 400),
    "version 7": (handshake(Sec_WebSocket_Version="7"), 426),
    "POST": (b"POST" + PLAIN[3:], 405),
    "1.0": (PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "another origin": (handshake(Origin="https://attacker.example"), 403),
    "hixie-75": (
        DRAFT + b"\r\n",
        400,
    ),
    "hixie-76": (
        DRAFT + DRAFT_76_KEYS + b"\r\n^n:ds[4U",
        400,
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_handshake_is_refused_and_nothing_after_it_is_seen(name, path, hub_name):
    head, status = HEADS[name]
    called = []
    handler = WebSocketWSGI(called.append)
    handler.origin_checker = lambda host, origin: (
        origin
        in (
            None,
            "https://good.example",
        )
    )
    with serving(handler, **path) as site:
        answers = site.ask(head + encoded(1, b"after") + SMUGGLED)
    assert called == []
    assert site.seen == [f"{head[:4].decode().strip()} /chat"]
    assert answers.statuses == [status]
    assert answers.headers["connection"] == "close"


def test_an_origin_that_is_good_is_served(path, hub_name):
    """The table proves nothing if everything is refused."""

    @WebSocketWSGI.configured(
        origin_checker=lambda host, origin: origin == "https://good.example"
    )
    def handler(ws):
        ws.send(ws.wait())

    raw = handshake(Origin="https://good.example") + encoded(1, b"hi") + closing()
    with serving(handler, **path) as site, site.connect() as sock:
        sock.sendall(raw)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\x81\x02hi" + b"\x88\x02\x03\xe8")


def test_the_default_limit_is_on_a_message_not_on_each_frame(path, hub_name):
    """10 MiB in frames of 1 went through eventlet's 8 MiB."""
    got = []
    handler = WebSocketWSGI(lambda ws: got.extend(ws))
    piece = encoded(0, bytes(MIB), fin=False)
    sent = encoded(2, bytes(MIB), fin=False) + piece * 8 + encoded(0, bytes(MIB))
    with serving(handler, **path) as site:
        answers = site.ask(PLAIN + sent + SMUGGLED)
    assert got == []
    assert site.seen == ["GET /chat"]
    assert answers.body[2:4] == TOO_BIG.to_bytes(2, "big")


def test_masks_come_off_in_bulk():
    """Not byte by byte, which took eventlet 9 seconds for a message; without C, too."""
    data = bytes(MIB)

    def cost(call):
        start = time.process_time()
        call()
        return time.process_time() - start

    mask = b"\1\2\3\4"
    bulk = min(cost(lambda: mask_by_numbers(data, mask)) for _ in range(3))
    one_by_one = cost(lambda: bytes(b ^ mask[i & 3] for i, b in enumerate(data)))
    assert bulk < one_by_one / 5


def test_masks_cannot_be_foretold():
    """They are of `os.urandom`, not of a generator with a seed."""

    def masks():
        random.seed(1)
        return [frames.frame(1, b"hello", mask=True)[2:6] for _ in range(8)]

    assert not set(masks()) & set(masks())
