"""`greenio.websocket`: the handshake, and what handlers can do with a connection.

The rules about frames are in test_websocket_rules.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import types

import pytest

import greenio
from _sockets import PLACES, in_thread, reset, run_in, tcp_pair
from _support import settle, until
from _websockets import KEY, PATIENT, Peer, closing, encoded, serving
from greenio import sleep, spawn, websocket
from greenio._net.socket import GreenSocket
from greenio._ws import connection as connection_module
from greenio.websocket import (
    ProtocolError,
    RFC6455WebSocket,
    WebSocket,
    WebSocketWSGI,
)

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def code_of(frame):
    assert frame[0] == CLOSE
    return struct.unpack("!H", frame[1][:2])[0] if frame[1] else None


@WebSocketWSGI
def echo(ws):
    for message in ws:
        ws.send(message)


# -- the handshake -----------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_handshake_and_echo(hub_name, loop_factory, place):
    def talk():
        with serving(echo) as server, Peer(server) as peer:
            assert peer.status == "101 Switching Protocols"
            # RFC 6455, section 4.2.2, computed apart from the code under test.
            assert (
                peer.headers["Sec-WebSocket-Accept"] == "Bz3qJYTGdOe8gUSpLosEdiLKDrk="
            )
            peer.send(encoded(1, b"hello") + encoded(2, b"\0\1"))
            assert [peer.frame(), peer.frame()] == [(TEXT, b"hello"), (BINARY, b"\0\1")]
            peer.send(closing(1001))
            assert [code_of(frame) for frame in peer.rest()] == [1001]

    run_in(place, loop_factory, talk)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": None}, 400),
        ({"Upgrade": "h2c"}, 400),
        ({"Connection": None}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Sec-WebSocket-Version": None}, 400),
        ({"Sec-WebSocket-Version": "7"}, 426),
        ({"Sec-WebSocket-Version": ""}, 426),
        ({"Sec-WebSocket-Version": "13, 14"}, 426),
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
        ({"Sec-WebSocket-Key": "not base64 at all!!!!!!!"}, 400),
        ({"Sec-WebSocket-Key": KEY + "AAAA"}, 400),
    ],
)
def test_requests_that_are_refused(hub_name, headers, status):
    with serving(echo) as server, Peer(server, headers) as peer:
        assert peer.status.startswith(str(status))
        assert peer.headers["Connection"] == "close"
        assert peer.headers["X-Reason"]
        assert peer.headers["Content-Length"] == "0"
        assert peer.body() == b""
        if status == 426:
            assert peer.headers["Sec-WebSocket-Version"] == "8, 13"


def test_tokens_are_found_among_others_in_any_case(hub_name):
    headers = {"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"}
    with serving(echo) as server, Peer(server, headers) as peer:
        assert peer.status.startswith("101")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"REQUEST_METHOD": "POST"}, "405 Method Not Allowed"),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, "400 Bad Request"),
    ],
)
def test_requests_that_are_none(change, status):
    environ = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", **change}
    seen = []
    (body,) = echo(environ, lambda status, headers: seen.append((status, headers)))
    assert seen[0][0] == status
    assert ("Content-Length", str(len(body))) in seen[0][1]


def test_subprotocols(hub_name):
    spoken = []

    @WebSocketWSGI.configured(supported_protocols=["chat.2", "chat.1"])
    def app(ws):
        spoken.append(ws.protocol)

    offers = {"chat.1, chat.2": "chat.1", "other": None, None: None}
    for offer, agreed in offers.items():
        with (
            serving(app) as server,
            Peer(server, {"Sec-WebSocket-Protocol": offer}) as peer,
        ):
            assert peer.headers.get("Sec-WebSocket-Protocol") == agreed
            peer.rest()
    assert spoken == list(offers.values())


GOOD = "https://good.example"


@pytest.mark.parametrize(
    "checker",
    [
        lambda origin: origin in {None, GOOD},
        lambda origin, strict=True: strict and origin in {None, GOOD},
        lambda host, origin: host == "localhost" and origin in {"", GOOD},
        lambda *both: both in {("localhost", ""), ("localhost", GOOD)},
    ],
    ids=["origin", "origin and more", "host and origin", "any"],
)
def test_origins(hub_name, checker):
    app = WebSocketWSGI.configured(
        lambda ws: ws.send(ws.origin or "none"), origin_checker=checker
    )
    with serving(app) as server:
        for origin in (None, GOOD):
            with Peer(server, {"Origin": origin}) as peer:
                assert peer.frame() == (TEXT, (origin or "none").encode())
        with Peer(server, {"Origin": "https://evil.example"}) as peer:
            assert peer.status == "403 Forbidden"


def test_a_server_that_lends_no_socket():
    environ = {
        "REQUEST_METHOD": "GET",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": KEY,
    }
    with pytest.raises(RuntimeError, match=r"greenio\.wsgi\.server"):
        echo(environ, lambda status, headers: None)


def test_the_server_is_told_that_the_answer_is_given(hub_name, monkeypatch):
    """As programs for eventlet tell it, and for gunicorn's way of lending a socket."""
    import sys

    local = types.SimpleNamespace(already_handled=False)
    module = types.SimpleNamespace(WSGI_LOCAL=local)
    monkeypatch.setitem(sys.modules, "greenio.wsgi", module)
    client, served = tcp_pair()
    environ = {
        "REQUEST_METHOD": "GET",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": KEY,
        "gunicorn.socket": GreenSocket(fileno=served.detach()),
    }
    client.close()
    app = WebSocketWSGI(lambda ws: None)
    assert app(environ, lambda *args: None) == []
    assert local.already_handled


