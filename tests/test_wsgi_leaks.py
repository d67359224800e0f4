"""A client that goes away, in the middle of anything: nothing is left of it."""

from __future__ import annotations

import gc
import socket
import sys
from pathlib import Path

import pytest

import greenio
import greenio.tpool
from _http import GET, PATHS, hello, read_answer, serving
from _support import until
from _tls import Certificates
from _websockets import HANDSHAKE, encoded
from greenio import wsgi
from greenio._greenthread.thread import GreenThread
from greenio._http import loop_connection
from greenio.event import Event
from greenio.websocket import WebSocketWSGI

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="Linux shows its descriptors"
)

RESET = b"\1\0\0\0\0\0\0\0"
POST = b"POST /read HTTP/1.1\r\nHost: a\r\n"
UPGRADE = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
UPGRADE = f"GET /ws HTTP/1.1\r\n{UPGRADE}\r\n".encode()


@WebSocketWSGI
def echo(ws):
    for message in ws:
        ws.send(message)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/ws":
        return echo(environ, start_response)
    if path == "/read":
        environ["wsgi.input"].read()
    if path == "/sleep":
        greenio.sleep(0.01)
    if path == "/take":
        sock = environ["eventlet.input"].get_socket()
        sock.recv(100)
        return []
    start_response("200 OK", [])
    if path == "/stream":
        return iter([b"x" * 100_000] * 200)
    return hello(environ, start_response)


def answered(sock):
    sock.sendall(GET)
    assert read_answer(sock)[0] == 200


def some(count):
    def wait(sock):
        left = count
        while left > 0:
            data = sock.recv(left)
            assert data
            left -= len(data)

    return wait


# What a client sends, and what it waits for, before it goes.
STATES = {
    "nothing": (b"", None),
    "a byte": (b"G", None),
    "an empty line": (b"\r\n", None),
    "half a head": (GET[:20], None),
    "a wrong head": (b"GET  / HTTP/1.1\r\n\r\n", None),
    "a head whose body is awaited": (POST + b"Content-Length: 9\r\n\r\n", None),
    "half a body": (POST + b"Content-Length: 9\r\n\r\nhalf", None),
    "half a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", None),
    "half a chunk's line": (POST + b"Transfer-Encoding: chunked\r\n\r\n9;a", None),
    "half a trailer": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", None),
    "100 Continue": (
        POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        some(20),
    ),
    "while it runs": (GET.replace(b"/ ", b"/sleep "), None),
    "half an answer": (GET.replace(b"/ ", b"/stream "), some(150_000)),
    "half an answer, unread": (GET.replace(b"/ ", b"/stream "), None),
    "idle": (b"", answered),
    "many in a row": (GET * 50, some(10)),
    "an unread body": (
        GET.replace(b"GET", b"POST")[:-2] + b"Content-Length: 999999\r\n\r\nx",
        some(10),
    ),
    "a taken socket": (GET.replace(b"/ ", b"/take "), None),
    "a WebSocket": (UPGRADE + encoded(1, b"x"), some(60)),
    "half a frame": (UPGRADE + encoded(1, b"x" * 1000)[:500], some(40)),
}


def go_away(site, state, how):
    sent, wait = STATES[state]
    with site.connect() as sock:
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if sent:
            sock.sendall(sent)
        if wait is not None:
            wait(sock)
        else:
            # For the server to come to it.
            greenio.sleep(0.002)


def there_are():
    gc.collect()
    threads = sum(isinstance(thing, GreenThread) for thing in gc.get_objects())
    return len(list(Path("/proc/self/fd").iterdir())), threads


def settled(server):
    until(lambda: not server.channels)
    for _ in range(5):
        greenio.sleep(0)
    return there_are()


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("state", STATES)
def test_a_client_that_goes_away_leaves_nothing(state, path, how, hub_name):
    with serving(app, server_event=(event := Event()), **PATHS[path]) as site:
        server = event.wait()
        go_away(site, state, how)
        before = settled(server)
        for _ in range(5):
            go_away(site, state, how)
            after = settled(server)
        assert server.outstanding_requests == 0
        with site.connect() as sock:
            answered(sock)
    # Others may be kept for requests to come, as many as ran at once.
    assert after[0] <= before[0]
    assert after[1] <= before[1] + 1
    assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_client_that_goes_away_before_it_is_safe_leaves_nothing(
    sent, how, hub_name, tmp_path
):
    """In the middle of the handshake of TLS."""
    certificates = Certificates(tmp_path)
    listener = greenio.wrap_ssl(
        greenio.listen(("127.0.0.1", 0)),
        keyfile=certificates.key,
        certfile=certificates.chain,
        server_side=True,
    )
    with serving(app, listener, server_event=(event := Event())) as site:
        server = event.wait()
        counts = []
        for _ in range(4):
            with greenio.connect(site.address) as sock:
                if how == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.sendall(sent)
                greenio.sleep(0.002)
            counts.append(settled(server))
    assert counts[-1][0] <= counts[0][0]
    assert counts[-1][1] <= counts[0][1] + 1


def test_green_threads_of_requests_that_wait_are_used_again(monkeypatch, hub_name):
    made = []

    class Counted(loop_connection.Worker):
        __slots__ = ()

        def __init__(self, *args):
            made.append(True)
            super().__init__(*args)

    monkeypatch.setattr(loop_connection, "Worker", Counted)
    # Another application says so while it answers, and later ones do not pay for it.
    monkeypatch.setattr(wsgi.WSGI_LOCAL, "already_handled", True)
    number = 20
    get = b"GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n"

    def ask_often(address):
        # In an OS thread, so that the server's are the only green threads.
        socks = [socket.create_connection(address, 20) for _ in range(number)]
        for sock in socks:
            sock.sendall(get)
        for _ in range(40):
            for sock in socks:
                assert read_answer(sock)[0] == 200
                sock.sendall(get)
        for sock in socks:
            assert read_answer(sock)[0] == 200
            sock.close()

    with serving(app) as site:
        greenio.tpool.execute(ask_often, site.address)
    assert len(made) <= number
