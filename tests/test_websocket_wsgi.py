"""WebSocket connections of `greenio.wsgi`, on each of the ways that it serves."""

from __future__ import annotations

import contextlib
import errno
import io
from types import SimpleNamespace

import pytest

import greenio
from _fresh import run
from _sockets import PLACES, run_in
from _support import until
from _websockets import HANDSHAKE, Peer, closing, encoded
from greenio._net.socket import GreenSocket
from greenio.websocket import WebSocketWSGI

pytest.importorskip("httptools")

from greenio import wsgi

TEXT, CLOSE = 0x81, 0x88


class Loosened(wsgi.HttpProtocol):
    """Overrides a method of parsing, so it gets the classic way."""

    def get_environ(self):
        environ = super().get_environ()
        environ["loosened"] = True
        return environ


@WebSocketWSGI
def echo(ws):
    for message in ws:
        ws.send(message)


def fail(ws):
    raise ZeroDivisionError("in the handler")


def app(environ, start_response):
    if environ["PATH_INFO"] == "/chat":
        return echo(environ, start_response)
    if environ["PATH_INFO"] == "/fail":
        return WebSocketWSGI(fail)(environ, start_response)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


OPTIONS = {
    "default": dict,
    "subclass": lambda: {"protocol": Loosened},
    "pool": lambda: {"custom_pool": greenio.GreenPool(50)},
}


@contextlib.contextmanager
def serving(way, app=app, **more):
    listener = greenio.listen(("127.0.0.1", 0))
    log = io.StringIO()
    options = {**OPTIONS[way](), **more}
    server = greenio.spawn(wsgi.server, listener, app, log=log, **options)
    where = SimpleNamespace(listener=listener, address=listener.getsockname(), log=log)
    try:
        yield where
    finally:
        server.kill()


@pytest.fixture(params=OPTIONS)
def way(request):
    return request.param


@pytest.mark.parametrize("place", PLACES)
def test_echo(hub_name, loop_factory, way, place):
    def talk():
        with serving(way) as server, Peer(server) as peer:
            assert peer.status.startswith("101")
            peer.send(encoded(1, b"hello"))
            assert peer.frame() == (TEXT, b"hello")
            long = b"*" * 300_000
            peer.send(encoded(1, long))
            assert peer.frame() == (TEXT, long)
            peer.send(closing())
            assert peer.rest() == [(CLOSE, b"\x03\xe8")]

    run_in(place, loop_factory, talk)


class Input:
    """What engineio puts in the place of the server's own, under gunicorn."""

    def __init__(self, sock):
        self._sock = sock

    def get_socket(self):
        return self._sock


def test_a_server_that_stops_ends_connections_behind_a_middleware(hub_name, way):
    def middleware(environ, start_response):
        sock = environ["eventlet.input"].get_socket()
        environ["eventlet.input"] = Input(sock)
        environ.pop("eventlet.set_idle", None)
        return echo(environ, start_response)

    sent = greenio.Event()
    more = {"server_event": sent, "graceful_timeout": None}
    with serving(way, middleware, **more) as server, Peer(server) as peer:
        peer.send(encoded(1, b"hello"))
        assert peer.frame() == (TEXT, b"hello")
        sent.wait().stop("the test ends it")
        assert peer.rest() == [(CLOSE, b"\x03\xe9")]


def test_frames_that_come_with_the_request(hub_name, way):
    """Read together with it, they are not lost; nor is a request before it."""
    head = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    with serving(way) as server:
        sock = GreenSocket()
        sock.settimeout(20)
        sock.connect(server.address)
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + f"GET /chat HTTP/1.1\r\n{head}\r\n".encode()
            + encoded(1, b"early")
            + closing()
        )
        answer = b""
        while data := sock.recv(65536):
            answer += data
        sock.close()
    first, second, frames = answer.split(b"\r\n\r\n", 2)
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"ok")
    assert b"HTTP/1.1 101" in second
    assert frames == b"\x81\x05early" + b"\x88\x02\x03\xe8"


