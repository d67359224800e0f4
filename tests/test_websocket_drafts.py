"""Version 8 of the protocol, and the drafts that are spoken if a program asks for them."""

from __future__ import annotations

import zlib

import pytest

import greenio
from _http import PATHS, serving
from _websockets import Peer, encoded
from _websockets import serving as serving_alone
from greenio import websocket
from greenio.websocket import RFC6455WebSocket, WebSocket, WebSocketWSGI

HEAD_75 = (
    b"GET /echo?a=b HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Host: localhost:1\r\nOrigin: http://localhost\r\nWebSocket-Protocol: ws\r\n"
)
# The example of draft 76, section 1.2.
HEAD_76 = (
    b"GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nSec-WebSocket-Protocol: sample\r\n"
    b"Upgrade: WebSocket\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"
    b"Origin: http://example.com\r\n\r\n^n:ds[4U"
)
PROOF_76 = b"8jKS'y:G*Co,Wxa-"


def _echo(ws):
    for message in ws:
        ws.send(f"{message}!")


def talk(head, frames, app, **keywords):
    with serving(app, **keywords) as site:
        answer = site.ask(head + frames)
    return answer.raw.partition(b"\r\n\r\n")


@pytest.mark.parametrize("path", PATHS)
def test_draft_76(path, hub_name):
    app = WebSocketWSGI.configured(_echo, support_legacy_versions=True)
    head, _, rest = talk(HEAD_76, b"\x00one\xff\x00two\xff\xff\x00", app, **PATHS[path])
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 101 WebSocket Protocol Handshake",
        b"Upgrade: WebSocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Origin: http://example.com",
        b"Sec-WebSocket-Location: ws://example.com/demo",
        b"Sec-WebSocket-Protocol: sample",
    ]
    assert rest == PROOF_76 + b"\x00one!\xff\x00two!\xff\xff\x00"
    assert app.protocol_version == 76


def test_draft_75(hub_name):
    app = WebSocketWSGI.configured(_echo, support_legacy_versions=True)
    head, _, rest = talk(HEAD_75 + b"\r\n", b"\x00one\xff\xff\x00", app)
    assert head.startswith(b"HTTP/1.1 101 Web Socket Protocol Handshake\r\n")
    assert b"\r\nWebSocket-Location: ws://localhost:1/echo?a=b" in head
    assert b"\r\nWebSocket-Origin: http://localhost" in head
    assert rest == b"\x00one!\xff"


@pytest.mark.parametrize(
    "head",
    [
        HEAD_75 + b"\r\n",
        HEAD_76,
        HEAD_76.replace(b"Key2", b"Key3"),
        HEAD_76.replace(b"12998 5 Y3 1  .P00", b"129985Y31.P00"),
        HEAD_76.replace(b"12998 5 Y3 1  .P00", b"9" * 30 + b" "),
        HEAD_76.replace(b"12998 5 Y3 1  .P00", b"  "),
        HEAD_75 + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ],
)
def test_drafts_are_refused_unless_asked_for_and_right(head, hub_name):
    legacy = head not in (HEAD_75 + b"\r\n", HEAD_76)
    app = WebSocketWSGI.configured(_echo, support_legacy_versions=legacy)
    answer, _, rest = talk(head, b"", app)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close" in answer
    assert rest == b""


def test_an_origin_may_be_refused(hub_name):
    app = WebSocketWSGI.configured(
        _echo, support_legacy_versions=True, origin_checker=lambda host, origin: False
    )
    assert talk(HEAD_76, b"", app)[0].startswith(b"HTTP/1.1 403 ")


def pair():
    listener = greenio.listen(("127.0.0.1", 0))
    client = greenio.connect(listener.getsockname())
    served, _ = listener.accept()
    listener.close()
    return client, served


def test_a_draft_connection_by_itself(hub_name):
    client, served = pair()
    ws = WebSocket(served, {"PATH_INFO": "/x", "HTTP_WEBSOCKET_PROTOCOL": "ws"})
    assert (ws.version, ws.path, ws.protocol) == (76, "/x", "ws")
    client.sendall(b"\x00he")
    waiter = greenio.spawn(ws.wait)
    greenio.sleep(0)
    client.sendall(b"llo\xff\x00\xff\x00\xc3\xff")
    assert (waiter.wait(), ws.wait(), ws.wait()) == ("hello", "", "\ufffd")
    ws.send(5)
    ws.send(b"bytes")
    with pytest.raises(ValueError, match="text only"):
        ws.send(b"a\xff")
    ws.close()
    ws.close()
    assert b"".join(iter(lambda: client.recv(100), b"")) == (
        b"\x005\xff\x00bytes\xff\xff\x00"
    )
    with pytest.raises(BrokenPipeError):
        ws.send("x")
    assert ws.wait() is None
    client.close()


@pytest.mark.parametrize("data", [b"\x05", b"\x00" + b"x" * 200, b"\x80\x01x"])
def test_what_is_no_message_of_a_draft_ends_the_connection(data, hub_name):
    client, served = pair()
    ws = WebSocket(served, {})
    ws.max_frame_length = 100
    client.sendall(data)
    with pytest.raises(ValueError, match="no message"):
        ws.wait()
    assert ws.websocket_closed
    client.close()


def test_version_8(hub_name):
    seen = []

    @WebSocketWSGI.configured(origin_checker=lambda host, origin: origin == "http://o")
    def app(ws):
        seen.append((ws.version, ws.origin))
        for message in ws:
            ws.send(message)

    headers = {"Sec-WebSocket-Version": "8", "Sec-WebSocket-Origin": "http://o"}
    with serving_alone(app) as server, Peer(server, headers) as peer:
        assert peer.status.startswith("101")
        peer.send(encoded(1, b"old") + encoded(8, b"\x03\xe8"))
        assert peer.rest() == [(0x81, b"old"), (0x88, b"\x03\xe8")]
    assert seen == [(8, "http://o")]
    assert app.protocol_version == 8


def test_messages_and_decoders_of_eventlet():
    decoder = RFC6455WebSocket.UTF8Decoder()
    assert decoder.decode("ü".encode()[:1]) == ""
    decoder.reset()
    assert decoder.decode(b"text", True) == "text"
    with pytest.raises(ValueError, match="utf-8"):
        decoder.decode(b"\xff")

    text = RFC6455WebSocket.Message(1, 100, decoder=RFC6455WebSocket.UTF8Decoder())
    text.push(b"a\xc3")
    assert not text.finished
    text.push(b"\xbc", final=True)
    assert text.finished
    assert text.getvalue() == "aü"

    packed = zlib.compressobj(wbits=-15)
    raw = packed.compress(bytes(1000)) + packed.flush(zlib.Z_SYNC_FLUSH)
    for limit in (1000, 10):
        message = RFC6455WebSocket.Message(
            2, limit, decompressor=zlib.decompressobj(-15)
        )
        message.push(raw[:-4], True)
        if limit == 1000:
            assert message.getvalue() == bytes(1000)
        else:
            with pytest.raises(websocket.FailedConnectionError) as caught:
                message.getvalue()
            assert caught.value.status == 1009
