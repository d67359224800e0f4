"""The sockets of `greenio.wsgi`: of every kind, and taken over by the application."""

from __future__ import annotations

import contextlib

import pytest
import trustme

import greenio
from _http import (
    PATHS,
    Answers,
    ClassicPath,
    echo,
    hello,
    read_all,
    read_answer,
    serving,
)
from greenio import wsgi
from greenio.green import socket, ssl

LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


# -- taking the socket over ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["returned", "local"])
@pytest.mark.parametrize("early", [b"", b"early "])
def test_an_application_may_take_the_socket(how, early, path, hub_name):
    def app(environ, start_response):
        sock = environ["eventlet.input"].get_socket()
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while data := sock.recv(100):
            sock.sendall(data.upper())
        if how == "returned":
            return wsgi.ALREADY_HANDLED
        wsgi.WSGI_LOCAL.already_handled = True
        return []

    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    with serving(app, **path) as site:
        for _ in range(2):
            with site.connect() as sock:
                sock.sendall(upgrade + early)
                greenio.sleep(0)
                sock.sendall(b"later")
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock).endswith(b"\r\n\r\n" + early.upper() + b"LATER")
        # What one has said does not count for the next one.
        site.app = hello
        assert site.ask(LAST).statuses == [200]


# -- sockets -------------------------------------------------------------------------------------


def test_a_unix_socket(path, tmp_path, hub_name):
    name = str(tmp_path / "socket")
    with serving(hello, greenio.listen(name, socket.AF_UNIX), **path) as site:
        assert site.ask(LAST).statuses == [200]
    assert f"http:unix:{name}" in site.log.text


def test_a_socket_that_is_not_green(path, hub_name):
    import socket as plain

    with serving(hello, plain.create_server(("127.0.0.1", 0)), **path) as site:
        assert site.ask(LAST).statuses == [200]


def test_tls(path, hub_name):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    schemes = []

    def app(environ, start_response):
        schemes.append(environ["wsgi.url_scheme"])
        return echo(environ, start_response)

    listener = context.wrap_socket(greenio.listen(("127.0.0.1", 0)), server_side=True)
    with serving(app, listener, **path) as site:
        # One that says nothing, and one that says nonsense, keep nobody waiting.
        silent = greenio.connect(site.address)
        with contextlib.suppress(ConnectionResetError):
            assert site.ask(b"nonsense\r\n\r\n").statuses == []
        plain = greenio.connect(site.address)
        with client.wrap_socket(plain, server_hostname="localhost") as sock:
            body = b"x" * 200_000
            sock.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            assert read_answer(sock)[2] == body
            sock.sendall(LAST)
            assert read_answer(sock)[0] == 200
            assert sock.recv(10) == b""
        silent.close()
    assert schemes == ["https"] * 2


def test_answers_objects_are_not_confused(hub_name):
    """The helper finds as many answers as there are."""
    assert Answers(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 No\r\n\r\n").statuses == [
        200,
        404,
    ]


def test_a_classic_path_is_told_from_others():
    class Harmless(wsgi.HttpProtocol):
        minimum_chunk_size = 1

        def extra(self):
            pass

    class Deeper(ClassicPath):
        pass

    assert not Harmless._is_classic
    assert ClassicPath._is_classic
    assert Deeper._is_classic