def test_bad_arguments():
    with pytest.raises(TypeError, match="takes a function"):
        WebSocketWSGI(None)
    with pytest.raises(ValueError, match="number of bytes"):
        WebSocketWSGI(print, max_frame_length=-1)
    with pytest.raises(TypeError, match=r"\['chat'\]"):
        WebSocketWSGI.configured(print, supported_protocols="chat")
    assert WebSocketWSGI(print).max_frame_length == websocket.DEFAULT_MAX_FRAME_LENGTH
    assert issubclass(websocket.ProtocolError, ValueError)
    assert {1000, 3000} < websocket.VALID_CLOSE_STATUS
    assert 1005 not in websocket.VALID_CLOSE_STATUS


# -- sending -----------------------------------------------------------------------------


def test_what_can_be_sent(hub_name):
    failures = []

    @WebSocketWSGI
    def app(ws):
        for message in ("é", b"b", bytearray(b"ba"), memoryview(b"mv"), ""):
            ws.send(message)
        for message in (1, None, ["x"]):
            try:
                ws.send(message)
            except TypeError as error:
                failures.append(str(error))
        with pytest.raises(ValueError, match="125 bytes"):
            ws.ping(bytes(126))
        ws.ping(b"there?")
        failures.append(ws.wait())

    with serving(app) as server, Peer(server) as peer:
        frames = [peer.frame() for _ in range(6)]
        assert frames == [
            (TEXT, "é".encode()),
            (BINARY, b"b"),
            (BINARY, b"ba"),
            (BINARY, b"mv"),
            (TEXT, b""),
            (PING, b"there?"),
        ]
        peer.send(encoded(10, b"there?") + encoded(1, b"yes"))
        assert [code_of(frame) for frame in peer.rest()] == [1000]
    assert all("json.dumps" in failure for failure in failures[:3])
    assert failures[3] == "yes"


def test_parts_of_messages_and_control_frames_can_be_sent(hub_name):
    @WebSocketWSGI
    def app(ws):
        ws.send("be", final=False)
        ws.send(b"ping", control_code=9)
        ws.send(b"gin", continuation=True, final=False)
        ws.send("", continuation=True)
        ws.send(b"pong", control_code=10, masked=True)
        for wrong in (
            {"control_code": 1},
            {"control_code": 9, "final": False},
            {"control_code": 9, "continuation": True},
        ):
            with pytest.raises(ProtocolError):
                ws.send(b"", **wrong)
        with pytest.raises(ProtocolError, match="126"):
            ws.send(bytes(126), control_code=9)
        with pytest.raises(TypeError):
            ws.send("x", unknown=1)
        ws.send(b"\x03\xe8", control_code=8)
        with pytest.raises(BrokenPipeError):
            ws.send("x", final=False)

    with serving(app) as server, Peer(server) as peer:
        assert peer.rest() == [
            (0x01, b"be"),
            (0x89, b"ping"),
            (0x00, b"gin"),
            (0x80, b""),
            (0x8A, b"pong"),
            (0x88, b"\x03\xe8"),
        ]
    assert server.errors == []


def test_several_send_at_once(hub_name):
    """Long messages do not get into each other."""
    size = 3_000_000

    @WebSocketWSGI
    def app(ws):
        threads = [spawn(ws.send, bytes([n]) * size) for n in range(4)]
        for thread in threads:
            thread.wait()

    with serving(app) as server, Peer(server) as peer:
        settle()
        frames = peer.rest()
        assert sorted(payload[0] for _, payload in frames[:4]) == [0, 1, 2, 3]
        assert all(payload == payload[:1] * size for _, payload in frames[:4])
        assert code_of(frames[4]) == 1000
        assert not server.errors