def test_a_refusal_is_an_answer_like_others(hub_name, way):
    with serving(way) as server, Peer(server, {"Upgrade": None}) as peer:
        assert peer.status.startswith("400")
        assert peer.headers["X-Reason"] == "Upgrade: websocket is missing."
        assert peer.body() == b""


def test_a_failing_handler_is_logged_and_nothing_is_written_behind(hub_name, way):
    head = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    with serving(way) as server:
        sock = GreenSocket()
        sock.settimeout(20)
        sock.connect(server.address)
        sock.sendall(f"GET /fail HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\x88\x02\x03\xf3"):
            data = sock.recv(65536)
            assert data, answer
            answer += data
        sock.sendall(closing())
        assert sock.recv(65536) == b""
        sock.close()
        until(lambda: "ZeroDivisionError: in the handler" in server.log.getvalue())
    assert answer.count(b"HTTP/1.1") == 1


def test_many_connections(hub_name, way):
    with serving(way) as server:

        def talk(number):
            with Peer(server) as peer:
                for turn in range(5):
                    data = b"%d %d" % (number, turn)
                    peer.send(encoded(1, data))
                    assert peer.frame() == (TEXT, data)
                peer.send(closing())
                return peer.rest()

        threads = [greenio.spawn(talk, number) for number in range(30)]
        for thread in threads:
            assert thread.wait() == [(CLOSE, b"\x03\xe8")]


def test_in_a_patched_program(loop):
    """Beside patched client code in a thread, and the client of websockets."""
    pytest.importorskip("websockets.sync.client")
    run(
        """
        import greenio; greenio.monkey_patch()
        import io, threading
        from greenio import wsgi
        from greenio.websocket import WebSocketWSGI
        from websockets.sync.client import connect

        @WebSocketWSGI
        def echo(ws):
            for message in ws:
                ws.send(message)

        listener = greenio.listen(("127.0.0.1", 0))
        server = greenio.spawn(wsgi.server, listener, echo, log=io.StringIO())
        done = []

        def talk():
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
            with connect(url, open_timeout=60, close_timeout=60) as ws:
                for number in range(10):
                    ws.send(str(number) * 1000)
                    assert ws.recv(timeout=20) == str(number) * 1000
            done.append(ws.protocol.close_code)

        threads = [threading.Thread(target=talk) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == [1000] * 5, done
        server.kill()
        """,
        hub=loop,
    )


def test_options_of_the_wrong_kind_are_refused_at_the_call():
    for wrong in ("x", None, True, float("nan"), []):
        with pytest.raises(ValueError, match="number of bytes, 0 or more, not"):
            WebSocketWSGI(print, max_frame_length=wrong)
    for wrong in (b"chat", 5, [1], {2: 3}):
        with pytest.raises(TypeError, match="supported_protocols is a list of names"):
            WebSocketWSGI(print, supported_protocols=wrong)
    for wrong in ("x", 0, True, []):
        with pytest.raises(TypeError, match="origin_checker is a function"):
            WebSocketWSGI(print, origin_checker=wrong)
    names = WebSocketWSGI(print, supported_protocols=iter(["a", "b"]))
    assert names.supported_protocols == ["a", "b"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EPIPE])
def test_errors_of_the_system_in_a_handler(hub_name, number):
    """Those of a peer who has gone are no failures of the program's."""

    def handler(ws):
        raise OSError(number, "from the handler")

    with serving("default", WebSocketWSGI(handler)) as server, Peer(server) as peer:
        code = 1011 if number == errno.EIO else 1000
        assert peer.frame() == (CLOSE, code.to_bytes(2, "big"))
        peer.send(closing())
        peer.rest()
        until(lambda: ("from the handler" in server.log.getvalue()) is (code == 1011))