def test_after_an_interrupted_send_nothing_is_sent(hub_name):
    """Half a frame may have gone; another would be taken for its rest."""
    outcome = []

    @WebSocketWSGI
    def app(ws):
        try:
            with greenio.Timeout(0.05):
                ws.send(bytes(50_000_000))
        except greenio.Timeout:
            outcome.append(ws.websocket_closed)
        try:
            ws.send("more")
        except BrokenPipeError:
            outcome.append("broken")

    with serving(app) as server, Peer(server) as peer:
        until(lambda: len(outcome) == 2)
        assert outcome == [True, "broken"]
        with pytest.raises((EOFError, ConnectionResetError)):
            peer.frame()
        assert not server.errors


def test_sending_to_who_has_gone(hub_name):
    errors = []

    @WebSocketWSGI
    def app(ws):
        assert ws.wait() is None
        try:
            ws.send("x")
        except OSError as error:
            errors.append(error.errno)
            raise

    with serving(app) as server:
        with Peer(server) as peer:
            reset(peer.sock)
        until(lambda: errors and server.handlers[0].dead)
        assert errors == [errno.EPIPE]
        # That is nothing for the server's log.
        assert not server.errors


# -- closing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "frame"),
    [
        ((), (CLOSE, b"")),
        (((1001, "going"),), (CLOSE, b"\x03\xe9going")),
        (((4000, b"bytes"),), (CLOSE, b"\x0f\xa0bytes")),
        ((1013,), (CLOSE, b"\x03\xf5")),
        # Cut to what fits, between characters.
        (((1000, "é" * 100),), (CLOSE, b"\x03\xe8" + "é".encode() * 61)),
    ],
)
def test_close(hub_name, how, frame):
    seen = []

    @WebSocketWSGI
    def app(ws):
        ws.close(*how)
        ws.close()
        seen.extend([ws.websocket_closed, ws.wait(), ws.close_code])

    with serving(app) as server, Peer(server) as peer:
        peer.send(encoded(1, b"not read any more"))
        assert peer.frame() == frame
        peer.send(closing(1000, b"ok"))
        assert peer.rest() == []
        until(lambda: len(seen) == 3)
    assert seen == [True, None, 1000]


def test_close_with_a_wrong_code(hub_name):
    @WebSocketWSGI
    def app(ws):
        for code in (1005, 999, 5000):
            with pytest.raises(ValueError, match="3000 to 4999"):
                ws.close((code, "x"))

    with serving(app) as server, Peer(server) as peer:
        assert code_of(peer.frame()) == 1000
        assert not server.errors


def test_what_the_peer_closed_with(hub_name):
    seen = []

    @WebSocketWSGI
    def app(ws):
        seen.append((ws.wait(), ws.close_code, ws.close_reason))

    with serving(app) as server:
        for sent in (closing(4001, b"so long"), closing(None), b""):
            with Peer(server) as peer:
                peer.send(sent)
                peer.sock.shutdown(socket.SHUT_WR)
                peer.rest()
        assert seen == [(None, 4001, "so long"), (None, 1005, ""), (None, 1006, "")]


def test_close_while_another_waits(hub_name):
    """The one in `wait` reads to the end; both go on."""
    seen = []

    @WebSocketWSGI
    def app(ws):
        reader = spawn(lambda: seen.append(ws.wait()))
        sleep(0)
        ws.close((1000, "enough"))
        seen.append("closed")
        reader.wait()

    with serving(app) as server, Peer(server) as peer:
        assert code_of(peer.frame()) == 1000
        peer.send(encoded(1, b"late") + closing())
        assert peer.rest() == []
        until(lambda: len(seen) == 2)
    assert sorted(seen, key=str) == [None, "closed"]


@pytest.mark.parametrize("reading", [False, True])
def test_a_peer_that_does_not_close_is_not_waited_for_long(
    hub_name, monkeypatch, reading
):
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT", 0.05)
    seen = []

    @WebSocketWSGI
    def app(ws):
        reader = spawn(lambda: seen.append(ws.wait())) if reading else None
        sleep(0)
        ws.close()
        if reader is not None:
            reader.wait()
        seen.append("over")

    with serving(app) as server, Peer(server) as peer:
        assert peer.frame() == (CLOSE, b"")
        until(lambda: "over" in seen)
        assert peer.rest() == []
    assert seen == ([None, "over"] if reading else ["over"])


def test_the_end_of_the_handler_closes(hub_name):
    def fail():
        raise ZeroDivisionError("handler")

    for end, code in ((lambda: None, 1000), (fail, 1011)):
        app = WebSocketWSGI(lambda ws, end=end: end())
        with serving(app) as server:
            with Peer(server) as peer:
                assert [code_of(frame) for frame in peer.rest()] == [code]
            until(lambda: server.handlers[0].dead)
            assert [str(error) for error in server.errors] == ["handler"] * (
                code > 1000
            )


def test_a_killed_handler_says_that_it_goes_away(hub_name):
    started = []

    @WebSocketWSGI
    def app(ws):
        started.append(ws)
        ws.wait()

    with serving(app) as server, Peer(server) as peer:
        until(lambda: started)
        killer = spawn(server.handlers[0].kill)
        assert code_of(peer.frame()) == 1001
        peer.close()
        killer.wait()


def test_a_time_limit_on_the_socket_reaches_the_handler(hub_name):
    seen = []

    @WebSocketWSGI
    def app(ws):
        ws.socket.settimeout(0.02)
        try:
            ws.wait()
        except TimeoutError:
            seen.append("timeout")
        # It can be gone on with.
        ws.socket.settimeout(20)
        ws.send("still there?")
        seen.append(ws.wait())

    with serving(app) as server, Peer(server) as peer:
        assert peer.frame() == (TEXT, b"still there?")
        peer.send(encoded(1, b"yes"))
        peer.rest()
    assert seen == ["timeout", "yes"]


def test_a_timeout_around_wait_loses_nothing(hub_name):
    seen, limits = [], []

    @WebSocketWSGI
    def app(ws):
        while len(seen) < 3:
            with greenio.Timeout(0.01, False):
                limits.append(len(seen))
                seen.append(ws.wait())

    with serving(app) as server, Peer(server) as peer:
        data = encoded(1, b"one") + encoded(1, b"two") + encoded(1, b"three")
        peer.send(data[:12])
        # Some have ended while the rest of the second one was still to come.
        until(lambda: limits.count(1) > 2)
        peer.send(data[12:])
        until(lambda: len(seen) == 3)
    assert seen == ["one", "two", "three"]


# -- the connection object ---------------------------------------------------------------


def test_what_a_handler_sees(hub_name):
    seen = []

    @WebSocketWSGI
    def app(ws):
        seen.append(ws)
        assert isinstance(ws, RFC6455WebSocket)
        assert isinstance(ws, WebSocket)
        assert (ws.path, ws.version, ws.client) == ("/chat", 13, False)
        assert ws.environ["HTTP_HOST"] == "localhost"
        assert "open server=localhost/chat client=127.0.0.1" in repr(ws)
        assert ws.close_code is None

    with serving(app) as server, Peer(server) as peer:
        peer.rest()
        assert not server.errors
        assert "closed" in repr(seen[0])


def test_the_client_end(hub_name):
    """The same class speaks for a client: it masks, and wants no masks."""
    client, server = tcp_pair()
    ours = RFC6455WebSocket(GreenSocket(fileno=client.detach()), {}, client=True)
    theirs = RFC6455WebSocket(GreenSocket(fileno=server.detach()), {})
    ours.send("hello" * 100)
    assert theirs.wait() == "hello" * 100
    theirs.send(b"back")
    assert ours.wait() == b"back"
    closer = spawn(ours.close, (1000, ""))
    assert theirs.wait() is None
    closer.wait()
    assert (theirs.close_code, ours.close_code) == (1000, 1000)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
def test_over_a_unix_socket(hub_name):
    with serving(echo, socket.AF_UNIX) as server, Peer(server) as peer:
        peer.send(encoded(1, b"hello"))
        assert peer.frame() == (TEXT, b"hello")


# -- a client that others wrote ----------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_the_client_of_websockets_in_a_thread(hub_name, compression):
    sync_client = pytest.importorskip("websockets.sync.client")

    def talk(url):
        with sync_client.connect(url, compression=compression, **PATIENT) as ws:
            for size in (0, 1, 100, 70_000):
                ws.send("é" * size)
                assert ws.recv() == "é" * size
                ws.send(b"\0" * size)
                assert ws.recv() == b"\0" * size
            ws.send(["frag", "ments"])
            assert ws.recv() == "fragments"
            assert ws.ping().wait(20)
        return ws.protocol.close_code

    with serving(echo) as server:
        assert greenio.tpool.execute(in_thread, lambda: talk(server.url)) == 1000
        assert not server.errors


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_clients_of_websockets_in_the_same_loop(run_async, compression):
    client = pytest.importorskip("websockets.asyncio.client")

    async def talk(url, number):
        async with client.connect(url, compression=compression, **PATIENT) as ws:
            for turn in range(20):
                await ws.send(f"{number} {turn} " * 50)
                assert await ws.recv() == f"{number} {turn} " * 50
        # websockets 13.0 has it there alone.
        return ws.protocol.close_code

    async def main():
        with serving(echo) as server:
            codes = await asyncio.gather(*(talk(server.url, n) for n in range(20)))
            assert not server.errors
            return codes

    assert run_async(main) == [1000] * 20
